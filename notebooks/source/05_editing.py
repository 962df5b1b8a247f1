# ---
# jupyter:
#   lesson:
#     names:
#       en: 05_editing
#       es: 05_edicion
#     minutes: 60
#     after: ["02", "03"]
#     knows: {en: "the denoising loop", es: "el bucle que quita el ruido"}
#     needs:
#       en: "any computer, better with a GPU · no account · no download with the pocket model"
#       es: "cualquier equipo, mejor con GPU · sin cuenta · sin descargas con el modelo de bolsillo"
#     colab_lacks: ["anywidget>=0.9.18,<1", "psygnal>=0.11,<1"]
#     widgets: true
# ---

# %% [markdown] lang="en"
# # Editing
#
# In this lesson you will
# - change a picture with the loop you know: begin it half-way, or put a part of the picture back at
#   each step,
# - paint a mask with the mouse, and prove that nothing outside of it has changed,
# - go beyond a picture's edges, between two pictures, and along an outline.

# %% [markdown] lang="es"
# # Edición
#
# En esta lección vas a
# - cambiar una imagen con el bucle que ya conoces: empezarlo a medias o devolver una parte de la
#   imagen en cada paso,
# - pintar una máscara con el ratón y demostrar que fuera de ella no ha cambiado nada,
# - ir más allá de los bordes de una imagen, entre dos imágenes y a lo largo de un contorno.

# %% part="setup"
import numpy as np
import torch
from diffusers import (
    ControlNetModel,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
)
from PIL import Image, ImageDraw

import sdlesson
from sdlesson import draw, editing, figures
from sdlesson.diffusion import add_noise, decode, fresh_scheduler
from sdlesson.exercises import lesson_05 as checks
from sdlesson.images import picture_difference, to_pixels
from sdlesson.language import say
from sdlesson.metrics import measured, seam_ratio
from sdlesson.widgets.mask import MaskPainter

seed = 0

# %% [markdown] lang="en" short=true
# ## Whose picture is it?
#
# Everything here works on any photo, and that is why this comes first. Edit your own pictures, or
# those whose owner agreed. No other people's faces, no documents, nobody undressed: in many
# countries that is a crime, and everywhere it does harm.

# %% [markdown] lang="es" short=true
# ## ¿De quién es la imagen?
#
# Todo lo que sigue funciona con cualquier foto, y por eso esto va primero. Edita imágenes tuyas o
# de quien te haya dado permiso. Ni caras ajenas, ni documentos, ni desnudar a nadie: en muchos
# países es delito, y en todos hace daño.

# %% [markdown] lang="en"
# Nor does an edit cover its tracks. Where a camera signs its photos (C2PA), the first changed pixel
# breaks the signature, and the missing seal is what people notice. Here all pictures are drawn by
# the course's own models.

# %% [markdown] lang="es"
# Una edición tampoco borra sus huellas. Si la cámara firma sus fotos (C2PA), el primer píxel que
# cambia rompe la firma, y la falta del sello es lo que se nota. Aquí todas las imágenes las dibujan
# los modelos del curso.

# %%
pipe, pocket = sdlesson.load_pipeline(), sdlesson.load_pipeline("pocket")
for model in (pipe, pocket):
    model.set_progress_bar_config(disable=True)
    model.scheduler = fresh_scheduler(model, "DDIMScheduler")

prompt = say("a turtle on the beach", "una tortuga en la playa")
turtle = draw(prompt, pipe=pipe, seed=seed).image
side = turtle.width
figures.enlarged(turtle)

# %% [markdown] lang="en" short=true
# ## Image to image: begin half-way
#
# The loop goes from noise to a picture. On its way it meets a picture with much noise, then with
# less. So give it *your* picture with noise on it, and let it go on from there. How much noise may
# it be before the turtle is lost?

# %% [markdown] lang="es" short=true
# ## De imagen a imagen: empezar a medias
#
# El bucle va del ruido a una imagen. Por el camino encuentra una imagen con mucho ruido y luego con
# menos. Dale, pues, *tu* imagen con ruido y deja que siga desde ahí. ¿Cuánto ruido aguanta antes
# de que se pierda la tortuga?

# %%
generator = torch.Generator("cpu").manual_seed(seed)
clean = editing.redrawing.encode(pipe, to_pixels([turtle]), generator)
noise = torch.randn(clean.shape, generator=generator).to(clean)
noisy = []
for strength in (0.2, 0.4, 0.6, 0.8, 1.0):
    level = torch.tensor([round(999 * strength)], device=clean.device)
    noisy.append(decode(pipe, add_noise(clean, noise, level, pipe.scheduler.alphas_cumprod))[0])
