# ---
# jupyter:
#   lesson:
#     names:
#       en: 02_the_loop
#       es: 02_el_bucle
#     minutes: 60
#     after: ["00", "01"]
#     knows: {en: Python functions, es: las funciones de Python}
#     needs:
#       en: any computer, a GPU is welcome · no account · no download with the pocket model
#       es: cualquier equipo, mejor con GPU · sin cuenta · sin descarga con el modelo de bolsillo
# ---

# %% [markdown] lang="en"
# # The loop
#
# In this lesson you will
# - spoil a picture with noise, and see a network learn to guess that noise,
# - take the denoising loop apart, with the shape of everything that goes through it,
# - write the loop yourself and get the very picture that the pipeline draws.

# %% [markdown] lang="es"
# # El bucle
#
# En esta lección vas a
# - estropear una imagen con ruido y ver cómo una red aprende a adivinarlo,
# - desmontar el bucle que quita el ruido, con la forma de todo lo que pasa por él,
# - escribir tú el bucle y obtener exactamente la imagen que dibuja el pipeline.

# %% part="setup"
import random

import torch
from PIL import Image

import sdlesson
from sdlesson import figures
from sdlesson.attention import word_maps
from sdlesson.diffusion import (
    add_noise,
    ddim_step,
    draw_noise,
    embed,
    fresh_scheduler,
    guide,
    predict_original_sample,
)
from sdlesson.exercises import lesson_02 as checks
from sdlesson.images import image_grid, picture_difference, same_picture, to_images, to_pixels
from sdlesson.language import say
from sdlesson.metrics import pocket_probe, share
from sdlesson.pocket import world
from sdlesson.prompts import cut_words

seed = 0

# %% [markdown] lang="en"
# `pipe` is the best model this machine can run, and `pocket` is small enough to be measured. Their
# weights stay as they are, so no part has to keep track of gradients.

# %% [markdown] lang="es"
# `pipe` es el mejor modelo que admite esta máquina y `pocket` es tan pequeño que se puede medir.
# Sus pesos no cambian, así que ninguna pieza necesita guardar gradientes.

# %%
pipe = sdlesson.load_pipeline()
pocket = sdlesson.load_pipeline("pocket")
for model in (pipe, pocket):
    model.set_progress_bar_config(disable=True)
    model.scheduler = fresh_scheduler(model, "DDIMScheduler")
    for part in (model.text_encoder, model.unet, model.vae):
        part.requires_grad_(False)

# %% [markdown] lang="en"
# ## Spoil a picture
#
# A diffusion model learns to mend pictures, so somebody has to spoil them first. In how many ways
# could you ruin this one, little by little?

# %% [markdown] lang="es"
# ## Estropear una imagen
#
# Un modelo de difusión aprende a arreglar imágenes, así que antes alguien tiene que estropearlas.
# ¿De cuántas maneras podrías echar a perder esta, poco a poco?

# %%
scene = world.Scene("single", ("robot",), "beach", "plain", seed=1)
picture = world.render(scene)

figures.enlarged(picture)

# %% [markdown] lang="en" part="goal"
# ### Exercise 1 · Invent a corruption
#
# Write any function that leaves the picture alone at 0, and the more it is asked to, the more it
# spoils it.
#
# PIL has a lot to offer: `resize`, `rotate`, `convert`, `Image.blend`, `Image.effect_noise`.

# %% [markdown] lang="es" part="goal"
# ### Ejercicio 1 · Inventa cómo estropearla
#
# Escribe una función cualquiera que con 0 deje la imagen intacta y que, cuanto más le pidas, más
# la estropee.
#
# PIL ofrece mucho: `resize`, `rotate`, `convert`, `Image.blend`, `Image.effect_noise`.


# %% part="stub"
def spoil(image, amount):
    """Return a spoiled copy: untouched at amount 0, worse at 0.5, worst at 1."""
    # es: Devuelve una copia estropeada: intacta con amount 0, peor con 0.5, lo peor con 1.
    ...


spoil(picture, 0.5)

# %% part="check"
checks.spoil(spoil, picture)


# %% part="solution"
def spoil(image, amount):
    """Make a mosaic of fewer and fewer tiles."""
    # es: Hace un mosaico de cada vez menos teselas.
    side = max(1, round(image.width * (1 - amount)))
    return image.resize((side, side)).resize(image.size, Image.Resampling.NEAREST)


figures.strip([spoil(picture, amount) for amount in (0, 0.5, 0.8, 0.9, 0.95, 1)])


# %% part="wrong"
def spoil(image, amount):
    """Do nothing, however much is asked for."""
    # es: No hace nada, se pida lo que se pida.
    return image.copy()


# %% part="wrong"
def spoil(image, amount):
    """Spoil it the other way round: most at 0."""
    # es: La estropea al revés: sobre todo con 0.
    side = max(1, round(image.width * amount))
    return image.resize((side, side)).resize(image.size, Image.Resampling.NEAREST)


# %% part="wrong" half=true
def spoil(image, amount):
    """Do nothing at 0, and all of it at any other amount."""
    # es: Con 0 no hace nada y con lo demás, todo.
    return image.convert("L").convert("RGB") if amount else image


# %% part="wrong"
def spoil(image, amount):
    """Turn it grey at once, whatever the amount."""
    # es: La deja gris de golpe, sea cual sea amount.
    return image.convert("L").convert("RGB")


# %% [markdown] lang="en" part="noticed"
# **What you should have noticed.** Nearly anything works. Diffusion chose noise, for two reasons:
# any level is one jump away from the clean picture, and at the end every picture looks the same,
# so we know where to start on the way back.

# %% [markdown] lang="es" part="noticed"
# **Lo que deberías haber notado.** Casi todo vale. La difusión eligió el ruido por dos motivos:
# se llega a cualquier nivel de un solo salto y, al final, todas las imágenes son iguales, así que
# sabemos desde dónde volver.

# %% [markdown] lang="en" short=true
# ## The forward process
#
# At timestep $t$, from 0 to 999, a picture keeps $\sqrt{\bar\alpha_t}$ of itself and gets
# $\sqrt{1-\bar\alpha_t}$ of noise. The scheduler has the table of all $\bar\alpha_t$. Which way do
# you expect it to go?

# %% [markdown] lang="es" short=true
# ## El proceso de ida
#
# En el instante $t$, de 0 a 999, la imagen conserva $\sqrt{\bar\alpha_t}$ de sí misma y recibe
# $\sqrt{1-\bar\alpha_t}$ de ruido. La tabla con todos los $\bar\alpha_t$ la tiene el planificador
# (*scheduler*). ¿Crees que crecen o que decrecen?

# %% tags=["nbval-check-output"]
alphas_cumprod = pocket.scheduler.alphas_cumprod
print(tuple(alphas_cumprod.shape))
for t in (0, 250, 500, 999):
    print(f"t={t:<3}  alpha_bar={alphas_cumprod[t]:.3f}")

# %% [markdown] lang="en"
# From almost 1 to almost 0. Before mixing, pixels become numbers from -1 to 1, of about the noise's
# size.

# %% [markdown] lang="es"
# De casi 1 a casi 0. Antes de mezclarlos, los píxeles pasan a ser números de -1 a 1, más o menos
# del tamaño del ruido.

# %%
pixels = to_pixels([picture])  # (1, 3, 128, 128)
pixel_noise = torch.randn(pixels.shape, generator=torch.Generator("cpu").manual_seed(seed))

# %% [markdown] lang="en" part="goal"
# ### Exercise 2 · Jump to any timestep
#
# Write the formula: the picture at timestep $t$, in one jump.

