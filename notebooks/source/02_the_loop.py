# ---
# jupyter:
#   lesson:
#     names:
#       en: 02_the_loop
#       es: 02_el_bucle
# ---

# %% [markdown] lang="en"
# # The loop
#
# In this lesson you will
# - spoil a picture step by step, and measure where it is lost,
# - take the denoising loop apart, with the shape of everything that goes through it,
# - write the loop yourself and get the very picture that the pipeline draws.
#
# **45 minutes · any computer, a GPU is welcome · no account · nothing to download with the pocket
# model**

# %% [markdown] lang="es"
# # El bucle
#
# En esta lección vas a
# - estropear una imagen paso a paso y medir en qué momento se pierde,
# - desmontar el bucle que quita el ruido, con la forma de todo lo que pasa por él,
# - escribir tú el bucle y obtener exactamente la imagen que dibuja el pipeline.
#
# **45 minutos · cualquier equipo, mejor con GPU · sin cuenta · nada que descargar con el modelo de
# bolsillo**

# %% part="setup"
import random

import torch
from PIL import Image

import sdlesson
from sdlesson import exercises, figures
from sdlesson.diffusion import (
    add_noise,
    ddim_step,
    draw_noise,
    embed,
    fresh_scheduler,
    guide,
    predict_original_sample,
)
from sdlesson.images import image_grid, picture_difference, same_picture, to_images, to_pixels
from sdlesson.language import say
from sdlesson.metrics import pocket_probe, share
from sdlesson.pocket.rendering import render
from sdlesson.pocket.world import Scene, sample_scene
from sdlesson.prompts import cut_words

seed = 0

# %% [markdown] lang="en"
# Two models: `pipe` is the best this machine can run, and `pocket` is small enough to be measured.
# Nothing is trained here, so no part has to keep track of gradients.

# %% [markdown] lang="es"
# Dos modelos: `pipe` es el mejor que admite esta máquina y `pocket` es tan pequeño que se puede
# medir. Aquí no se entrena nada, así que ninguna pieza necesita guardar gradientes.

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
# A diffusion model learns to mend pictures, so somebody has to spoil them first. Here is a real
# scene from the pocket model's world. In how many ways could you ruin it, little by little?

# %% [markdown] lang="es"
# ## Estropear una imagen
#
# Un modelo de difusión aprende a arreglar imágenes, así que antes alguien tiene que estropearlas.
# Esta es una escena real del mundo del modelo de bolsillo. ¿De cuántas maneras podrías echarla a
# perder, poco a poco?

# %%
scene = Scene("single", ("robot",), "beach", "plain", seed=1)
picture = render(scene)


def errors(images):
    """How far each image is from the picture, from 0 up."""
    return [picture_difference(picture, image).mean_error for image in images]


picture.resize((256, 256), Image.Resampling.LANCZOS)

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
    ...


spoil(picture, 0.5)

# %% part="check"
exercises.check(
    lambda: [spoil(picture, amount) for amount in (0, 0.5, 1)],
    lambda images: errors(images)[0] == 0 < errors(images)[1] < errors(images)[2],
    hint=say(
        "errors([...]) has to be 0 at amount 0, and to grow from 0.5 to 1.",
        "errors([...]) tiene que ser 0 con amount=0 y crecer de 0.5 a 1.",
    ),
)


# %% part="solution"
def spoil(image, amount):
    """Make a mosaic of fewer and fewer tiles."""
    side = max(1, round(image.width * (1 - amount)))
    return image.resize((side, side)).resize(image.size, Image.Resampling.NEAREST)


figures.strip([spoil(picture, amount) for amount in (0, 0.5, 0.8, 0.9, 0.95, 1)])


# %% part="wrong"
def spoil(image, amount):
    """Do nothing, however much is asked for."""
    return image.copy()


# %% part="wrong"
def spoil(image, amount):
    """Spoil it the other way round: most at 0."""
    side = max(1, round(image.width * amount))
    return image.resize((side, side)).resize(image.size, Image.Resampling.NEAREST)


# %% part="wrong"
def spoil(image, amount):
    """Turn it grey at once, whatever the amount."""
    return image.convert("L").convert("RGB")


# %% [markdown] lang="en" part="noticed"
# **What you should have noticed.** Nearly anything works. Diffusion chose noise, for two reasons:
# any level is one jump away from the clean picture, and at the end every picture looks the same,
# so we know where to start on the way back.