figures.strip(noisy, [f"{say('strength', 'fuerza')} {s}" for s in (0.2, 0.4, 0.6, 0.8, 1.0)])

# %% [markdown] lang="en"
# *Strength* is where to begin: 0.2 takes the last fifth of the steps, 1 takes all of them. Even at
# 1 a trace of the picture is left, too faint to see here, because the schedule's last level is not
# pure noise.

# %% [markdown] lang="es"
# La *fuerza* dice dónde empezar: con 0.2 se da el último quinto de los pasos; con 1, todos. Incluso
# con 1 queda un rastro de la imagen, aunque aquí no se vea, porque el último nivel de la escala no
# es ruido puro.

# %% [markdown] lang="en" part="goal"
# ### Exercise 1 · The first step
#
# The steps are numbered from 0. At which one does a strength begin? As diffusers does, drop the
# fraction of a step: of 8 steps, a strength of 0.99 takes 7.

# %% [markdown] lang="es" part="goal"
# ### Ejercicio 1 · El primer paso
#
# Los pasos se numeran desde 0. ¿En cuál empieza una fuerza dada? Descarta la fracción de paso, como
# hace diffusers: de 8 pasos, una fuerza de 0.99 da 7.


# %% part="stub"
def first_step(num_inference_steps, strength):
    """Return the number of the step to begin with."""
    # es: Devuelve el número del paso por el que se empieza.
    ...


# %% part="check"
checks.first_step(first_step)


# %% part="solution"
def first_step(num_inference_steps, strength):
    """Return the number of the step to begin with."""
    # es: Devuelve el número del paso por el que se empieza.
    return num_inference_steps - int(num_inference_steps * strength)


# %% part="wrong"
def first_step(num_inference_steps, strength):
    """Count the steps that are taken."""
    # es: Cuenta los pasos que se dan.
    return int(num_inference_steps * strength)


# %% part="wrong"
def first_step(num_inference_steps, strength):
    """Keep the fraction of a step."""
    # es: Conserva la fracción de paso.
    return num_inference_steps - num_inference_steps * strength


# %% part="wrong"
def first_step(num_inference_steps, strength):
    """Drop the fraction of what is passed over, and not of what is taken."""
    # es: Descarta la fracción de lo que se salta, y no la de lo que se da.
    return int(num_inference_steps * (1 - strength))


# %% part="wrong"
def first_step(num_inference_steps, strength):
    """Count from 1."""
    # es: Cuenta desde 1.
    return num_inference_steps - int(num_inference_steps * strength) + 1


# %% part="wrong" half=true
def first_step(num_inference_steps, strength):
    """Round instead of dropping the fraction."""
    # es: Redondea en vez de descartar la fracción.
    return num_inference_steps - round(num_inference_steps * strength)


# %% [markdown] lang="en" part="noticed"
# **What you should have noticed.** Strength costs time: half the strength is half the steps. And
# 0.3 of 10 steps is 3 steps, so a fine choice of strength needs many of them.

# %% [markdown] lang="es" part="noticed"
# **Lo que deberías haber notado.** La fuerza cuesta tiempo: con la mitad de fuerza se dan la mitad
# de los pasos. Y 0.3 de 10 pasos son 3 pasos: para afinar la fuerza hacen falta muchos.

# %% [markdown] lang="en"
# `editing.redraw` is lesson 02's loop with that start. Does it do what diffusers' own pipeline for
# image to image does? Its latents, in float32:

# %% [markdown] lang="es"
# `editing.redraw` es el bucle de la lección 02 con ese comienzo. ¿Hace lo mismo que el pipeline de
# diffusers para ir de imagen a imagen? Sus latentes, en float32:

# %%
by_words = say("a turtle on the beach, pencil sketch", "una tortuga en la playa, dibujo a lápiz")
small = draw(prompt, pipe=pocket, seed=seed).image
theirs = StableDiffusionImg2ImgPipeline(**pocket.components)
theirs.set_progress_bar_config(disable=True)
settings = {"strength": 0.6, "num_inference_steps": 10}
reference = theirs(
    by_words, small, generator=torch.manual_seed(seed), output_type="latent", **settings
).images
*_, last = editing.redraw(pocket, [small], by_words, generator=torch.manual_seed(seed), **settings)
gap = (last.latents - reference).abs().max().item()
print(f"{gap:.1e}")