# %% [markdown] lang="es" part="goal"
# ### Ejercicio 2 · Salta a cualquier instante
#
# Escribe la fórmula: la imagen en el instante $t$, de un solo salto.


# %% part="stub"
def jump(clean, noise, t):
    """Return sqrt(alpha_bar) of the clean pixels plus sqrt(1 - alpha_bar) of the noise."""
    # es: Devuelve sqrt(alpha_bar) de los píxeles limpios más sqrt(1 - alpha_bar) del ruido.
    ...  # alpha_bar is alphas_cumprod[t]
    # es: alpha_bar es alphas_cumprod[t]


# %% part="check"
checks.jump(jump, pixels, pixel_noise, alphas_cumprod)


# %% part="solution"
def jump(clean, noise, t):
    """Return sqrt(alpha_bar) of the clean pixels plus sqrt(1 - alpha_bar) of the noise."""
    # es: Devuelve sqrt(alpha_bar) de los píxeles limpios más sqrt(1 - alpha_bar) del ruido.
    alpha_bar = alphas_cumprod[t]
    return alpha_bar.sqrt() * clean + (1 - alpha_bar).sqrt() * noise


# %% part="wrong"
def jump(clean, noise, t):
    """Forget the square roots."""
    # es: Olvida las raíces cuadradas.
    alpha_bar = alphas_cumprod[t]
    return alpha_bar * clean + (1 - alpha_bar) * noise


# %% part="wrong" half=true
def jump(clean, noise, t):
    """Take the root of alpha_bar alone, in the second share."""
    # es: En la segunda parte, saca solo la raíz de alpha_bar.
    alpha_bar = alphas_cumprod[t]
    return alpha_bar.sqrt() * clean + (1 - alpha_bar.sqrt()) * noise


# %% part="wrong"
def jump(clean, noise, t):
    """Swap the picture and the noise."""
    # es: Pone al revés la imagen y el ruido.
    alpha_bar = alphas_cumprod[t]
    return alpha_bar.sqrt() * noise + (1 - alpha_bar).sqrt() * clean


# %% part="wrong"
def jump(clean, noise, t):
    """Take alpha_bar of the timestep before."""
    # es: Toma alpha_bar del instante anterior.
    alpha_bar = alphas_cumprod[t - 1]
    return alpha_bar.sqrt() * clean + (1 - alpha_bar).sqrt() * noise


# %% [markdown] lang="en" part="noticed"
# **What you should have noticed.** The squares of the two shares add up to 1, so the numbers keep
# their size at every level of noise.

# %% [markdown] lang="es" part="noticed"
# **Lo que deberías haber notado.** Los cuadrados de las dos proporciones suman 1, así que los
# números conservan su tamaño con cualquier nivel de ruido.

# %% [markdown] lang="en"
# The course's `add_noise` is that formula for a batch. Before you run it: at which $t$ will you no
# longer see the robot?

# %% [markdown] lang="es"
# La función `add_noise` del curso es esa fórmula para un lote. Antes de ejecutarla: ¿a partir de
# qué $t$ dejarás de ver el robot?

# %%
timesteps = torch.arange(0, 1000, 111)  # 0, 111, ... 999
noisy = add_noise(pixels, pixel_noise, timesteps, alphas_cumprod)  # (10, 3, 128, 128)
alpha_bars = alphas_cumprod[timesteps]
figures.curves(
    timesteps.tolist(),
    {
        say("picture", "imagen"): alpha_bars.sqrt().tolist(),
        say("noise", "ruido"): (1 - alpha_bars).sqrt().tolist(),
    },
    x_label="t",
    y_label=say("how much there is of each", "cuánto hay de cada cosa"),
    title=say("From picture to noise", "De la imagen al ruido"),
    pictures=to_images(noisy),
)

# %% [markdown] lang="en"
# Where the lines cross, there is as much noise as picture, and yet you still see the robot. The
# ratio of the two, squared, is the *signal-to-noise ratio*, $\bar\alpha_t/(1-\bar\alpha_t)$. At how
# many timesteps is it above 1?

# %% [markdown] lang="es"
# Donde las líneas se cruzan hay tanto ruido como imagen y, aun así, el robot se ve. El cociente de
# ambas, al cuadrado, es la *relación señal-ruido*, $\bar\alpha_t/(1-\bar\alpha_t)$. ¿En cuántos
# instantes es mayor que 1?

# %% tags=["nbval-check-output"]
signal_to_noise = alphas_cumprod / (1 - alphas_cumprod)
print(int((signal_to_noise > 1).sum()))

# %% [markdown] lang="en"
# ## Noise in latents
#
# Stable Diffusion does not work on pixels. Its VAE first packs a picture into *latents*: an eighth
# of the width and height, in a few channels. How many times fewer numbers is that?

# %% [markdown] lang="es"
# ## Ruido en los latentes
#
# Stable Diffusion no trabaja con píxeles. Su VAE comprime antes la imagen en *latentes*: un octavo
# del ancho y del alto, con unos pocos canales. ¿Cuántas veces menos números son?


# %%
def encode(pixels):
    """Pack pixels into the pocket model's latents, scaled for its U-Net."""
    pixels = pixels.to(pocket.device, pocket.vae.dtype)
    return pocket.vae.encode(pixels).latent_dist.mean * pocket.vae.config.scaling_factor