# %% [markdown] lang="es" part="noticed"
# **Lo que deberías haber notado.** Casi todo vale. La difusión eligió el ruido por dos motivos:
# se llega a cualquier nivel de un solo salto y, al final, todas las imágenes son iguales, así que
# sabemos desde dónde volver.

# %% [markdown] lang="en"
# ## The forward process
#
# At timestep $t$, from 0 to 999, a picture keeps $\sqrt{\bar\alpha_t}$ of itself and gets
# $\sqrt{1-\bar\alpha_t}$ of noise. The scheduler has the table of all $\bar\alpha_t$. Which way do
# you expect it to go?

# %% [markdown] lang="es"
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
# From almost 1 to almost 0. Pixels become numbers from -1 to 1 first, of the same size as the
# noise; the two are then mixed as the formula says.

# %% [markdown] lang="es"
# De casi 1 a casi 0. Antes, los píxeles pasan a ser números de -1 a 1, del mismo tamaño que el
# ruido; luego se mezclan como dice la fórmula.

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
    ...  # alpha_bar is alphas_cumprod[t]


# %% part="check"
exercises.check(
    lambda: [jump(pixels, pixel_noise, t) for t in (0, 500, 999)],
    [pocket.scheduler.add_noise(pixels, pixel_noise, torch.tensor([t])) for t in (0, 500, 999)],
    hint=say(
        "Both shares are square roots: alpha_bar.sqrt() and (1 - alpha_bar).sqrt().",
        "Las dos proporciones son raíces: alpha_bar.sqrt() y (1 - alpha_bar).sqrt().",
    ),
)


# %% part="solution"
def jump(clean, noise, t):
    """Return sqrt(alpha_bar) of the clean pixels plus sqrt(1 - alpha_bar) of the noise."""
    alpha_bar = alphas_cumprod[t]
    return alpha_bar.sqrt() * clean + (1 - alpha_bar).sqrt() * noise


# %% part="wrong"
def jump(clean, noise, t):
    """Forget the square roots."""
    alpha_bar = alphas_cumprod[t]
    return alpha_bar * clean + (1 - alpha_bar) * noise


# %% part="wrong"
def jump(clean, noise, t):
    """Swap the picture and the noise."""
    alpha_bar = alphas_cumprod[t]
    return alpha_bar.sqrt() * noise + (1 - alpha_bar).sqrt() * clean


# %% part="wrong"
def jump(clean, noise, t):
    """Take alpha_bar of the timestep before."""
    alpha_bar = alphas_cumprod[t - 1]
    return alpha_bar.sqrt() * clean + (1 - alpha_bar).sqrt() * noise


# %% [markdown] lang="en" part="noticed"
# **What you should have noticed.** The squares of the two shares add up to 1, so the numbers keep
# their size at every level of noise: what the U-Net is shown always has the same scale.

# %% [markdown] lang="es" part="noticed"
# **Lo que deberías haber notado.** Los cuadrados de las dos proporciones suman 1, así que los
# números conservan su tamaño con cualquier nivel de ruido: la U-Net siempre ve datos de la misma
# escala.

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
# ratio of the two, squared, is the *signal-to-noise ratio*, $\bar\alpha_t/(1-\bar\alpha_t)$. Up to
# which timestep is it above 1?

# %% [markdown] lang="es"
# Donde las líneas se cruzan hay tanto ruido como imagen y, aun así, el robot se ve. El cociente de
# ambas, al cuadrado, es la *relación señal-ruido*, $\bar\alpha_t/(1-\bar\alpha_t)$. ¿Hasta qué
# instante es mayor que 1?

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
world = (sample_scene(chance) for _ in range(200))
plain_scenes = [s for s in world if s.kind == "single" and s.style == "plain"]
scenes = [scene, *plain_scenes[:23]]


def recognised(images):
    """The share of scenes whose subject the probe reads off their images."""
    readings = zip(pocket_probe().read(images), scenes, strict=True)
    return share(reading.top(1) == frozenset(s.subjects) for reading, s in readings)


clean_images = [render(s) for s in scenes]
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
# The bands are 95% intervals for 24 scenes. Noise in latents, shown decoded below, wins
# sooner: each number there stands for a patch of 8 x 8 pixels. At the far end the probe only
# guesses.

# %% [markdown] lang="es"
# Las bandas son intervalos del 95% con 24 escenas. El ruido en los latentes, que abajo ves
# decodificado, gana antes: cada número representa allí un parche de 8 x 8 píxeles. Al final, la
# sonda solo adivina.