# %% part="claim"
assert gap < 1e-4, "image to image by hand is diffusers'"

# %% [markdown] lang="en"
# ## Another style, the same turtle
#
# Now words for another style. How much of this turtle stays at each strength? And which would you
# hang on the wall?

# %% [markdown] lang="es"
# ## Otro estilo, la misma tortuga
#
# Ahora, palabras para otro estilo. ¿Cuánto queda de esta tortuga con cada fuerza? ¿Y cuál colgarías
# en la pared?

# %%
strengths = (0.3, 0.5, 0.7, 0.9)
sketches = [editing.image_to_image(pipe, turtle, by_words, strength=s) for s in strengths]
figures.strip([turtle, *sketches], [say("before", "antes"), *(str(s) for s in strengths)])

# %% part="claim"
moved = [picture_difference(turtle, sketch).mean_error for sketch in sketches]
assert moved[0] < moved[-1], "more strength moves the picture further"

# %% [markdown] lang="en"
# One turtle proves nothing. Here are many scenes, read by the probe: the style that was asked for
# against the subject that was there.

# %% [markdown] lang="es"
# Una tortuga no demuestra nada. Aquí van muchas escenas, leídas por la sonda: el estilo que se
# pidió frente al sujeto que había.

# %%
measured("editing_strength")

# %% [markdown] lang="en" part="discuss"
# Where in this table is the best trade-off, and for whom?
#
# ---
#
# The smallest strength at which the style is nearly always right: beyond it nothing is gained, and
# the subject may suffer. Whoever wants *this* turtle stays below it, whoever wants a fine sketch
# goes above.

# %% [markdown] lang="es" part="discuss"
# ¿Dónde está en esta tabla el mejor equilibrio, y para quién?
#
# ---
#
# En la fuerza más pequeña con la que el estilo sale bien casi siempre: más allá no se gana nada y
# el sujeto puede perderse. Quien quiera *esta* tortuga se quedará por debajo; quien quiera un buen
# dibujo, por encima.

# %% [markdown] lang="en"
# With the old words instead of new ones you get *variations*: the same scene, told again.

# %% [markdown] lang="es"
# Con las palabras de antes en vez de otras nuevas salen *variaciones*: la misma escena, contada de
# nuevo.

# %%
variations = [
    editing.image_to_image(
        pipe, turtle, prompt, strength=0.6, generator=torch.Generator().manual_seed(number)
    )
    for number in range(4)
]
figures.strip([turtle, *variations], [say("before", "antes"), *map(str, range(4))])

# %% [markdown] lang="en" short=true
# ## Inpainting: a hole in the picture
#
# Paint over the part that is to change: hold the mouse button, or use a finger. If you paint
# nothing, the next cells take a box over the turtle.

# %% [markdown] lang="es" short=true
# ## Rellenar: un hueco en la imagen
#
# Pinta sobre la parte que debe cambiar: mantén pulsado el botón del ratón o usa un dedo. Si no
# pintas nada, las celdas siguientes toman un recuadro sobre la tortuga.

# %%
painter = MaskPainter(turtle)
painter