latents = encode(pixels)
print(tuple(pixels.shape), "→", tuple(latents.shape), pixels.numel() // latents.numel())

# %% [markdown] lang="en"
# Now 24 scenes, and a *probe*: a small network trained on such scenes to say what they show.
# We ask it for the subject of each.

# %% [markdown] lang="es"
# Ahora, 24 escenas y una *sonda*: una red pequeña, entrenada con escenas así, que dice qué
# se ve en ellas. Le preguntaremos por el protagonista de cada una.

# %%
chance = random.Random(seed)
sampled = (world.sample_scene(chance) for _ in range(200))
plain_scenes = [s for s in sampled if s.kind == "single" and s.style == "plain"]
scenes = [scene, *plain_scenes[:23]]


def recognised(images):
    """The share of scenes whose subject the probe reads off their images."""
    readings = zip(pocket_probe().read(images), scenes, strict=True)
    return share(reading.top(1) == frozenset(s.subjects) for reading, s in readings)


clean_images = [world.render(s) for s in scenes]
recognised(clean_images)

# %% [markdown] lang="en"
# Which goes sooner, a picture with noise in its pixels or one with noise in its latents?

# %% [markdown] lang="es"
# ¿Qué se perderá antes, una imagen con ruido en los píxeles o una con ruido en los latentes?

# %%
clean_pixels = to_pixels(clean_images)  # (24, 3, 128, 128)
clean_latents = encode(clean_pixels)  # (24, 4, 16, 16)
generator = torch.Generator("cpu").manual_seed(seed)
noise_for_pixels = torch.randn(clean_pixels.shape, generator=generator)
noise_for_latents = draw_noise(pocket, len(scenes), generator)

levels = [0, 150, 300, 450, 600, 900]
in_pixels, in_latents, robots = [], [], []
for t in levels:
    at = torch.full((len(scenes),), t)
    noisy = add_noise(clean_pixels, noise_for_pixels, at, alphas_cumprod)
    in_pixels.append(recognised(to_images(noisy)))
    images = sdlesson.decode(
        pocket, add_noise(clean_latents, noise_for_latents, at, alphas_cumprod)
    )
    in_latents.append(recognised(images))
    robots.append(images[0])

# %%
figures.curves(
    levels,
    {
        say("noise in pixels", "ruido en los píxeles"): in_pixels,
        say("noise in latents", "ruido en los latentes"): in_latents,
    },
    x_label="t",
    y_label=say("subjects that the probe recognises", "protagonistas que la sonda reconoce"),
    title=say("Where a picture is lost", "Dónde se pierde una imagen"),
    pictures=robots,
    percent=True,
)

# %% [markdown] lang="en"
# Neither goes clearly sooner; the bands are 95% intervals. Below are the latents, decoded: there
# noise looks like torn paper, not like grains.

# %% [markdown] lang="es"
# Ninguna se pierde claramente antes; las bandas son intervalos del 95%. Abajo, los latentes
# decodificados: allí el ruido parece papel rasgado, no granos.

# %% part="claim"
for shares in (in_pixels, in_latents):
    assert min(shares[0].value, shares[1].value) > 0.8, "up to t=150 nearly all is recognised"
    assert max(shares[4].value, shares[5].value) < 0.5, "from t=600 on little is left"
between = [(shares[2].value + shares[3].value) / 2 for shares in (in_pixels, in_latents)]
assert abs(between[0] - between[1]) < 0.25, "neither goes clearly sooner"

# %% [markdown] lang="en" part="discuss"
# Noise in latents is one number for each 8 x 8 pixels and channel. Why does it look so different
# from noise in pixels, although both are drawn in the same way?
#
# ---
#
# The VAE's decoder only knows how to make pictures: it turns any latents into edges and patches of
# colour that could stand in one. So decoded noise looks like scraps of pictures, 8 pixels wide and
# more.

# %% [markdown] lang="es" part="discuss"
# El ruido en los latentes es un número por canal y bloque de 8 × 8 píxeles. ¿Por qué se ve tan
# distinto del ruido en los píxeles, si los dos se sacan igual?
#
# ---
#
# El decodificador del VAE solo sabe hacer imágenes: convierte cualquier latente en bordes y manchas
# de color que podrían estar en una. Por eso el ruido decodificado parece retazos de imágenes, de 8
# píxeles o más.

# %% [markdown] lang="en" short=true
# ## Guess the noise
#
# This is all of training: take a clean picture, add noise that *you* drew, ask the network what the
# noise was, and correct it by how far off it is. Here the trained U-Net is asked once, at $t=400$:

# %% [markdown] lang="es" short=true
# ## Adivina el ruido
#
# Entrenar es solo esto: tomar una imagen limpia, añadirle un ruido que sacas *tú*, preguntarle a la
# red cuál era y corregirla según cuánto se equivoque. Aquí se le pregunta una vez a la U-Net ya
# entrenada, en $t=400$:

# %%
t = 400
first, its_noise, no_text = clean_latents[:1], noise_for_latents[:1], embed(pocket, [""])
noisy_first = add_noise(first, its_noise, torch.tensor([t]), alphas_cumprod)
guess = pocket.unet(noisy_first, t, encoder_hidden_states=no_text).sample
parts = sdlesson.decode(pocket, torch.cat([first, its_noise, noisy_first, guess, its_noise]))
signs = ["+", "=", "U-Net\n→", "≈"]
labels = [say("clean", "limpia"), say("noise", "ruido"), say("noisy", "con ruido")]
figures.equation(parts, signs, [*labels, say("guess", "adivinado"), say("noise", "ruido")])

# %% part="claim"
off, silent = ((guess - its_noise) ** 2).mean(), (its_noise**2).mean()
assert off < 0.6 * silent, "the U-Net's guess is far nearer to the noise than no guess at all"

# %% [markdown] lang="en"
# How does it get there? Take a new U-Net, with random weights, and a batch of four noisy scenes.
# Forty times: guess, measure the *loss* (the mean of the squared errors), nudge every weight so
# that it sinks. Below the curve: the robot without the guessed noise.

# %% [markdown] lang="es"
# ¿Cómo llega ahí? Toma una U-Net nueva, con pesos al azar, y un lote de cuatro escenas con ruido.
# Cuarenta veces: adivinar, medir la *pérdida* (la media de los errores al cuadrado) y mover un poco
# cada peso para que baje. Bajo la curva, el robot sin el ruido adivinado.

# %%
torch.manual_seed(seed)  # the first weights are drawn at random
# es: los primeros pesos se sacan al azar
novice = type(pocket.unet).from_config(pocket.unet.config).to(pocket.device)
optimiser = torch.optim.AdamW(novice.parameters(), lr=1e-3)
batch, its_noise, no_texts = clean_latents[:4], noise_for_latents[:4], embed(pocket, [""] * 4)
noisy_batch = add_noise(batch, its_noise, torch.full((4,), t), alphas_cumprod)
losses, views = [], []
for step in range(41):
    guess = novice(noisy_batch, t, encoder_hidden_states=no_texts).sample
    loss = ((guess - its_noise) ** 2).mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    losses.append(loss.item())
    view = predict_original_sample(noisy_batch[:1], guess[:1].detach(), alphas_cumprod[t])
    views.append(sdlesson.decode(pocket, view)[0] if step % 10 == 0 else None)

# %%
figures.curves(
    range(41),
    {say("loss", "pérdida"): losses},
    x_label=say("corrections", "correcciones"),
    y_label=say("how far the guess is from the noise", "cuánto se aparta del ruido"),
    title=say("One batch, learned before your eyes", "Un lote, aprendido ante tus ojos"),
    pictures=views,
)

# %% part="claim"
assert losses[-1] < losses[0] / 2, "forty corrections at least halve the loss"

# %% [markdown] lang="en"
# This one has learned four pictures by heart. The pocket model did the same with millions of
# scenes, each with other noise, another timestep and a caption: too many to memorise, so it had to
# learn what scenes look like.

# %% [markdown] lang="es"
# Esta se ha aprendido cuatro imágenes de memoria. El modelo de bolsillo hizo lo mismo con millones
# de escenas, cada una con otro ruido, otro instante y su texto: demasiadas para la memoria, así que
# tuvo que aprender cómo son las escenas.

# %% [markdown] lang="en" part="discuss"
# The network is never told what is *in* a picture, only how far its guess of the noise was off. How
# can it learn to draw from that?
#
# ---
#
# To tell noise from picture, one must know what pictures are like: an edge that goes on behind the
# noise, a robot's second eye. Whatever helps that guess is learned, and captions help too.

# %% [markdown] lang="es" part="discuss"
# A la red nunca se le dice qué *hay* en la imagen, solo cuánto se equivocó con el ruido. ¿Cómo
# puede aprender a dibujar con eso?
#
# ---
#
# Para separar el ruido de la imagen hay que saber cómo son las imágenes: un borde que sigue por
# detrás, el segundo ojo de un robot. Aprende todo lo que ayude a adivinar, y los textos también
# ayudan.

# %% [markdown] lang="en" short=true
# ## The way back
#
# Now from noise to a picture. This is the map of the loop, and we will visit every stop. The
# colours are those of lesson 01:

# %% [markdown] lang="es" short=true
# ## El camino de vuelta
#
# Ahora, del ruido a la imagen. Este es el mapa del bucle, y vamos a visitar todas sus paradas. Los
# colores son los de la lección 01:

# %%
figures.pipeline_diagram()

# %% [markdown] lang="en"
# ### Tokens
#
# ```text
# ▶ TOKENS · embeddings · noise · [ scale · U-Net · guidance · step ] · decode
# ```
#
# The tokenizer cuts a text into pieces with a number each. Five words: how many numbers will the
# model be given?

# %% [markdown] lang="es"
# ### Tokens
#
# ```text
# ▶ TOKENS · embeddings · ruido · [ escalar · U-Net · guía · paso ] · decodificar
# ```
#
# El tokenizador corta el texto en trozos y a cada uno le da un número. Con cinco palabras,
# ¿cuántos números recibirá el modelo?

# %%
prompt = say("a robot on the beach", "un robot en la playa")
encoding = pipe.tokenizer(prompt, padding="max_length", truncation=True, return_tensors="pt")
tokens = encoding.input_ids  # (1, tokens)

print(tuple(tokens.shape))
print(pipe.tokenizer.convert_ids_to_tokens(tokens[0].tolist())[:12], "...")

# %% [markdown] lang="en"
# A start, the words, an end, then *padding*: the window always has the same length. What happens to
# a longer text?

# %% [markdown] lang="es"
# Un inicio, las palabras, un final y después *relleno*: la ventana mide siempre lo mismo. ¿Qué pasa
# con un texto más largo?

# %%
long_prompt = (
    prompt + say(", in the style of Monet, at night", ", al estilo de Monet, de noche") * 9
)
print(cut_words(pipe.tokenizer, long_prompt))

# %% [markdown] lang="en"
# The model never reads that end. Put what matters first.
#
# ### Embeddings
#
# ```text
# tokens · ▶ EMBEDDINGS · noise · [ scale · U-Net · guidance · step ] · decode
# ```
#
# The text encoder turns each token into a vector that depends on its neighbours too. Guidance will
# also need the empty text.

# %% [markdown] lang="es"
# Ese final el modelo no lo lee nunca. Pon lo importante al principio.
#
# ### Embeddings
#
# ```text
# tokens · ▶ EMBEDDINGS · ruido · [ escalar · U-Net · guía · paso ] · decodificar
# ```
#
# El codificador de texto convierte cada token en un vector que tiene en cuenta a sus vecinos. La
# guía necesitará además el texto vacío.

# %%
text_embeddings = pipe.text_encoder(tokens.to(pipe.device)).last_hidden_state
empty_embeddings = embed(pipe, [""])  # the same two lines, for an empty text
embeddings = torch.cat([empty_embeddings, text_embeddings])  # (2, tokens, channels)

print(tuple(text_embeddings.shape), tuple(embeddings.shape))

# %% part="claim"
assert torch.equal(text_embeddings, embed(pipe, [prompt])), "embed does the two lines above"

# %% [markdown] lang="en"
# ### Noise
#
# ```text
# tokens · embeddings · ▶ NOISE · [ scale · U-Net · guidance · step ] · decode
# ```
#
# The loop starts from latents that are nothing but noise, made on the CPU so that a seed means the
# same everywhere. What does it look like, decoded?

# %% [markdown] lang="es"
# ### Ruido
#
# ```text
# tokens · embeddings · ▶ RUIDO · [ escalar · U-Net · guía · paso ] · decodificar
# ```
#
# El bucle parte de unos latentes que son puro ruido, creados en la CPU para que una semilla valga
# lo mismo en todas partes. ¿Qué aspecto tiene el ruido decodificado?

# %%
side = pipe.unet.config.sample_size
shape = (1, pipe.unet.config.in_channels, side, side)
generator = torch.Generator("cpu").manual_seed(seed)
noise = torch.randn(shape, generator=generator, dtype=pipe.unet.dtype).to(pipe.device)

print(tuple(noise.shape))
figures.enlarged(sdlesson.decode(pipe, noise)[0])

# %% [markdown] lang="en"
# ### Timesteps
#
# Training used 1000 levels of noise; drawing visits a few of them. The scheduler chooses which. In
# what order will they come?

# %% [markdown] lang="es"
# ### Los instantes
#
# El entrenamiento usó 1000 niveles de ruido; para dibujar bastan unos cuantos. El planificador
# elige cuáles. ¿En qué orden saldrán?

# %% tags=["nbval-check-output"]
scheduler = fresh_scheduler(pipe)
scheduler.set_timesteps(25, device=pipe.device)
print(scheduler.timesteps.tolist())

# %% [markdown] lang="en"
# Downwards, from the most noise to the least, in equal strides.
#
# ### Scale
#
# ```text
# tokens · embeddings · noise · [ ▶ SCALE · U-Net · guidance · step ] · decode
# ```
#
# Each scheduler keeps latents at a scale of its own; the U-Net knows only one. Compare the spread
# before and after `scale_model_input`.

# %% [markdown] lang="es"
# Hacia abajo, del ruido máximo al mínimo, a intervalos iguales.
#
# ### Escalar
#
# ```text
# tokens · embeddings · ruido · [ ▶ ESCALAR · U-Net · guía · paso ] · decodificar
# ```
#
# Cada planificador guarda los latentes en su propia escala; la U-Net solo conoce una. Mira la
# dispersión antes y después de `scale_model_input`.

# %%
for name in ("DDIMScheduler", "EulerDiscreteScheduler"):
    other = fresh_scheduler(pipe, name)
    other.set_timesteps(25, device=pipe.device)
    kept = noise * other.init_noise_sigma
    scaled = other.scale_model_input(kept, other.timesteps[0])
    print(f"{name:24} {kept.std():5.1f} → {scaled.std():.1f}")

# %% [markdown] lang="en"
# DDIM keeps the U-Net's own scale, so nothing changes. Euler keeps far larger numbers, which the
# U-Net never met.

# %% [markdown] lang="es"
# DDIM usa la escala de la U-Net, así que nada cambia. Euler guarda números mucho mayores, que la
# U-Net nunca ha visto.

# %% [markdown] lang="en" short=true
# ### U-Net
#
# ```text
# tokens · embeddings · noise · [ scale · ▶ U-NET · guidance · step ] · decode
# ```
#
# It is shown latents, a timestep and embeddings, and says what is noise. Down the left of the U the
# picture gets smaller and each place sees more of it; up the right it regains its size, with the
# details copied across.

# %% [markdown] lang="es" short=true
# ### U-Net
#
# ```text
# tokens · embeddings · ruido · [ escalar · ▶ U-NET · guía · paso ] · decodificar
# ```
#
# Recibe latentes, un instante y unos embeddings, y dice qué es ruido. Al bajar por la izquierda de
# la U, la imagen encoge y cada lugar ve una parte mayor; al subir por la derecha recupera su
# tamaño, con los detalles copiados.

# %%
figures.unet_diagram(pipe)

# %% [markdown] lang="en"
# How do words get in? By *cross-attention*: each place of the picture shares out its attention
# among the words. We can watch. Where will it look for *pizza*?

# %% [markdown] lang="es"
# ¿Por dónde entran las palabras? Por la *atención cruzada*: cada lugar de la imagen reparte su
# atención entre las palabras. Se puede mirar. ¿Dónde buscará *pizza*?

# %%
together = say("a robot beside a pizza on the beach", "un robot junto a una pizza en la playa")
looked_at = word_maps(pocket, together, seed=seed)
chosen = [say("robot", "robot"), say("pizza", "pizza"), say("beach", "playa")]
figures.heat_maps(looked_at.picture, {word: looked_at.maps[word] for word in chosen})

# %% part="claim"
robot, pizza = (looked_at.maps[word] for word in ("robot", "pizza"))
places = [divmod(int(part.argmax()), part.shape[1]) for part in (robot, pizza)]
assert abs(places[0][1] - places[1][1]) >= 3, "each word is looked at in a place of its own"

# %% [markdown] lang="en"
# Bright are the places that attend most to the word, over all layers and steps. Nobody told the
# network which word belongs where: it found out, because it helps to guess the noise.
#
# Now one call of it, with two texts at once: without words, and with them. What shape must its
# answer have?

# %% [markdown] lang="es"
# Brillan los lugares que más atienden a la palabra, en todas las capas y pasos. Nadie le dijo a la
# red qué palabra va en cada sitio: lo descubrió, porque ayuda a adivinar el ruido.
#
# Ahora, una sola llamada con dos textos a la vez: sin palabras y con ellas. ¿Qué forma tendrá su
# respuesta?

# %%
t = scheduler.timesteps[0]
model_input = scheduler.scale_model_input(noise * scheduler.init_noise_sigma, t)
twice = torch.cat([model_input, model_input])  # (2, 4, 16, 16) for the pocket model
noise_preds = pipe.unet(twice, t, encoder_hidden_states=embeddings).sample
noise_pred_uncond, noise_pred_text = noise_preds.chunk(2)

print(tuple(twice.shape), "→", tuple(noise_preds.shape))

# %% [markdown] lang="en"
# Take all of that noise away at once: `predict_original_sample` is the formula of the jump, solved
# for the clean latents. What does the U-Net make of pure noise?

# %% [markdown] lang="es"
# Quitemos de golpe todo ese ruido: `predict_original_sample` es la fórmula del salto, despejando
# los latentes limpios. ¿Qué imagina la U-Net cuando solo hay ruido?

# %%
alpha_bar = scheduler.alphas_cumprod[t.item()]
guesses = [
    sdlesson.decode(pipe, predict_original_sample(model_input, noise_pred, alpha_bar))[0]
    for noise_pred in (noise_pred_uncond, noise_pred_text)
]
figures.strip(guesses, [say("without words", "sin palabras"), say("with words", "con palabras")])

# %% [markdown] lang="en"
# Blurs: the mean of all that could still come out. So one call is not enough.
#
# Now the U-Net takes one look at each noisy scene, without a word. Will the probe recognise more in
# its guess than in what it was shown?

# %% [markdown] lang="es"
# Borrones: la media de todo lo que aún podría salir. Una sola llamada no basta.
#
# Ahora la U-Net echa un vistazo a cada escena con ruido, sin palabras. ¿Reconocerá la sonda más en
# lo que imagina que en lo que se le enseñó?

# %%
no_words = embed(pocket, [""] * len(scenes))
guessed, robots = [], []
for t in levels:
    at = torch.full((len(scenes),), t)
    noisy = add_noise(clean_latents, noise_for_latents, at, alphas_cumprod)
    noise_preds = pocket.unet(noisy, t, encoder_hidden_states=no_words).sample
    images = sdlesson.decode(pocket, predict_original_sample(noisy, noise_preds, alphas_cumprod[t]))
    guessed.append(recognised(images))
    robots.append(images[0])

# %%
figures.curves(
    levels,
    {
        say("the U-Net's guess", "lo que imagina la U-Net"): guessed,
        say("what it was shown", "lo que se le enseñó"): in_latents,
    },
    x_label="t",
    y_label=say("subjects that the probe recognises", "protagonistas que la sonda reconoce"),
    title=say("One look of the U-Net", "Un solo vistazo de la U-Net"),
    pictures=robots,
    percent=True,
)

# %% [markdown] lang="en"
# It does where much is lost but not all, as at $t=450$ and 600. At 900 too much is gone, and the
# U-Net imagines something else.

# %% [markdown] lang="es"
# Sí, donde se ha perdido mucho pero no todo, como en $t=450$ y 600. En 900 falta demasiado y la
# U-Net imagina otra cosa.

# %% part="claim"
later = [(shares[3].value + shares[4].value) / 2 for shares in (guessed, in_latents)]
assert later[0] > later[1] + 0.1, "at t=450 and 600 one look brings scenes back"
assert guessed[-1].value < 0.5, "at t=900 it imagines something else"

# %% [markdown] lang="en" short=true
# ### Guidance
#
# ```text
# tokens · embeddings · noise · [ scale · U-Net · ▶ GUIDANCE · step ] · decode
# ```
#
# In training, one caption in ten or so was dropped, so the U-Net learned to guess without words
# too. *Classifier-free guidance* uses both guesses: it goes from the one without words to the one
# with them, and further.

# %% [markdown] lang="es" short=true
# ### Guía
#
# ```text
# tokens · embeddings · ruido · [ escalar · U-Net · ▶ GUÍA · paso ] · decodificar
# ```
#
# Al entrenar se quitó más o menos uno de cada diez textos, así que la U-Net aprendió a adivinar
# también sin palabras. La *guía sin clasificador* usa las dos respuestas: va de la que no tiene
# palabras a la que las tiene, y más allá de lo que pide el texto.

# %% [markdown] lang="en" part="goal"
# ### Exercise 3 · Guidance in two lines
#
# Begin at the prediction without words and go `guidance_scale` times the way to the one with them.

# %% [markdown] lang="es" part="goal"
# ### Ejercicio 3 · La guía en dos líneas
#
# Parte de la predicción sin palabras y recorre `guidance_scale` veces el camino hasta la que las
# tiene.


# %% part="stub"
def my_guide(noise_pred_uncond, noise_pred_text, guidance_scale):
    """Return the guided prediction; a scale of 1 gives the one of the text."""
    # es: Devuelve la predicción guiada; con escala 1 da la del texto.
    ...  # one line for the way from one prediction to the other, one to go it
    # es: una línea para el camino de una predicción a la otra y otra para recorrerlo


# %% part="check"
checks.my_guide(my_guide)


# %% part="solution"
def my_guide(noise_pred_uncond, noise_pred_text, guidance_scale):
    """Return the guided prediction; a scale of 1 gives the one of the text."""
    # es: Devuelve la predicción guiada; con escala 1 da la del texto.
    towards_text = noise_pred_text - noise_pred_uncond
    return noise_pred_uncond + guidance_scale * towards_text


# %% part="wrong"
def my_guide(noise_pred_uncond, noise_pred_text, guidance_scale):
    """Swap the two predictions: away from the text."""
    # es: Pone al revés las dos predicciones: se aleja del texto.
    return noise_pred_text + guidance_scale * (noise_pred_uncond - noise_pred_text)


# %% part="wrong" half=true
def my_guide(noise_pred_uncond, noise_pred_text, guidance_scale):
    """Forget the scale: once the way, whatever is asked for."""
    # es: Olvida la escala: recorre el camino una vez, se pida lo que se pida.
    return noise_pred_uncond + (noise_pred_text - noise_pred_uncond)


# %% part="wrong"
def my_guide(noise_pred_uncond, noise_pred_text, guidance_scale):
    """Begin at the text, and go the way once too often."""
    # es: Empieza en el texto: recorre el camino una vez de más.
    return noise_pred_text + guidance_scale * (noise_pred_text - noise_pred_uncond)


# %% part="wrong"
def my_guide(noise_pred_uncond, noise_pred_text, guidance_scale):
    """Make it larger, but in no direction."""
    # es: Más grande, pero sin dirección.
    return guidance_scale * noise_pred_text


# %% [markdown] lang="en" part="noticed"
# **What you should have noticed.** At 1 the empty text cancels out; above 1 the answer lies beyond
# both predictions. A *negative prompt* simply takes the place of the empty text.

# %% [markdown] lang="es" part="noticed"
# **Lo que deberías haber notado.** Con 1, el texto vacío se cancela; por encima de 1, el resultado
# queda más allá de las dos predicciones. Un *prompt negativo* no es más que otro texto en el lugar
# del vacío.

# %% [markdown] lang="en"
# We stop a drawing after 8 of its 25 steps, ask for both guesses, and go different lengths. How
# will the picture change from scale 0 to 15?

# %% [markdown] lang="es"
# Paramos un dibujo tras 8 de sus 25 pasos, pedimos las dos respuestas y recorremos distintas
# distancias. ¿Cómo cambiará la imagen de la escala 0 a la 15?

# %%
generator = torch.Generator("cpu").manual_seed(seed)
started = list(sdlesson.denoise(pipe, prompt, num_inference_steps=25, generator=generator))
halfway, t = started[7].latents, scheduler.timesteps[8]
both = pipe.unet(torch.cat([halfway, halfway]), t, encoder_hidden_states=embeddings).sample
without_words, with_words = both.chunk(2)
scales, alpha_bar = (0, 1, 5, 15), scheduler.alphas_cumprod[t.item()]
guesses = [
    predict_original_sample(halfway, guide(without_words, with_words, scale), alpha_bar)
    for scale in scales
]
figures.strip(sdlesson.decode(pipe, torch.cat(guesses)), [f"{scale}" for scale in scales])

# %%
figures.guidance_arrow(without_words, with_words, scales)

# %% part="claim"
apart, size = (with_words - without_words).norm(), without_words.norm()
assert apart < 0.7 * size, "the words change only a part of the guess"

# %% [markdown] lang="en"
# The blue arrow is the noise found without words; the words change it a little, sideways. Guidance
# goes on in that direction. The farther out, the less it is a guess of any real noise: colours
# burn.

# %% [markdown] lang="es"
# La flecha azul es el ruido hallado sin palabras; las palabras lo cambian un poco, hacia un lado.
# La guía sigue en esa dirección. Cuanto más lejos llega, menos se parece a un ruido real: los
# colores se queman.

# %% [markdown] lang="en"
# ### Step
#
# ```text
# tokens · embeddings · noise · [ scale · U-Net · guidance · ▶ STEP ] · decode
# ```
#
# DDIM takes all of the predicted noise away, and puts back as much of it as the next timestep has:
#
# $$x_{next} = \sqrt{\bar\alpha_{next}}\;\hat x_0 + \sqrt{1-\bar\alpha_{next}}\;\epsilon$$

# %% [markdown] lang="es"
# ### Paso
#
# ```text
# tokens · embeddings · ruido · [ escalar · U-Net · guía · ▶ PASO ] · decodificar
# ```
#
# DDIM quita todo el ruido predicho y vuelve a poner tanto como tenga el instante siguiente:
#
# $$x_{sig} = \sqrt{\bar\alpha_{sig}}\;\hat x_0 + \sqrt{1-\bar\alpha_{sig}}\;\epsilon$$

# %%
t, next_t = scheduler.timesteps[:2].tolist()
noise_pred = guide(noise_pred_uncond, noise_pred_text, 7.5)
latents = scheduler.step(noise_pred, t, noise).prev_sample

print(t, "→", next_t, tuple(latents.shape))

# %% [markdown] lang="en" part="goal"
# ### Exercise 4 · DDIM's step
#
# Write that step from its formula. $\hat x_0$ is the jump, solved for `clean`:
#
# $$\hat x_0 = (x_t - \sqrt{1-\bar\alpha_t}\;\epsilon)\;/\;\sqrt{\bar\alpha_t}$$

# %% [markdown] lang="es" part="goal"
# ### Ejercicio 4 · El paso de DDIM
#
# Escribe ese paso a partir de su fórmula. $\hat x_0$ es el salto, despejando `clean`:
#
# $$\hat x_0 = (x_t - \sqrt{1-\bar\alpha_t}\;\epsilon)\;/\;\sqrt{\bar\alpha_t}$$


# %% part="stub"
def my_step(latents, noise_pred, t, next_t):
    """Go from timestep t down to next_t, which has less noise."""
    # es: Baja del instante t a next_t, que tiene menos ruido.
    ...  # clean, at alphas_cumprod[t]; then the latents, at alphas_cumprod[next_t]
    # es: clean, con alphas_cumprod[t]; luego los latentes, con alphas_cumprod[next_t]


# %% part="check"
checks.my_step(
    my_step, noise.float(), noise_pred.float(), alphas_cumprod, pairs=[(t, next_t), (481, 441)]
)


# %% part="solution"
def my_step(latents, noise_pred, t, next_t):
    """Go from timestep t down to next_t, which has less noise."""
    # es: Baja del instante t a next_t, que tiene menos ruido.
    alpha_bar, alpha_bar_next = alphas_cumprod[t], alphas_cumprod[next_t]
    clean = (latents - (1 - alpha_bar).sqrt() * noise_pred) / alpha_bar.sqrt()
    return alpha_bar_next.sqrt() * clean + (1 - alpha_bar_next).sqrt() * noise_pred


# %% part="wrong"
def my_step(latents, noise_pred, t, next_t):
    """Take alpha_bar of the wrong timestep: the one just below instead of the next."""
    # es: Toma alpha_bar de otro instante: el de justo debajo, no el siguiente.
    alpha_bar, alpha_bar_next = alphas_cumprod[t], alphas_cumprod[t - 1]
    clean = (latents - (1 - alpha_bar).sqrt() * noise_pred) / alpha_bar.sqrt()
    return alpha_bar_next.sqrt() * clean + (1 - alpha_bar_next).sqrt() * noise_pred


# %% part="wrong"
def my_step(latents, noise_pred, t, next_t):
    """Go the wrong way, to where there is more noise."""
    # es: Va en sentido contrario, hacia donde hay más ruido.
    alpha_bar, alpha_bar_next = alphas_cumprod[next_t], alphas_cumprod[t]
    clean = (latents - (1 - alpha_bar).sqrt() * noise_pred) / alpha_bar.sqrt()
    return alpha_bar_next.sqrt() * clean + (1 - alpha_bar_next).sqrt() * noise_pred


# %% part="wrong" half=true
def my_step(latents, noise_pred, t, next_t):
    """Stop at the guess, as if one step were enough."""
    # es: Se queda en lo que imagina, como si bastara un paso.
    alpha_bar = alphas_cumprod[t]
    return (latents - (1 - alpha_bar).sqrt() * noise_pred) / alpha_bar.sqrt()


# %% part="wrong"
def my_step(latents, noise_pred, t, next_t):
    """Put fresh noise back instead of the predicted one."""
    # es: Pone ruido nuevo en lugar del predicho.
    alpha_bar, alpha_bar_next = alphas_cumprod[t], alphas_cumprod[next_t]
    clean = (latents - (1 - alpha_bar).sqrt() * noise_pred) / alpha_bar.sqrt()
    return alpha_bar_next.sqrt() * clean + (1 - alpha_bar_next).sqrt() * torch.randn_like(clean)


# %% [markdown] lang="en" part="noticed"
# **What you should have noticed.** The scheduler is two lines of arithmetic, without a network.
# DDIM draws no random numbers either: all the chance is in the first noise.

# %% [markdown] lang="es" part="noticed"
# **Lo que deberías haber notado.** El planificador son dos líneas de aritmética, sin ninguna red.
# DDIM tampoco usa números al azar: todo el azar está en el ruido inicial.

# %% [markdown] lang="en"
# Is that all there is to diffusers' scheduler? How many timesteps we compare, and the largest
# difference from the course's `ddim_step`:

# %% [markdown] lang="es"
# ¿El planificador de diffusers no es más que eso? Cuántos instantes comparamos, y la mayor
# diferencia con la función `ddim_step` del curso:

# %%
bars = [alphas_cumprod[t] for t in scheduler.timesteps.tolist()] + [scheduler.final_alpha_cumprod]
gaps = []
for index, t in enumerate(scheduler.timesteps.tolist()):
    theirs = scheduler.step(noise_pred.float(), t, noise.float()).prev_sample
    ours = ddim_step(noise.float(), noise_pred.float(), bars[index], bars[index + 1])
    gaps.append((ours - theirs).abs().max().item())
print(f"{len(gaps)}: {max(gaps):.7f}")

# %% part="claim"
assert max(gaps) < 1e-4, "the formula is all there is to diffusers' DDIM"

# %% [markdown] lang="en" short=true
# ## The whole loop
#
# ```text
# tokens · embeddings · noise · [ scale · U-Net · guidance · step ] ↻ · ▶ DECODE
# ```
#
# You know every line. At the end the U-Net's scale is undone, and the VAE turns latents into
# pixels.

# %% [markdown] lang="es" short=true
# ## El bucle entero
#
# ```text
# tokens · embeddings · ruido · [ escalar · U-Net · guía · paso ] ↻ · ▶ DECODIFICAR
# ```
#
# Conoces todas las líneas. Al final se deshace la escala de la U-Net y el VAE convierte los
# latentes en píxeles.


# %%
def my_loop(scheduler, num_inference_steps):
    """Draw the prompt from the noise, with guidance 7.5."""
    scheduler.set_timesteps(num_inference_steps, device=pipe.device)
    latents = noise
    for t in scheduler.timesteps:
        twice = torch.cat([latents, latents])
        noise_preds = pipe.unet(twice, t, encoder_hidden_states=embeddings).sample
        noise_pred_uncond, noise_pred_text = noise_preds.chunk(2)
        noise_pred = guide(noise_pred_uncond, noise_pred_text, 7.5)
        latents = scheduler.step(noise_pred, t, latents).prev_sample
    pixels = pipe.vae.decode(latents / pipe.vae.config.scaling_factor).sample
    return to_images(pixels)[0]


mine = my_loop(fresh_scheduler(pipe), 25)
print(mine.size)

# %% [markdown] lang="en"
# Now the pipeline, from the same noise. How far apart are the two: not at all, by rounding, or
# more?

# %% [markdown] lang="es"
# Ahora el pipeline, a partir del mismo ruido. ¿Qué distancia habrá entre las dos imágenes: ninguna,
# un redondeo o algo más?


# %%
def compare(name, ours, theirs):
    """Say exact, the same within the course's tolerance, or different, and by how much."""
    # es: Dice si es exacta, la misma con la tolerancia del curso, o distinta, y cuánto.
    error = picture_difference(ours, theirs).mean_error
    names = {True: say("the same", "la misma"), False: say("different", "distinta")}
    verdict = names[same_picture(ours, theirs)] if error else say("exact", "exacta")
    print(f"{name:30} {verdict:10} {255 * error:7.3f}/255")


def pipelines_picture(num_inference_steps):
    """What the pipeline draws from the same prompt, seed and guidance."""
    generator = torch.Generator("cpu").manual_seed(seed)
    settings = {"num_inference_steps": num_inference_steps, "guidance_scale": 7.5}
    return pipe(prompt, generator=generator, **settings).images[0]


theirs = pipelines_picture(25)
compare("DDIMScheduler", mine, theirs)
figures.strip([mine, theirs], ["my_loop", "pipe"])

# %% part="claim"
assert same_picture(mine, theirs), "your loop draws what the pipeline draws"

# %% [markdown] lang="en"
# That is Stable Diffusion, in a dozen lines of yours. Let us try them with another scheduler,
# Euler, and fewer steps:

# %% [markdown] lang="es"
# Eso es Stable Diffusion, en una docena de líneas tuyas. Probémoslas con otro planificador, Euler,
# y con menos pasos:

# %%
pipe.scheduler = fresh_scheduler(pipe, "EulerDiscreteScheduler")
eulers = pipelines_picture(6)
spoiled = my_loop(fresh_scheduler(pipe), 6)

compare("EulerDiscreteScheduler", spoiled, eulers)
figures.strip([spoiled, eulers], ["my_loop", "pipe"])

# %% part="claim"
assert not same_picture(spoiled, eulers), "with Euler the loop of DDIM is wrong"

# %% [markdown] lang="en" part="goal"
# ### Exercise 5 · Mend the loop
#
# Two lines are missing that DDIM does not need. Add them, so that the loop is right with any
# scheduler. You saw both under *Scale*.

# %% [markdown] lang="es" part="goal"
# ### Ejercicio 5 · Arregla el bucle
#
# Faltan dos líneas que DDIM no necesita. Añádelas para que el bucle sirva con cualquier
# planificador. Las dos salieron en *Escalar*.


# %% part="stub"
def any_loop(scheduler, num_inference_steps):
    """Draw the prompt from the noise, with guidance 7.5, with any scheduler."""
    # es: Dibuja el prompt a partir del ruido, con guía 7.5 y cualquier planificador.
    ...  # copy my_loop, and add the two lines
    # es: copia my_loop y añade las dos líneas


# %% part="check"
checks.any_loop(
    any_loop,
    {"DDIM": (fresh_scheduler(pipe, "DDIMScheduler"), 25), "Euler": (fresh_scheduler(pipe), 6)},
    pictures=[theirs, eulers],
)


# %% part="solution"
def any_loop(scheduler, num_inference_steps):
    """Draw the prompt from the noise, with guidance 7.5, with any scheduler."""
    # es: Dibuja el prompt a partir del ruido, con guía 7.5 y cualquier planificador.
    scheduler.set_timesteps(num_inference_steps, device=pipe.device)
    latents = noise * scheduler.init_noise_sigma
    for t in scheduler.timesteps:
        model_input = scheduler.scale_model_input(latents, t)
        twice = torch.cat([model_input, model_input])
        noise_preds = pipe.unet(twice, t, encoder_hidden_states=embeddings).sample
        noise_pred_uncond, noise_pred_text = noise_preds.chunk(2)
        noise_pred = guide(noise_pred_uncond, noise_pred_text, 7.5)
        latents = scheduler.step(noise_pred, t, latents).prev_sample
    pixels = pipe.vae.decode(latents / pipe.vae.config.scaling_factor).sample
    return to_images(pixels)[0]


# %% part="wrong" half=true
def any_loop(scheduler, num_inference_steps):
    """Forget scale_model_input: right with DDIM, and wrong with Euler."""
    # es: Olvida scale_model_input: bien con DDIM y mal con Euler.
    scheduler.set_timesteps(num_inference_steps, device=pipe.device)
    latents = noise * scheduler.init_noise_sigma
    for t in scheduler.timesteps:
        twice = torch.cat([latents, latents])
        noise_preds = pipe.unet(twice, t, encoder_hidden_states=embeddings).sample
        noise_pred = guide(*noise_preds.chunk(2), 7.5)
        latents = scheduler.step(noise_pred, t, latents).prev_sample
    return sdlesson.decode(pipe, latents)[0]


# %% part="wrong"
def any_loop(scheduler, num_inference_steps):
    """Forget init_noise_sigma: Euler starts with far too little noise."""
    # es: Olvida init_noise_sigma: Euler empieza con muy poco ruido.
    scheduler.set_timesteps(num_inference_steps, device=pipe.device)
    latents = noise
    for t in scheduler.timesteps:
        twice = torch.cat([scheduler.scale_model_input(latents, t)] * 2)
        noise_preds = pipe.unet(twice, t, encoder_hidden_states=embeddings).sample
        noise_pred = guide(*noise_preds.chunk(2), 7.5)
        latents = scheduler.step(noise_pred, t, latents).prev_sample
    return sdlesson.decode(pipe, latents)[0]


# %% part="wrong"
def any_loop(scheduler, num_inference_steps):
    """Walk the timesteps in reverse, from the least noise to the most."""
    # es: Recorre los instantes al revés, de menos ruido a más.
    scheduler.set_timesteps(num_inference_steps, device=pipe.device)
    latents = noise * scheduler.init_noise_sigma
    for t in reversed(scheduler.timesteps):
        twice = torch.cat([scheduler.scale_model_input(latents, t)] * 2)
        noise_preds = pipe.unet(twice, t, encoder_hidden_states=embeddings).sample
        noise_pred = guide(*noise_preds.chunk(2), 7.5)
        latents = scheduler.step(noise_pred, t, latents).prev_sample
    return sdlesson.decode(pipe, latents)[0]


# %% part="wrong"
def any_loop(scheduler, num_inference_steps):
    """Forget the scaling factor at the end."""
    # es: Olvida el factor de escala al final.
    scheduler.set_timesteps(num_inference_steps, device=pipe.device)
    latents = noise * scheduler.init_noise_sigma
    for t in scheduler.timesteps:
        twice = torch.cat([scheduler.scale_model_input(latents, t)] * 2)
        noise_preds = pipe.unet(twice, t, encoder_hidden_states=embeddings).sample
        noise_pred = guide(*noise_preds.chunk(2), 7.5)
        latents = scheduler.step(noise_pred, t, latents).prev_sample
    return to_images(pipe.vae.decode(latents).sample)[0]


# %% part="wrong"
def any_loop(scheduler, num_inference_steps):
    """Swap the two predictions in the guidance: away from the words."""
    # es: Pone al revés las dos predicciones de la guía: se aleja de las palabras.
    scheduler.set_timesteps(num_inference_steps, device=pipe.device)
    latents = noise * scheduler.init_noise_sigma
    for t in scheduler.timesteps:
        twice = torch.cat([scheduler.scale_model_input(latents, t)] * 2)
        noise_preds = pipe.unet(twice, t, encoder_hidden_states=embeddings).sample
        noise_pred_text, noise_pred_uncond = noise_preds.chunk(2)
        noise_pred = guide(noise_pred_uncond, noise_pred_text, 7.5)
        latents = scheduler.step(noise_pred, t, latents).prev_sample
    return sdlesson.decode(pipe, latents)[0]


# %% [markdown] lang="en" part="noticed"
# **What you should have noticed.** A loop can be right with one scheduler and wrong with the next,
# with no error to tell you. That is why this course compares pictures by numbers.

# %% [markdown] lang="es" part="noticed"
# **Lo que deberías haber notado.** Un bucle puede ir bien con un planificador y mal con otro, sin
# ningún error que avise. Por eso en este curso las imágenes se comparan con números.

# %% [markdown] lang="en"
# ## Any scheduler
#
# `sdlesson.denoise` is that loop, and it yields every step. Does it draw what the pipeline draws,
# with four schedulers?

# %% [markdown] lang="es"
# ## Con cualquier planificador
#
# `sdlesson.denoise` es ese mismo bucle, y te da cada paso. ¿Dibujará lo mismo que el pipeline con
# cuatro planificadores?

# %%
same = {}
for name in ("DDIM", "PNDM", "EulerDiscrete", "DPMSolverMultistep"):
    pipe.scheduler = fresh_scheduler(pipe, f"{name}Scheduler")
    generator = torch.Generator("cpu").manual_seed(seed)
    *_, last = sdlesson.denoise(pipe, prompt, num_inference_steps=6, generator=generator)
    ours, theirs = sdlesson.decode(pipe, last.latents)[0], pipelines_picture(6)
    compare(name, ours, theirs)
    same[name] = same_picture(ours, theirs)

# %% part="claim"
assert all(same.values()), "denoise draws what the pipeline draws, with each scheduler"
assert len(same) == 4, "there are four"

# %% [markdown] lang="en" part="discuss"
# Your loop and the pipeline draw the same picture. What does that prove, and what does it not?
#
# ---
#
# That you understood every step the pipeline takes. It does not prove that the picture is good:
# both would draw the same nonsense with bad weights.

# %% [markdown] lang="es" part="discuss"
# Tu bucle y el pipeline dibujan la misma imagen. ¿Qué demuestra eso y qué no?
#
# ---
#
# Que has entendido cada paso del pipeline. No demuestra que la imagen sea buena: con pesos malos,
# los dos dibujarían el mismo disparate.

# %% [markdown] lang="en"
# The same pictures, from four different ways of taking a step.
#
# ## Out of the noise
#
# Each step brings its latents and `pred_original_sample`, the U-Net's guess of the end. In which
# of the two will you see the robot first?

# %% [markdown] lang="es"
# Las mismas imágenes, con cuatro formas distintas de dar un paso.
#
# ## Saliendo del ruido
#
# Cada paso trae sus latentes y `pred_original_sample`, lo que la U-Net imagina como final. ¿En cuál
# de los dos verás antes el robot?

# %%
pipe.scheduler = fresh_scheduler(pipe, "DDIMScheduler")
generator = torch.Generator("cpu").manual_seed(seed)
steps = list(sdlesson.denoise(pipe, prompt, num_inference_steps=25, generator=generator))
pictures = [
    sdlesson.decode(pipe, torch.cat([step.latents, step.pred_original_sample])) for step in steps
]
columns = [image_grid(both, columns=1) for both in pictures[::8]]
figures.strip(columns, [f"t={step.timestep}" for step in steps[::8]])

# %% [markdown] lang="en"
# Above the latents, below the guess. The guess begins as a blur with the colours of the scene;
# shapes come next, details last. In motion, every second step:

# %% [markdown] lang="es"
# Arriba, los latentes; abajo, lo que imagina la U-Net. Empieza como un borrón con los colores de la
# escena; después llegan las formas y, al final, los detalles. En movimiento, uno de cada dos pasos:

# %%
figures.animation([image_grid(both, columns=2) for both in pictures[::2]], milliseconds=200)

# %% [markdown] lang="en"
# ## Summary
#
# - The forward process mixes a picture with noise; any timestep is one jump away.
# - Training is guessing that noise, and being corrected.
# - Tokens become embeddings; a seed becomes noise; both go into the loop.
# - The loop: scale, U-Net, guidance, step. A few lines of arithmetic, and one network.
# - The VAE undoes the scale and turns latents into pixels.
# - Your loop and the pipeline draw the same picture.
#
# Next: [lesson 03](lesson:03), where we measure what the numbers of this loop decide.

# %% [markdown] lang="es"
# ## Resumen
#
# - El proceso de ida mezcla una imagen con ruido; cualquier instante está a un solo salto.
# - Entrenar es adivinar ese ruido y ser corregido.
# - Los tokens se vuelven embeddings; la semilla se vuelve ruido; ambos entran en el bucle.
# - El bucle: escalar, U-Net, guía, paso. Unas pocas líneas de aritmética y una sola red.
# - El VAE deshace la escala y convierte los latentes en píxeles.
# - Tu bucle y el pipeline dibujan la misma imagen.
#
# A continuación, la [lección 03](lesson:03), donde mediremos qué deciden los números de este bucle.