# %% tags=["nbval-check-output"]
def in_the_middle(shares):
    """The mean at t=300 and t=450."""
    return (shares[2].value + shares[3].value) / 2


print("t=0:", in_pixels[0].value > 0.8, in_latents[0].value > 0.8)
print("t=900:", in_pixels[-1].value < 0.4, in_latents[-1].value < 0.4)
print(in_the_middle(in_latents) < in_the_middle(in_pixels) - 0.1)

# %% [markdown] lang="en"
# ## The way back
#
# Now from noise to a picture. This is the map of the loop, and we will visit every stop:
#
# ```text
#  words ──▶ tokens ──▶ embeddings ─────┐
#                                       ▼
#  seed ───▶ noise ──▶ ┌─▶ scale ──▶ U-Net ──▶ guidance ──▶ step ─┐──▶ decode ──▶ picture
#                      └──────────── once a timestep ◀────────────┘
# ```

# %% [markdown] lang="es"
# ## El camino de vuelta
#
# Ahora, del ruido a la imagen. Este es el mapa del bucle, y vamos a visitar todas sus paradas:
#
# ```text
#  palabras ▶ tokens ──▶ embeddings ────┐
#                                       ▼
#  semilla ─▶ ruido ──▶ ┌─▶ escalar ─▶ U-Net ──▶ guía ──▶ paso ─┐──▶ decodificar ──▶ imagen
#                       └───────── una vez por instante ◀───────┘
# ```

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
prompt = "a robot on the beach"
encoding = pipe.tokenizer(prompt, padding="max_length", truncation=True, return_tensors="pt")
tokens = encoding.input_ids  # (1, tokens)

print(tuple(tokens.shape))
print(pipe.tokenizer.convert_ids_to_tokens(tokens[0].tolist())[:12], "...")

# %% [markdown] lang="en"
# A start, the words, an end, and then *padding*: the window always has the same length. And what
# happens to a text that is longer than the window?

# %% [markdown] lang="es"
# Un inicio, las palabras, un final y después *relleno*: la ventana mide siempre lo mismo. ¿Y qué
# pasa con un texto más largo que la ventana?

# %%
long_prompt = prompt + ", in the style of Monet, at night" * 9
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
# The text encoder turns each token into a vector that knows its neighbours. Guidance will also
# need the empty text.

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
print(torch.equal(text_embeddings, embed(pipe, [prompt])))

# %% [markdown] lang="en"
# ### Noise
#
# ```text
# tokens · embeddings · ▶ NOISE · [ scale · U-Net · guidance · step ] · decode
# ```
#
# The loop starts from latents that are nothing but noise, made on the CPU so that a seed means the
# same everywhere. What does noise look like, decoded?

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
sdlesson.decode(pipe, noise)[0]

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
# Schedulers keep latents each in their own way; the U-Net knows one. Print the spread before and
# after `scale_model_input`.

# %% [markdown] lang="es"
# Hacia abajo, del ruido máximo al mínimo, a intervalos iguales.
#
# ### Escalar
#
# ```text
# tokens · embeddings · ruido · [ ▶ ESCALAR · U-Net · guía · paso ] · decodificar
# ```
#
# Cada planificador guarda los latentes a su manera; la U-Net solo conoce una. Mira la dispersión
# antes y después de `scale_model_input`.

# %%
for name in ("DDIMScheduler", "EulerDiscreteScheduler"):
    other = fresh_scheduler(pipe, name)
    other.set_timesteps(25, device=pipe.device)
    kept = noise * other.init_noise_sigma
    scaled = other.scale_model_input(kept, other.timesteps[0])
    print(f"{name:24} {kept.std():5.1f} → {scaled.std():.1f}")

# %% [markdown] lang="en"
# DDIM keeps what the U-Net was trained on, so nothing changes. Euler keeps far larger numbers, and
# without this line the U-Net would see something it never met.

# %% [markdown] lang="es"
# DDIM guarda lo mismo que la U-Net vio al entrenar, así que nada cambia. Euler guarda números mucho
# mayores y, sin esta línea, la U-Net recibiría algo que nunca ha visto.

# %% [markdown] lang="en"
# ### U-Net
#
# ```text
# tokens · embeddings · noise · [ scale · ▶ U-NET · guidance · step ] · decode
# ```
#
# It is shown latents, a timestep and embeddings, and names the noise: once without words, once
# with them, both in one call. What shape must its answer have?