# %%
mask = painter.mask_or_box((side // 8, side // 4, side * 7 // 8, side))
figures.strip([turtle, mask.convert("RGB")], [say("picture", "imagen"), say("mask", "máscara")])

# %% [markdown] lang="en"
# The model has never seen a hole, so we do not show it one. It always denoises a whole picture; but
# after each step we throw away what it did outside of the mask, and put the known part back, *with
# as much noise as it should have by then*.

# %% [markdown] lang="es"
# El modelo nunca ha visto un hueco, así que no le enseñamos ninguno. Siempre limpia una imagen
# entera; pero, tras cada paso, tiramos lo que hizo fuera de la máscara y devolvemos la parte
# conocida, *con el ruido que le toca en ese momento*.

# %% [markdown] lang="en" part="goal"
# ### Exercise 2 · Put the known part back
#
# `hole` is 1 where the picture is new. Around it goes the clean picture with noise of the level
# `alpha_bar`, as in lesson 02.

# %% [markdown] lang="es" part="goal"
# ### Ejercicio 2 · Devuelve la parte conocida
#
# `hole` vale 1 donde la imagen es nueva. Alrededor va la imagen limpia con ruido del nivel
# `alpha_bar`, como en la lección 02.


# %% part="stub"
def put_back(latents, clean, noise, hole, alpha_bar):
    """Return the latents to go on with."""
    # es: Devuelve los latentes con los que seguir.
    ...


# %% part="check"
checks.put_back(put_back)


# %% part="solution"
def put_back(latents, clean, noise, hole, alpha_bar):
    """Return the latents to go on with."""
    # es: Devuelve los latentes con los que seguir.
    known = alpha_bar.sqrt() * clean + (1 - alpha_bar).sqrt() * noise
    return (1 - hole) * known + hole * latents


# %% part="wrong"
def put_back(latents, clean, noise, hole, alpha_bar):
    """Keep the hole and renew the rest."""
    # es: Conserva el hueco y renueva lo demás.
    known = alpha_bar.sqrt() * clean + (1 - alpha_bar).sqrt() * noise
    return hole * known + (1 - hole) * latents


# %% part="wrong"
def put_back(latents, clean, noise, hole, alpha_bar):
    """Forget the square roots."""
    # es: Olvida las raíces cuadradas.
    known = alpha_bar * clean + (1 - alpha_bar) * noise
    return (1 - hole) * known + hole * latents


# %% part="wrong"
def put_back(latents, clean, noise, hole, alpha_bar):
    """Swap the picture's share and the noise's."""
    # es: Pone al revés la parte de la imagen y la del ruido.
    known = alpha_bar.sqrt() * noise + (1 - alpha_bar).sqrt() * clean
    return (1 - hole) * known + hole * latents


# %% part="wrong"
def put_back(latents, clean, noise, hole, alpha_bar):
    """Leave the new latents in place outside of the hole, too."""
    # es: Deja los latentes nuevos también fuera del hueco.
    known = alpha_bar.sqrt() * clean + (1 - alpha_bar).sqrt() * noise
    return (1 - hole) * known + latents


# %% part="wrong" half=true
def put_back(latents, clean, noise, hole, alpha_bar):
    """Forget the noise."""
    # es: Olvida el ruido.
    return (1 - hole) * clean + hole * latents


# %% [markdown] lang="en" part="noticed"
# **What you should have noticed.** Two things that do not belong together, made equally noisy, are
# hard to tell apart; so the U-Net makes one picture of both. That is all of inpainting.

# %% [markdown] lang="es" part="noticed"
# **Lo que deberías haber notado.** Dos cosas que no encajan, con el mismo ruido, apenas se
# distinguen; por eso la U-Net hace de ambas una sola imagen. En eso consiste rellenar.

# %% [markdown] lang="en"
# The same check as before, now with a mask, against diffusers' pipeline for inpainting:

# %% [markdown] lang="es"
# La misma comprobación que antes, ahora con máscara, frente al pipeline de diffusers para rellenar:

# %%
crab = say("a crab on the beach", "un cangrejo en la playa")
box = editing.box_mask(small.size, (16, 32, 112, 128))
theirs = StableDiffusionInpaintPipeline(**pocket.components)
theirs.set_progress_bar_config(disable=True)
settings = {"strength": 1.0, "num_inference_steps": 10}
reference = theirs(
    crab, small, box, generator=torch.manual_seed(seed), output_type="latent", **settings
).images
*_, last = editing.redraw(
    pocket, [small], crab, mask=box, generator=torch.manual_seed(seed), **settings
)
gap = (last.latents - reference).abs().max().item()
print(f"{gap:.1e}")

# %% part="claim"
assert gap < 1e-4, "inpainting by hand is diffusers'"

# %% [markdown] lang="en"
# ## Nothing else may change
#
# Latents outside of the mask were put back. Are the *pixels* there as they were? The VAE came in
# between, and it is not exact. The mean error outside of the mask, in levels of 255:

# %% [markdown] lang="es"
# ## Lo demás no puede cambiar
#
# Los latentes de fuera de la máscara se devolvieron. ¿Siguen allí los *píxeles* como estaban? Por
# medio pasó el VAE, que no es exacto. El error medio fuera de la máscara, en niveles de 255:

# %%
new = decode(pocket, last.latents)[0]
outside = np.asarray(box) == 0
error = np.abs(np.asarray(new, float) - np.asarray(small, float))[outside].mean()
print(f"{error:.2f}")
measured("editing_leak")

# %% part="claim"
assert error > 0, "the VAE alone moves pixels outside of the mask"

# %% [markdown] lang="en" part="goal"
# ### Exercise 3 · Give the pixels back
#
# Make one picture of two: `new` where the mask is white, `old` everywhere else, to the last bit.

# %% [markdown] lang="es" part="goal"
# ### Ejercicio 3 · Devuelve los píxeles
#
# Haz una imagen de dos: `new` donde la máscara es blanca y `old` en todo lo demás, hasta el último
# bit.


# %% part="stub"
def paste(old, new, mask):
    """Return the old picture with the new one in the white of the mask."""
    # es: Devuelve la imagen antigua con la nueva en lo blanco de la máscara.
    ...


# %% part="check"
checks.paste(paste)


# %% part="solution"
def paste(old, new, mask):
    """Return the old picture with the new one in the white of the mask."""
    # es: Devuelve la imagen antigua con la nueva en lo blanco de la máscara.
    return Image.composite(new, old, mask)


# %% part="wrong"
def paste(old, new, mask):
    """Swap the two."""
    # es: Las cambia de lugar.
    return Image.composite(old, new, mask)


# %% part="wrong"
def paste(old, new, mask):
    """Mix them half and half."""
    # es: Las mezcla a partes iguales.
    return Image.blend(old, new, 0.5)


# %% part="wrong"
def paste(old, new, mask):
    """Forget the mask."""
    # es: Olvida la máscara.
    old.paste(new)
    return old


# %% part="wrong"
def paste(old, new, mask):
    """Return what .paste gives back, which is nothing."""
    # es: Devuelve lo que da .paste, que no es nada.
    return old.paste(new, mask=mask)


# %% part="wrong" half=true
def paste(old, new, mask):
    """Soften the edge, beyond the mask."""
    # es: Suaviza el borde, más allá de la máscara.
    from PIL import ImageFilter

    return Image.composite(new, old, mask.filter(ImageFilter.GaussianBlur(2)))


# %% [markdown] lang="en" part="noticed"
# **What you should have noticed.** One line, and editors forget it: many tools return a picture in
# which *every* pixel has changed a little. After ten edits it is visibly worn.

# %% [markdown] lang="es" part="noticed"
# **Lo que deberías haber notado.** Es una línea, y los editores la olvidan: muchas herramientas
# devuelven una imagen en la que *todos* los píxeles han cambiado un poco. Tras diez ediciones se
# nota el desgaste.

# %% [markdown] lang="en"
# `editing.inpaint` does all of it. The prompt says what the *whole* picture shows in the end.

# %% [markdown] lang="es"
# `editing.inpaint` hace todo eso. El prompt dice lo que muestra al final la imagen *entera*.

# %%
crabs = [
    editing.inpaint(
        pipe,
        turtle,
        mask,
        crab,
        guidance_scale=4.0,
        generator=torch.Generator().manual_seed(number),
    )
    for number in range(4)
]
figures.strip([turtle, *crabs], [say("before", "antes"), *map(str, range(4))])

# %% part="claim"
kept = np.asarray(mask) == 0
for picture in crabs:
    same = np.array_equal(np.asarray(picture)[kept], np.asarray(turtle)[kept])
    assert same, "outside of the mask no pixel changes"

# %% [markdown] lang="en"
# What was not painted over stays: with the box, the end of the tail. And the seam is not always
# good: the new part has to fit the old, and gets one chance at each step. With `resample=4` each
# step is taken four times, with noise in between. Is that worth four times as long?

# %% [markdown] lang="es"
# Lo que no se pintó se queda: con el recuadro, la punta de la cola. Y la junta no siempre queda
# bien: lo nuevo debe encajar con lo que hay, y tiene una oportunidad en cada paso. Con `resample=4`
# cada paso se da cuatro veces, con ruido entre medias. ¿Vale el cuádruple de tiempo?

# %%
measured("editing_masks")

# %% [markdown] lang="en"
# Here no gain shows. Models made for inpainting read nine channels instead of four: noisy latents,
# the picture with its hole, and the mask. They see at every step what is around the hole, *without*
# noise, and were trained to fit. Ours finds out late, as the noise goes.

# %% [markdown] lang="es"
# Aquí no se ve ninguna mejora. Los modelos hechos para rellenar leen nueve canales y no cuatro: los
# latentes con ruido, la imagen con su hueco y la máscara. En cada paso ven lo que rodea al hueco
# *sin* ruido, y se entrenaron para encajar. El nuestro se entera tarde.

# %% [markdown] lang="en"
# A mask needs no mouse. A scratch across a photo, say, is known exactly. How much of it is left?

# %% [markdown] lang="es"
# Para una máscara no hace falta ratón. Un arañazo que cruza una foto, por ejemplo, se conoce con
# exactitud. ¿Cuánto quedará de él?

# %%
scratch = Image.new("L", turtle.size)
line = [(0, side // 3), (side // 2, side // 2), (side, side // 4)]
ImageDraw.Draw(scratch).line(line, fill=255, width=side // 32)
damaged = Image.composite(Image.new("RGB", turtle.size, "white"), turtle, scratch)
repaired = editing.inpaint(pipe, damaged, scratch, prompt, guidance_scale=2.0)
labels = [say("before", "antes"), say("damaged", "dañada"), say("repaired", "reparada")]
figures.strip([turtle, damaged, repaired], labels)

# %% part="claim"
worse = picture_difference(turtle, damaged).mean_error
assert picture_difference(turtle, repaired).mean_error < worse, "repair brings the picture closer"

# %% [markdown] lang="en" short=true
# ## Outpainting: beyond the edge
#
# A hole may lie outside of the picture. The model is shown three quarters of a picture of its own
# size, and paints the rest; then again, as far as you like. Name the *place* alone: a turtle in the
# prompt would be drawn once more, cut in two by the old edge.

# %% [markdown] lang="es" short=true
# ## Ampliar: más allá del borde
#
# El hueco puede estar fuera de la imagen. Al modelo se le enseñan tres cuartos de una imagen de su
# tamaño y pinta el resto; y así, hasta donde quieras. Nombra solo el *lugar*: si el prompt dijera
# «tortuga», saldría otra más, partida en dos por el borde antiguo.

# %%
beach = say("on the beach", "en la playa")
wide = editing.outpaint(
    pipe, turtle, beach, left=side // 2, right=side, num_inference_steps=15, resample=2
)
seams = [seam_ratio(wide, column=side // 4 * i) for i in (1, 2, 6, 7, 8, 9)]
print([round(ratio, 1) for ratio in seams])
figures.enlarged(wide)

# %% part="claim"
middle = wide.crop((side // 2, 0, side * 3 // 2, side))
assert np.array_equal(middle, turtle), "the picture in the middle is the one that came"

# %% [markdown] lang="en"
# The numbers are the steps in colour at the six seams, as multiples of all the picture's other
# steps: 1 would be no seam. The VAE's error would be one, so the new part's colours are drawn to
# those they meet. It does not always work: look for the largest number's seam. In large samples:

# %% [markdown] lang="es"
# Los números son los saltos de color en las seis juntas, en múltiplos de los demás saltos de la
# imagen: con 1 no habría junta. El error del VAE dejaría una; por eso lo nuevo acerca sus colores a
# los que toca. No siempre basta: busca la junta del número mayor. En muestras grandes:

# %%
measured("editing_seams")

# %% [markdown] lang="en"
# ## Between two pictures
#
# From one prompt to another, and from one noise to another, in small steps. For prompts a straight
# line will do. For noise it will not: what is the spread of the half-way noise?

# %% [markdown] lang="es"
# ## Entre dos imágenes
#
# De un prompt a otro y de un ruido a otro, en pasos pequeños. Para los prompts vale la línea recta.
# Para el ruido, no: ¿qué dispersión tiene el ruido de mitad de camino?

# %% tags=["nbval-check-output"]
a, b = torch.randn((2, 4, 16, 16), generator=torch.Generator().manual_seed(seed))
print(f"{a.std():.1f} {b.std():.1f} {torch.lerp(a, b, 0.5).std():.1f}")

# %% [markdown] lang="en" part="goal"
# ### Exercise 4 · On the sphere
#
# Noise with less spread is noise of another level, and the U-Net draws it flat and grey. Go along
# the arc between `a` and `b`. The cosine of its angle is `torch.cosine_similarity` of the two,
# flattened.

# %% [markdown] lang="es" part="goal"
# ### Ejercicio 4 · Por la esfera
#
# Un ruido con menos dispersión es ruido de otro nivel, y la U-Net lo dibuja plano y gris. Ve por el
# arco entre `a` y `b`. El coseno de su ángulo es la `torch.cosine_similarity` de los dos,
# aplanados.


# %% part="stub"
def between(a, b, share):
    """Return the noise that lies at a share of the way from a to b."""
    # es: Devuelve el ruido que está a una fracción del camino de a hacia b.
    ...


# %% part="check"
checks.between(between)


# %% part="solution"
def between(a, b, share):
    """Return the noise that lies at a share of the way from a to b."""
    # es: Devuelve el ruido que está a una fracción del camino de a hacia b.
    angle = torch.cosine_similarity(a.flatten(), b.flatten(), dim=0).acos()
    return (((1 - share) * angle).sin() * a + (share * angle).sin() * b) / angle.sin()


# %% part="wrong"
def between(a, b, share):
    """Take the straight line."""
    # es: Toma la línea recta.
    return torch.lerp(a, b, share)


# %% part="wrong"
def between(a, b, share):
    """Go the other way."""
    # es: Va en el otro sentido.
    return editing.slerp(b, a, share)


# %% part="wrong"
def between(a, b, share):
    """Compare position by position, without flattening."""
    # es: Compara posición a posición, sin aplanar.
    angle = torch.cosine_similarity(a, b, dim=0).acos()
    return (((1 - share) * angle).sin() * a + (share * angle).sin() * b) / angle.sin()


# %% part="wrong"
def between(a, b, share):
    """Take the cosine for the angle."""
    # es: Toma el coseno por el ángulo.
    angle = torch.cosine_similarity(a.flatten(), b.flatten(), dim=0)
    return (((1 - share) * angle).sin() * a + (share * angle).sin() * b) / angle.sin()


# %% part="wrong" half=true
def between(a, b, share):
    """Forget to divide by the sine of the angle."""
    # es: Olvida dividir entre el seno del ángulo.
    angle = torch.cosine_similarity(a.flatten(), b.flatten(), dim=0).acos()
    return ((1 - share) * angle).sin() * a + (share * angle).sin() * b


# %% [markdown] lang="en" part="noticed"
# **What you should have noticed.** In a thousand dimensions nearly all noise has the same length,
# like points on a sphere; and two noises stand nearly at a right angle.

# %% [markdown] lang="es" part="noticed"
# **Lo que deberías haber notado.** En mil dimensiones casi todo el ruido tiene la misma longitud,
# como los puntos de una esfera; y dos ruidos forman casi un ángulo recto.

# %%
ends = (prompt, say("a crab in the snow", "un cangrejo en la nieve"))
frames = editing.interpolate(pipe, ends, (0, 1), frames=9, num_inference_steps=15)
figures.animation([*frames, *frames[::-1]], milliseconds=200)

# %% [markdown] lang="en"
# ## Larger
#
# Enlarged, a picture is blurred. A little image to image makes it sharp again; but the model knows
# only its own size, so it is asked tile by tile, and where tiles overlap their answers are
# averaged *at each step*. Why must the words be left out here?

# %% [markdown] lang="es"
# ## Más grande
#
# Al agrandarla, una imagen queda borrosa. Un poco de imagen a imagen la vuelve a afinar; pero el
# modelo solo conoce su tamaño, así que se le pregunta tesela a tesela, y donde se solapan se
# promedian las respuestas *en cada paso*. ¿Por qué hay que callar aquí las palabras?

# %%
blurred = turtle.resize((2 * side, 2 * side), Image.Resampling.LANCZOS)
silent = editing.upscale(pipe, turtle, "", strength=0.1, guidance_scale=1.0)
loud = editing.upscale(pipe, turtle, prompt, strength=0.5, num_inference_steps=12)
labels = [say("enlarged", "agrandada"), say("no words", "sin palabras"), "0.5, prompt"]
figures.strip([blurred, silent, loud], labels)

# %% [markdown] lang="en"
# With words and enough strength every tile becomes a turtle of its own. A dedicated upscaler is
# trained on pairs of small and large pictures: it *sees* the small one at each step, while ours
# sees only what its noise has left of it.

# %% [markdown] lang="es"
# Con palabras y fuerza suficiente, cada tesela se convierte en una tortuga. Un modelo hecho para
# agrandar se entrena con parejas de imágenes pequeñas y grandes: *ve* la pequeña en cada paso, y el
# nuestro solo lo que el ruido ha dejado de ella.

# %% [markdown] lang="en" short=true
# ## Control: along an outline
#
# Words say what, not where. An outline says where. Here are the edges of the turtle:

# %% [markdown] lang="es" short=true
# ## Control: siguiendo un contorno
#
# Las palabras dicen qué, no dónde. Un contorno dice dónde. Estos son los bordes de la tortuga:

# %%
lines = editing.outline(small)
figures.strip([small, lines], [say("picture", "imagen"), say("outline", "contorno")])

# %% [markdown] lang="en"
# A *ControlNet* is a copy of the U-Net's first half. It reads the outline, and what it finds is
# added to what the U-Net's first half hands on. Between the two stand convolutions that begin with
# zeros. What does an untrained ControlNet change?

# %% [markdown] lang="es"
# Una *ControlNet* es una copia de la primera mitad de la U-Net. Lee el contorno, y lo que encuentra
# se suma a lo que la primera mitad de la U-Net entrega. Entre las dos hay convoluciones que
# empiezan con ceros. ¿Qué cambia una ControlNet sin entrenar?

# %% tags=["nbval-check-output"]
untrained = ControlNetModel.from_unet(pocket.unet).eval()
settings = {"num_inference_steps": 6, "generator": torch.Generator().manual_seed(1)}
along = editing.draw_along(pocket, lines, crab, controlnet=untrained, **settings)
alone = draw(crab, pipe=pocket, seed=1, num_inference_steps=6).image
print(picture_difference(along, alone).mean_error)

# %% part="claim"
assert np.array_equal(along, alone), "an untrained ControlNet changes nothing"

# %% [markdown] lang="en" part="discuss"
# If a convolution of zeros passes nothing on, how can it ever learn?
#
# ---
#
# Its *output* is zero, its gradient is not: that is the input times what comes back from the loss.
# After one step it is no longer zero, and from then on what lies behind it learns too. So training
# begins with the finished model, and not with its ruins.

# %% [markdown] lang="es" part="discuss"
# Si una convolución de ceros no deja pasar nada, ¿cómo puede aprender?
#
# ---
#
# Su *salida* es cero, pero su gradiente no: es la entrada por lo que llega desde la pérdida. Tras
# un paso deja de ser cero, y desde entonces aprende también lo que hay detrás. Así el entrenamiento
# empieza con el modelo terminado, y no con sus ruinas.

# %% [markdown] lang="en"
# And a trained one? `load_controlnet(pipe)` loads it: for Stable Diffusion 1.5 a published one, for
# the pocket model its own. Three drawings along one outline, then the first once more without it;
# below each, the share of the outline that it keeps.

# %% [markdown] lang="es"
# ¿Y una entrenada? La carga `load_controlnet(pipe)`: para Stable Diffusion 1.5, una publicada; para
# el modelo de bolsillo, la suya. Tres dibujos con un mismo contorno y, al final, el primero otra
# vez, sin él; debajo de cada uno, la parte del contorno que conserva.

# %%
words = say(
    ["a turtle in the forest", "a crab on Mars", "a turtle in the city"],
    ["una tortuga en el bosque", "un cangrejo en Marte", "una tortuga en la ciudad"],
)
lines, controlnet = editing.outline(turtle), editing.load_controlnet(pipe)
drawn = [editing.draw_along(pipe, lines, text, controlnet=controlnet) for text in words]
drawn.append(editing.draw_along(pipe, lines, words[0], controlnet=controlnet, scale=0.0))
kept = [editing.outline_kept(lines, picture) for picture in drawn]
figures.strip([lines, *drawn], ["", *(f"{share:.0%}" for share in kept)])

# %% part="claim"
assert kept[0] > kept[3], "from the same words and noise, a drawing along it keeps more"

# %% [markdown] lang="en"
# Where words and outline disagree, as for the crab, this ControlNet lets the words win: it only
# ever saw outlines that agreed. How well does the figure drawn cover the outline's? Overlap is the
# part that both have, of what either has: 1 is the same place and shape. Scale 0 is no control.

# %% [markdown] lang="es"
# Si texto y contorno no concuerdan, como con el cangrejo, esta ControlNet deja ganar al texto: en
# su entrenamiento siempre concordaban. ¿Cuánto coincide la figura dibujada con la del contorno? El
# solape es la parte común entre el total de ambas: con 1, mismo lugar y misma forma. Con escala 0
# no hay control.

# %%
measured("editing_control")

# %% [markdown] lang="en"
# ## Summary
#
# - Strength is where the loop begins: the more of it, the more the words decide.
# - Inpainting puts the known part back at each step, and its pixels at the end, exactly.
# - Outpainting, tiles and ControlNet change what the loop is asked, not the loop.
# - From one noise to another, go along the sphere.
#
# Next: [lesson 06](lesson:06), in which the model learns something of yours.

# %% [markdown] lang="es"
# ## Resumen
#
# - La fuerza es dónde empieza el bucle: cuanta más, más deciden las palabras.
# - Rellenar devuelve la parte conocida en cada paso y, al final, sus píxeles, exactos.
# - Ampliar, las teselas y ControlNet cambian lo que se le pregunta al bucle, no el bucle.
# - De un ruido a otro se va por la esfera.
#
# A continuación: [lección 06](lesson:06), en la que el modelo aprende algo tuyo.