# %% [markdown] lang="es"
# ### U-Net
#
# ```text
# tokens · embeddings · ruido · [ escalar · ▶ U-NET · guía · paso ] · decodificar
# ```
#
# Se le enseñan latentes, un instante y unos embeddings, y dice cuál es el ruido: una vez sin
# palabras y otra con ellas, en una sola llamada. ¿Qué forma tendrá su respuesta?

# %%
t = scheduler.timesteps[0]
model_input = scheduler.scale_model_input(noise * scheduler.init_noise_sigma, t)
twice = torch.cat([model_input, model_input])  # (2, 4, 16, 16) for the pocket model
noise_preds = pipe.unet(twice, t, encoder_hidden_states=embeddings).sample
noise_pred_uncond, noise_pred_text = noise_preds.chunk(2)

print(tuple(twice.shape), "→", tuple(noise_preds.shape))

# %% [markdown] lang="en"
# If that were all of the noise, the formula of the jump, solved for the clean latents, would give
# the picture. The course calls it `predict_original_sample`. What does the U-Net imagine in pure
# noise?

# %% [markdown] lang="es"
# Si ese fuera todo el ruido, la fórmula del salto, despejando los latentes limpios, daría ya la
# imagen. En el curso se llama `predict_original_sample`. ¿Qué se imagina la U-Net en puro ruido?

# %%
alpha_bar = scheduler.alphas_cumprod[t.item()]
guesses = [
    sdlesson.decode(pipe, predict_original_sample(model_input, noise_pred, alpha_bar))[0]
    for noise_pred in (noise_pred_uncond, noise_pred_text)
]
figures.strip(guesses, [say("without words", "sin palabras"), say("with words", "con palabras")])

# %% [markdown] lang="en"
# Blurs: the mean of all that could still come out. So one call is not enough, and the loop goes
# in steps.
#
# And from real scenes with noise: without a single word, does the U-Net see more in them than the
# probe does?

# %% [markdown] lang="es"
# Borrones: la media de todo lo que aún podría salir. Por eso no basta con una llamada y el bucle
# avanza por pasos.
#
# ¿Y con escenas reales llenas de ruido? Sin una sola palabra, ¿verá en ellas la U-Net más que la
# sonda?

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

# %% tags=["nbval-check-output"]
print(in_the_middle(guessed) > in_the_middle(in_latents) + 0.1)

# %% [markdown] lang="en"
# It does: with one look it brings back scenes that the probe had lost. Where too much is gone, it
# imagines something else.

# %% [markdown] lang="es"
# Sí: con un solo vistazo recupera escenas que la sonda ya había perdido. Donde falta demasiado,
# se imagina otra cosa.

# %% [markdown] lang="en"
# ### Guidance
#
# ```text
# tokens · embeddings · noise · [ scale · U-Net · ▶ GUIDANCE · step ] · decode
# ```
#
# There are two predictions, without and with the words. Their difference points to what the words
# ask for. Guidance goes in that direction, further than the text itself.

# %% [markdown] lang="es"
# ### Guía
#
# ```text
# tokens · embeddings · ruido · [ escalar · U-Net · ▶ GUÍA · paso ] · decodificar
# ```
#
# Hay dos predicciones, sin palabras y con ellas. Su diferencia apunta a lo que piden las palabras.
# La guía avanza en esa dirección, más allá que el propio texto.

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
    ...  # one line for the way from one prediction to the other, one to go it


# %% part="check"
exercises.check(
    lambda: [my_guide(torch.tensor(1.0), torch.tensor(2.0), scale) for scale in (0, 1, 7.5)],
    [1.0, 2.0, 8.5],
    hint=say(
        "The way is the prediction with words minus the one without.",
        "El camino es la predicción con palabras menos la predicción sin ellas.",
    ),
)


# %% part="solution"
def my_guide(noise_pred_uncond, noise_pred_text, guidance_scale):
    """Return the guided prediction; a scale of 1 gives the one of the text."""
    towards_text = noise_pred_text - noise_pred_uncond
    return noise_pred_uncond + guidance_scale * towards_text


# %% part="wrong"
def my_guide(noise_pred_uncond, noise_pred_text, guidance_scale):
    """Swap the two predictions: away from the text."""
    return noise_pred_text + guidance_scale * (noise_pred_uncond - noise_pred_text)


# %% part="wrong"
def my_guide(noise_pred_uncond, noise_pred_text, guidance_scale):
    """Begin at the text: one time the way too far."""
    return noise_pred_text + guidance_scale * (noise_pred_text - noise_pred_uncond)


# %% part="wrong"
def my_guide(noise_pred_uncond, noise_pred_text, guidance_scale):
    """Louder, but in no direction."""
    return guidance_scale * noise_pred_text


# %% [markdown] lang="en" part="noticed"
# **What you should have noticed.** At 1 the empty text falls out; above 1 the answer lies beyond
# both predictions. A *negative prompt* simply takes the place of the empty text.

# %% [markdown] lang="es" part="noticed"
# **Lo que deberías haber notado.** Con 1, el texto vacío desaparece; por encima de 1, el resultado
# queda más allá de las dos predicciones. Un *prompt negativo* no es más que otro texto en el lugar
# del vacío.

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
    ...  # clean, at alphas_cumprod[t]; then the latents, at alphas_cumprod[next_t]


# %% part="check"
exercises.check(
    lambda: [
        my_step(noise.float(), noise_pred.float(), start, end)
        for start, end in [(t, next_t), (481, 441)]
    ],
    [scheduler.step(noise_pred.float(), start, noise.float()).prev_sample for start in (t, 481)],
    hint=say(
        "First clean, with alpha_bar; then noise it again, with alpha_bar_next.",
        "Primero clean, con alpha_bar; luego vuelve a poner ruido, con alpha_bar_next.",
    ),
)


# %% part="solution"
def my_step(latents, noise_pred, t, next_t):
    """Go from timestep t down to next_t, which has less noise."""
    alpha_bar, alpha_bar_next = alphas_cumprod[t], alphas_cumprod[next_t]
    clean = (latents - (1 - alpha_bar).sqrt() * noise_pred) / alpha_bar.sqrt()
    return alpha_bar_next.sqrt() * clean + (1 - alpha_bar_next).sqrt() * noise_pred


# %% part="wrong"
def my_step(latents, noise_pred, t, next_t):
    """Take alpha_bar of the wrong timestep: the one just below instead of the next."""
    alpha_bar, alpha_bar_next = alphas_cumprod[t], alphas_cumprod[t - 1]
    clean = (latents - (1 - alpha_bar).sqrt() * noise_pred) / alpha_bar.sqrt()
    return alpha_bar_next.sqrt() * clean + (1 - alpha_bar_next).sqrt() * noise_pred


# %% part="wrong"
def my_step(latents, noise_pred, t, next_t):
    """Go the wrong way, to where there is more noise."""
    alpha_bar, alpha_bar_next = alphas_cumprod[next_t], alphas_cumprod[t]
    clean = (latents - (1 - alpha_bar).sqrt() * noise_pred) / alpha_bar.sqrt()
    return alpha_bar_next.sqrt() * clean + (1 - alpha_bar_next).sqrt() * noise_pred


# %% part="wrong"
def my_step(latents, noise_pred, t, next_t):
    """Stop at the guess, as if one step were enough."""
    alpha_bar = alphas_cumprod[t]
    return (latents - (1 - alpha_bar).sqrt() * noise_pred) / alpha_bar.sqrt()


# %% part="wrong"
def my_step(latents, noise_pred, t, next_t):
    """Put fresh noise back instead of the predicted one."""
    alpha_bar, alpha_bar_next = alphas_cumprod[t], alphas_cumprod[next_t]
    clean = (latents - (1 - alpha_bar).sqrt() * noise_pred) / alpha_bar.sqrt()
    return alpha_bar_next.sqrt() * clean + (1 - alpha_bar_next).sqrt() * torch.randn_like(clean)


# %% [markdown] lang="en" part="noticed"
# **What you should have noticed.** The scheduler has no network in it: two lines of arithmetic. It
# never draws a random number either, so with DDIM all the chance is in the first noise.

# %% [markdown] lang="es" part="noticed"
# **Lo que deberías haber notado.** El planificador no contiene ninguna red: son dos líneas de
# aritmética. Tampoco usa números al azar, así que con DDIM todo el azar está en el ruido inicial.

# %% [markdown] lang="en"
# Is the formula really all there is to diffusers' scheduler? Here are both at all 25 timesteps,
# with the course's `ddim_step`.

# %% [markdown] lang="es"
# ¿De verdad el planificador de diffusers no es más que esa fórmula? Aquí van los dos en los 25
# instantes, con la función `ddim_step` del curso.

# %% tags=["nbval-check-output"]
bars = [alphas_cumprod[t] for t in scheduler.timesteps.tolist()] + [scheduler.final_alpha_cumprod]
gaps = []
for index, t in enumerate(scheduler.timesteps.tolist()):
    theirs = scheduler.step(noise_pred.float(), t, noise.float()).prev_sample
    ours = ddim_step(noise.float(), noise_pred.float(), bars[index], bars[index + 1])
    gaps.append((ours - theirs).abs().max().item())
print(len(gaps), max(gaps) < 1e-4)

# %% [markdown] lang="en"
# ## The whole loop
#
# ```text
# tokens · embeddings · noise · [ scale · U-Net · guidance · step ] ↻ · ▶ DECODE
# ```
#
# You know every line of this cell. At the end the VAE turns latents into pixels; since they were
# scaled for the U-Net, the scale goes first.

# %% [markdown] lang="es"
# ## El bucle entero
#
# ```text
# tokens · embeddings · ruido · [ escalar · U-Net · guía · paso ] ↻ · ▶ DECODIFICAR
# ```
#
# Conoces todas las líneas de esta celda. Al final, el VAE convierte los latentes en píxeles; como
# estaban escalados para la U-Net, antes hay que deshacer la escala.


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
    error = picture_difference(ours, theirs).mean_error
    same = (
        say("the same", "la misma") if same_picture(ours, theirs) else say("different", "distinta")
    )
    verdict = same if error else say("exact", "exacta")
    print(f"{name:30} {verdict:10} {255 * error:7.3f}/255")


def pipelines_picture(num_inference_steps):
    """What the pipeline draws from the same prompt, seed and guidance."""
    generator = torch.Generator("cpu").manual_seed(seed)
    settings = {"num_inference_steps": num_inference_steps, "guidance_scale": 7.5}
    return pipe(prompt, generator=generator, **settings).images[0]


theirs = pipelines_picture(25)
compare("DDIMScheduler", mine, theirs)
image_grid([mine, theirs], columns=2, labels=["my_loop", "pipe"])

# %% tags=["nbval-check-output"]
print(same_picture(mine, theirs))

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
image_grid([spoiled, eulers], columns=2, labels=["my_loop", "pipe"])

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
    ...  # copy my_loop, and add the two lines


# %% part="check"
exercises.check(
    lambda: [
        any_loop(fresh_scheduler(pipe, "DDIMScheduler"), 25),
        any_loop(fresh_scheduler(pipe), 6),
    ],
    [theirs, eulers],
    hint=say(
        "The noise times init_noise_sigma before the loop, scale_model_input in it.",
        "El ruido por init_noise_sigma antes del bucle y scale_model_input dentro.",
    ),
)


# %% part="solution"
def any_loop(scheduler, num_inference_steps):
    """Draw the prompt from the noise, with guidance 7.5, with any scheduler."""
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


# %% part="wrong"
def any_loop(scheduler, num_inference_steps):
    """Forget scale_model_input: right with DDIM, and wrong with Euler."""
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
# with no error to tell you: only a picture that is a bit worse. That is why this course compares
# pictures with numbers.

# %% [markdown] lang="es" part="noticed"
# **Lo que deberías haber notado.** Un bucle puede ir bien con un planificador y mal con otro, sin
# ningún error que avise: solo una imagen algo peor. Por eso en este curso las imágenes se comparan
# con números.

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

# %% tags=["nbval-check-output"]
print(same)

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
pairs = [image_grid(both, columns=1) for both in pictures[::8]]
figures.strip(pairs, [f"t={step.timestep}" for step in steps[::8]])

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
# - Tokens become embeddings; a seed becomes noise; both go into the loop.
# - The loop: scale, U-Net, guidance, step. Two lines of arithmetic each, and one network.
# - The VAE undoes the scale and turns latents into pixels.
# - Your loop and the pipeline draw the same picture.
#
# Next: **03, Guidance and steps**, where we measure what the numbers of this loop decide.

# %% [markdown] lang="es"
# ## Resumen
#
# - El proceso de ida mezcla una imagen con ruido; cualquier instante está a un solo salto.
# - Los tokens se vuelven embeddings; la semilla se vuelve ruido; ambos entran en el bucle.
# - El bucle: escalar, U-Net, guía, paso. Unas pocas líneas de aritmética y una sola red.
# - El VAE deshace la escala y convierte los latentes en píxeles.
# - Tu bucle y el pipeline dibujan la misma imagen.
#
# A continuación: **03, la guía y los pasos**, donde mediremos qué deciden los números de este
# bucle.
