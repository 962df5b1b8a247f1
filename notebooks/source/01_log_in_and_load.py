# ---
# jupyter:
#   lesson:
#     names:
#       en: 01_log_in_and_load
#       es: 01_inicia_sesion_y_carga
#     minutes: 60
#     after: ["00"]
#     knows: {en: Python functions, es: las funciones de Python}
#     needs:
#       en: any computer, with or without GPU · no account · 2.7 GB to download with a GPU
#       es: cualquier equipo, con o sin GPU · sin cuenta · 2.7 GB de descarga con GPU
# ---

# %% [markdown] lang="en"
# # Log in and load
#
# In this lesson you will
# - take a Stable Diffusion apart and follow a picture through it,
# - see why a safety checker flags a picture, how often it errs, and what half precision costs,
# - check that weights are what they claim to be, and log in at the Hugging Face Hub, or not.

# %% [markdown] lang="es"
# # Inicia sesión y carga
#
# En esta lección vas a
# - desmontar un Stable Diffusion y seguir una imagen por todas sus piezas,
# - ver por qué un filtro de seguridad marca una imagen, cuánto falla y qué cuesta la media
#   precisión,
# - comprobar que los pesos son lo que dicen ser e iniciar sesión en el Hub de Hugging Face, o no.

# %% part="setup"
import hashlib
import json
import pickle
import random
import shutil
import tempfile
from pathlib import Path

import torch
from IPython.display import Markdown, display
from PIL import ImageChops

import sdlesson
from sdlesson import downloads, draw, figures, hub, metrics, runtime, safety
from sdlesson.diffusion import decode_latents
from sdlesson.exercises import lesson_01 as checks
from sdlesson.images import picture_difference, same_picture, to_images
from sdlesson.language import say
from sdlesson.pocket import world
from sdlesson.pocket.evaluation import macs

device = runtime.best_device()
folder = hub.POCKET_FOLDER
seed = 0

# %% [markdown] lang="en" short=true
# ## The parts
#
# Blue was learned, orange is a rule that somebody wrote, grey is what is handed on:

# %% [markdown] lang="es" short=true
# ## Las piezas
#
# Lo azul se aprendió, lo naranja es una regla que alguien escribió y lo gris es lo que se va
# pasando:

# %%
figures.pipeline_diagram()

# %% [markdown] lang="en"
# | Part | takes | gives |
# |---|---|---|
# | tokenizer | a text | numbers of word pieces (*tokens*) |
# | text encoder | these numbers | an *embedding* of each: what it means in this text |
# | U-Net | noisy latents, how noisy they are, the embeddings | the noise in them |
# | scheduler | latents and their noise | latents with a little less noise |
# | VAE | latents | pixels, and the other way round |
# | safety checker | a finished picture | a flag |
#
# Which of them have weights?

# %% [markdown] lang="es"
# | Pieza | recibe | devuelve |
# |---|---|---|
# | tokenizador | un texto | identificadores de trozos de palabra (*tokens*) |
# | codificador de texto | esos identificadores | un *embedding* de cada uno: qué significa ahí |
# | U-Net | latentes con ruido, cuánto ruido llevan, los embeddings | el ruido que hay en ellos |
# | planificador (scheduler) | latentes y su ruido | latentes con algo menos de ruido |
# | VAE | latentes | píxeles, y al revés |
# | filtro de seguridad | una imagen terminada | una marca |
#
# ¿Cuáles tienen pesos?


# %%
def table(*rows):
    """Show rows as a table; the first holds the headings."""
    # es: Muestra filas como una tabla; la primera tiene los títulos.
    lines = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    return Markdown("\n".join(f"| {' | '.join(map(str, line))} |" for line in lines))


pocket = sdlesson.load_pipeline("pocket", dtype=torch.float32)
pocket.set_progress_bar_config(disable=True)
pocket.text_encoder.requires_grad_(False)  # frozen: this lesson trains nothing
rows = []
for name in ["tokenizer", "text_encoder", "unet", "scheduler", "vae", "safety_checker"]:
    part = getattr(pocket, name)
    size = sum(path.stat().st_size for path in (folder / name).iterdir())
    has_weights = say("yes", "sí") if isinstance(part, torch.nn.Module) else say("no", "no")
    rows.append([f"`{name}`", f"`{type(part).__name__}`", has_weights, f"{size / 1e6:.2f}"])
table(["", say("class", "clase"), say("weights", "pesos"), say("MB on disk", "MB en disco")], *rows)

# %% [markdown] lang="en"
# Four neural networks with weights, a dictionary and a formula. How many weights is that?

# %% [markdown] lang="es"
# Cuatro redes neuronales con pesos, un diccionario y una fórmula. ¿Cuántos pesos son?

# %% [markdown] lang="en" part="goal"
# ### Exercise 1 · Count the parameters
#
# Write a function that counts the numbers in a model. `model.parameters()` goes through its
# tensors, whether they are to be trained or not.

# %% [markdown] lang="es" part="goal"
# ### Ejercicio 1 · Cuenta los parámetros
#
# Escribe una función que cuente los números de un modelo. `model.parameters()` recorre sus
# tensores, se vayan a entrenar o no.


# %% part="stub"
def count_parameters(model):
    """Return how many numbers the model holds."""
    # es: Devuelve cuántos números contiene el modelo.
    ...


# %% part="check"
checks.count_parameters(
    count_parameters, {"pocket.vae": pocket.vae, "pocket.text_encoder": pocket.text_encoder}
)


# %% part="solution"
def count_parameters(model):
    """Return how many numbers the model holds."""
    # es: Devuelve cuántos números contiene el modelo.
    return sum(tensor.numel() for tensor in model.parameters())


# %% part="wrong"
def count_parameters(model):
    """Count the tensors, not the numbers in them."""
    # es: Cuenta los tensores, no los números que contienen.
    return len(list(model.parameters()))


# %% part="wrong"
def count_parameters(model):
    """Take the first side of each tensor for its size."""
    # es: Toma el primer lado de cada tensor por su tamaño.
    return sum(len(tensor) for tensor in model.parameters())


# %% part="wrong" half=true
def count_parameters(model):
    """Forget what is not to be trained."""
    # es: Olvida lo que no se va a entrenar.
    return sum(tensor.numel() for tensor in model.parameters() if tensor.requires_grad)


# %% part="wrong"
def count_parameters(model):
    """Count bytes."""
    # es: Cuenta bytes.
    return sum(tensor.nbytes for tensor in model.parameters())


# %% [markdown] lang="en" part="noticed"
# **What you should have noticed.** diffusers has this function too: `model.num_parameters()`. Twice
# that number is nearly the bytes on disk: the files spend two bytes on each.

# %% [markdown] lang="es" part="noticed"
# **Lo que deberías haber notado.** diffusers ya trae esta función: `model.num_parameters()`. El
# doble de ese número es casi lo que ocupa en disco: los archivos gastan dos bytes en cada uno.

# %% [markdown] lang="en"
# And Stable Diffusion 1.5? It need not be downloaded to be counted: on PyTorch's `meta` device, its
# parts have their shapes and no numbers. How many times larger is it?

# %% [markdown] lang="es"
# ¿Y Stable Diffusion 1.5? Para contarlo no hay que descargarlo: en el dispositivo `meta` de PyTorch
# se construyen sus piezas a partir de los ajustes, con formas y sin números. ¿Cuántas veces mayor
# será?

# %%
vision = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24}
vision |= {"num_attention_heads": 16, "image_size": 224, "patch_size": 14}
encoder, checker = pocket.text_encoder, pocket.safety_checker
text_settings = type(encoder.config)(**macs.SD15_TEXT)
checker_settings = type(checker.config)(vision_config=vision, projection_dim=768)
with torch.device("meta"):  # the pocket model's own classes, at the size of SD 1.5
    # es: las mismas clases del modelo de bolsillo, con el tamaño de SD 1.5
    sd15 = {
        "text_encoder": type(encoder)(text_settings),
        "unet": type(pocket.unet).from_config(macs.SD15_UNET),
        "vae": type(pocket.vae).from_config(macs.SD15_VAE),
        "safety_checker": type(checker)(checker_settings),
    }

rows = []
for name, large in sd15.items():
    ours, its = getattr(pocket, name).num_parameters(), large.num_parameters()
    rows.append([f"`{name}`", f"{ours:,}", f"{its:,}", f"{its / ours:.0f}"])
table(["", say("pocket", "de bolsillo"), "SD 1.5", say("times", "veces")], *rows)

# %% [markdown] lang="en"
# The last column says how many times larger. The kinds of parts are the same, and so is the code:
# whoever understands the small one understands the large one.

# %% [markdown] lang="es"
# La última columna dice cuántas veces mayor es. Las clases de piezas son las mismas y el código
# también: quien entiende el pequeño entiende el grande.

# %% [markdown] lang="en" short=true
# ## The way of a picture
#
# Now with `pipe`: Stable Diffusion 1.5 if you have a GPU, the pocket model otherwise, the same code
# for both. A prompt goes through all parts. At which stop are there suddenly many more numbers?

# %% [markdown] lang="es" short=true
# ## El camino de una imagen
#
# Ahora con `pipe`: Stable Diffusion 1.5 si tienes GPU y, si no, el modelo de bolsillo, con el mismo
# código. Un prompt recorre todas las piezas. ¿En qué punto se multiplican los números?

# %%
pipe = sdlesson.load_pipeline()
pipe.set_progress_bar_config(disable=True)

prompt = say("a penguin in the snow", "un pingüino en la nieve")
generator = torch.Generator("cpu").manual_seed(seed)
steps = list(sdlesson.denoise(pipe, prompt, num_inference_steps=25, generator=generator))

# %%
with torch.no_grad():
    options = {"padding": "max_length", "truncation": True, "return_tensors": "pt"}
    tokens = pipe.tokenizer(prompt, **options).input_ids
    embeddings = pipe.text_encoder(tokens.to(pipe.device)).last_hidden_state
pixels = decode_latents(pipe.vae, steps[-1].latents)
image = to_images(pixels)[0]

stops = {
    say("tokens", "tokens"): tokens,
    say("embeddings", "embeddings"): embeddings,
    say("noise, found by the U-Net", "ruido, según la U-Net"): steps[0].noise_pred,
    say("latents, after the last step", "latentes, tras el último paso"): steps[-1].latents,
    say("pixels, out of the VAE", "píxeles, al salir del VAE"): pixels,
}
shapes = [(stop, f"`{tuple(value.shape)}`", f"{value.numel():,}") for stop, value in stops.items()]
display(table([say("stop", "parada"), say("shape", "forma"), say("numbers", "números")], *shapes))
figures.enlarged(image)

# %% [markdown] lang="en"
# The loop works on latents, and only the VAE makes pixels, at the very end. That is the idea of a
# *latent* diffusion model. How much does it save?

# %% [markdown] lang="es"
# El bucle trabaja con latentes y solo el VAE hace píxeles, al final de todo. Esa es la idea de un
# modelo de difusión *latente*. ¿Cuánto ahorra?

# %% tags=["nbval-check-output"]
print(pixels.numel() / steps[-1].latents.numel())

# %% part="claim"
assert pixels.numel() == 48 * steps[-1].latents.numel(), (
    "three colours of 8 x 8 pixels, four numbers"
)

# %% [markdown] lang="en"
# That many times fewer numbers in every step, in both models: the VAE swaps a block of 8 × 8 pixels
# of three colours for four numbers.

# %% [markdown] lang="es"
# Tantas veces menos números en cada paso, en los dos modelos: el VAE cambia un bloque de 8 × 8
# píxeles de tres colores por cuatro números.

# %% [markdown] lang="en" part="discuss"
# If latents save so much, why not swap 64 × 64 pixels for four numbers?
#
# ---
#
# Four numbers cannot hold what such a block shows: the VAE would have to make up the details. How
# much it loses is the price of what it saves; look at the eyes in small faces.

# %% [markdown] lang="es" part="discuss"
# Si los latentes ahorran tanto, ¿por qué no cambiar 64 × 64 píxeles por cuatro números?
#
# ---
#
# Cuatro números no bastan para lo que muestra un bloque así: el VAE tendría que inventarse los
# detalles. Lo que pierde es el precio de lo que ahorra; fíjate en los ojos de las caras pequeñas.

# %% [markdown] lang="en" short=true
# ## The safety checker
#
# Every finished picture passes it. In SD 1.5 it looks for what is not safe for work; in the pocket
# model for something harmless that stands in for it: broccoli. What will you get?

# %% [markdown] lang="es" short=true
# ## El filtro de seguridad
#
# Por él pasa cada imagen terminada. En SD 1.5 busca contenido para adultos; en el modelo de
# bolsillo, algo inofensivo que lo representa: brócoli. ¿Qué te dará?

# %%
words = say("broccoli in a field", "brócoli en el campo")
draw(words, pipe=pocket, seed=seed, guidance_scale=5.0).image

# %% [markdown] lang="en"
# Black, and a line says why. How does it decide? The checker turns a picture into an embedding, and
# compares it with the embedding of the concept. Above a threshold it flags. We show it copies, so
# that nothing turns black:

# %% [markdown] lang="es"
# Sale negra, pero te avisa. ¿Cómo decide? El filtro convierte la imagen en un embedding y lo
# compara con el del concepto. Por encima de un umbral, la marca. Le enseñamos copias, para que nada
# se vuelva negro:

# %%
prompts = [words, say("broccoli at night", "brócoli de noche")]
prompts += [say("a tree in the snow", "un árbol en la nieve")]
prompts += [say("a cat in the snow", "un gato en la nieve")]
generators = [torch.Generator("cpu").manual_seed(seed) for _ in prompts]
settings = {"num_inference_steps": 25, "guidance_scale": 5.0, "generator": generators}
latents = pocket(prompts, **settings, output_type="latent").images
drawn = sdlesson.decode(pocket, latents)
flags = safety.flags(pocket, drawn)
figures.strip(drawn, [str(flag) for flag in flags])

# %% part="claim"
broccoli, _, tree, cat = (flag.margin for flag in flags)
assert broccoli > 0, "broccoli is flagged"
assert tree > cat, "the tree comes nearer than the cat"

# %% [markdown] lang="en"
# Each label compares cosine and threshold. The tree is not broccoli, and yet it comes nearer than
# the cat: green, round, on a stalk. Were it flagged, that would be a *false alarm*.
#
# How often does it err? Let it judge scenes whose contents we know.

# %% [markdown] lang="es"
# Cada etiqueta compara coseno y umbral. El árbol no es brócoli, y aun así se le acerca más que el
# gato: verde, redondo, con tallo. Si lo marcara, sería una *falsa alarma*.
#
# ¿Cuántas veces falla? Que juzgue escenas cuyo contenido conocemos.

# %%
chance = random.Random(seed)
scenes = [world.sample_scene(chance) for _ in range(800)]
pictures = [world.render(scene) for scene in scenes]
has_broccoli = [world.FLAGGED_SUBJECT in scene.subjects for scene in scenes]
seen = safety.flags(pocket, pictures)

judged = list(zip(seen, has_broccoli, strict=True))
missed = metrics.share(not flag.flagged for flag, truth in judged if truth)
alarms = metrics.share(flag.flagged for flag, truth in judged if not truth)
right = metrics.share(truth for flag, truth in judged if flag.flagged)
table(
    [
        say("missed, of those with broccoli", "se le escapan, de las que tienen brócoli"),
        say("flagged, of those without", "marcadas, de las que no tienen"),
        say("with broccoli, of those flagged", "con brócoli, de las marcadas"),
    ],
    [missed, alarms, right],
)

# %% part="claim"
assert alarms.high < 0.1, "false alarms are few"
assert missed.value > 2 * alarms.value, "it misses far more than it raises false alarms"

# %% [markdown] lang="en"
# It errs in two ways, and not equally: of the scenes *with* broccoli it misses many, and false
# alarms are rare. A checker that hardly ever alarms you may simply be letting things through. But
# rare is not none: one in a hundred, of a million harmless pictures, is ten thousand.

# %% [markdown] lang="es"
# Falla de dos maneras, y no por igual: de las escenas *con* brócoli se le escapan muchas, y las
# falsas alarmas son raras. Un filtro que casi nunca avisa puede estar dejando pasar cosas. Pero
# «raras» no es «ninguna»: una de cada cien, en un millón de imágenes inofensivas, son diez mil.

# %% [markdown] lang="en"
# Both in pictures: above, broccoli that it missed by the most; below, scenes without any that come
# nearest to it. What misleads it?

# %% [markdown] lang="es"
# Las dos cosas en imágenes: arriba, el brócoli que más se le escapó; abajo, las escenas sin brócoli
# que más se le acercan. ¿Qué lo confunde?

# %%
order = sorted(range(len(pictures)), key=lambda number: seen[number].margin)
with_broccoli = [number for number in order if has_broccoli[number]]
others = [number for number in order if not has_broccoli[number]]
chosen = with_broccoli[:4] + others[-4:]
figures.grid([pictures[number] for number in chosen], 4, [str(seen[number]) for number in chosen])

# %% [markdown] lang="en" part="discuss"
# You run a service for children, and your neighbour one for artists. Would you both want the same
# threshold?
#
# ---
#
# No threshold ends both errors; it only trades one for the other. Who bears which error? A picture
# missed harms a child; a picture blacked out robs an artist. So the choice is not a technical one.

# %% [markdown] lang="es" part="discuss"
# Llevas un servicio para niños, y tu vecina uno para artistas. ¿Conviene a los dos el mismo umbral?
#
# ---
#
# Ningún umbral acaba con los dos fallos; solo cambia uno por otro. ¿Quién carga con cada uno? Lo
# que se escapa daña a un niño; lo que se tacha le quita su obra a una artista. Así que no es una
# decisión técnica.

# %% [markdown] lang="en"
# And the picture that `pipe` drew? With a GPU, the first line below is from SD 1.5's own checker.
#
# Under it are five made-up flags, each beside the truth: does the picture have broccoli?

# %% [markdown] lang="es"
# ¿Y la imagen que dibujó `pipe`? Con GPU, la primera línea de abajo es el filtro del propio SD 1.5.
#
# Debajo hay cinco avisos inventados, cada uno junto a la verdad: ¿tiene brócoli la imagen?

# %%
print(safety.flags(pipe, [image])[0], "\n")

five_truths = [True, False, True, False, False]
yes_or_no = {True: say("broccoli", "brócoli"), False: say("none", "nada")}
five_flags = [safety.Flag(0, cosine, threshold=0.2) for cosine in (0.3, 0.3, 0.1, 0.1, 0.25)]
for number, (flag, truth) in enumerate(zip(five_flags, five_truths, strict=True)):
    print(number, flag, yes_or_no[truth], sep="  ")

# %% [markdown] lang="en" part="goal"
# ### Exercise 2 · Find the false alarms
#
# Given flags and the truth about each picture, such as the five above, return the numbers of the
# pictures, from 0, that were flagged and have no broccoli.

# %% [markdown] lang="es" part="goal"
# ### Ejercicio 2 · Encuentra las falsas alarmas
#
# Dadas las marcas y la verdad sobre cada imagen, como las cinco de arriba, devuelve los números de
# las imágenes, desde 0, que se marcaron y no tienen brócoli.


# %% part="stub"
def false_alarms(flags, has_broccoli):
    """Return the numbers of the pictures that were flagged without broccoli."""
    # es: Devuelve los números de las imágenes que se marcaron sin tener brócoli.
    ...


# %% part="check"
checks.false_alarms(false_alarms, five_flags, five_truths)


# %% part="solution"
def false_alarms(flags, has_broccoli):
    """Return the numbers of the pictures that were flagged without broccoli."""
    # es: Devuelve los números de las imágenes que se marcaron sin tener brócoli.
    pairs = enumerate(zip(flags, has_broccoli, strict=True))
    return [number for number, (flag, truth) in pairs if flag.flagged and not truth]


# %% part="wrong"
def false_alarms(flags, has_broccoli):
    """Return all that are flagged."""
    # es: Devuelve todas las marcadas.
    return [number for number, flag in enumerate(flags) if flag.flagged]


# %% part="wrong"
def false_alarms(flags, has_broccoli):
    """Return what was missed."""
    # es: Devuelve las que se escaparon.
    pairs = enumerate(zip(flags, has_broccoli, strict=True))
    return [number for number, (flag, truth) in pairs if truth and not flag.flagged]


# %% part="wrong" half=true
def false_alarms(flags, has_broccoli):
    """Return every error, of both kinds."""
    # es: Devuelve los fallos de las dos clases.
    pairs = enumerate(zip(flags, has_broccoli, strict=True))
    return [number for number, (flag, truth) in pairs if flag.flagged != truth]


# %% part="wrong"
def false_alarms(flags, has_broccoli):
    """Take a flag for true or false, which every object is."""
    # es: Toma la marca por verdadero o falso, y todo objeto es verdadero.
    pairs = enumerate(zip(flags, has_broccoli, strict=True))
    return [number for number, (flag, truth) in pairs if flag and not truth]


# %% [markdown] lang="en" part="noticed"
# **What you should have noticed.** A lower threshold misses less and alarms more; no threshold ends
# both. SD 1.5's checker has 17 concepts whose names were kept secret, and errs both ways too
# ([Rando et al. 2022](https://arxiv.org/abs/2210.04610)).

# %% [markdown] lang="es" part="noticed"
# **Lo que deberías haber notado.** Con un umbral más bajo se escapa menos y hay más falsas alarmas;
# ninguno evita ambas. El filtro de SD 1.5 tiene 17 conceptos, de nombres secretos, y también falla
# en los dos sentidos ([Rando et al. 2022](https://arxiv.org/abs/2210.04610)).

# %% [markdown] lang="en"
# ## Half precision
#
# A number in `float32` takes 4 bytes, in `float16` 2. `bfloat16` also takes 2, and shares them out
# differently. What will become of a third, of something large, of something tiny?

# %% [markdown] lang="es"
# ## Media precisión
#
# Un número ocupa 4 bytes en `float32` y 2 en `float16`. `bfloat16` también ocupa 2, repartidos de
# otra manera. ¿Qué será de un tercio, de algo grande, de algo diminuto?

# %%
numbers = torch.tensor([1 / 3, 70_000, 1e-8])
for number_type in (torch.float32, torch.float16, torch.bfloat16):
    rounded = [f"{number:.7g}" for number in numbers.to(number_type).tolist()]
    print(f"{number_type!s:15}", *(f"{number:>12}" for number in rounded))

# %% [markdown] lang="en"
# `float16` keeps three or four digits, and turns what is too large into infinity and what is tiny
# into zero; `bfloat16` keeps the size and fewer digits.
#
# What do we gain by halves? Work it out.

# %% [markdown] lang="es"
# `float16` conserva tres o cuatro cifras, convierte lo muy grande en infinito y lo diminuto en
# cero; `bfloat16` conserva el tamaño y menos cifras.
#
# ¿Qué se gana? Calcúlalo tú.

# %% [markdown] lang="en" part="goal"
# ### Exercise 3 · How large is SD 1.5?
#
# How many gigabytes do all the weights in `sd15` take in `float16`? A gigabyte, GB, is `10**9`
# bytes; a gibibyte, GiB, is `2**30`, 7% more.

# %% [markdown] lang="es" part="goal"
# ### Ejercicio 3 · ¿Cuánto ocupa SD 1.5?
#
# ¿Cuántos gigabytes ocupan todos los pesos de `sd15` en `float16`? Un gigabyte, GB, son `10**9`
# bytes; un gibibyte, GiB, son `2**30`, un 7% más.

# %% part="stub"
gigabytes = ...

# %% part="check"
checks.gigabytes(gigabytes, sd15)

# %% part="solution"
gigabytes = sum(part.num_parameters() for part in sd15.values()) * 2 / 10**9

# %% part="wrong"
gigabytes = sum(part.num_parameters() for part in sd15.values()) * 16 / 10**9  # bits

# %% part="wrong"
gigabytes = sum(part.num_parameters() for part in sd15.values()) * 4 / 10**9  # float32

# %% part="wrong"
gigabytes = sd15["unet"].num_parameters() * 2 / 10**9  # the largest part alone

# %% part="wrong" half=true
gigabytes = sum(p.num_parameters() for n, p in sd15.items() if n != "safety_checker") * 2 / 10**9

# %% part="wrong"
gigabytes = sum(part.num_parameters() for part in sd15.values()) * 2 / 2**30  # gibibytes

# %% [markdown] lang="en" part="noticed"
# **What you should have noticed.** That is the download of this course where there is a GPU. In
# `float32` it would be twice as much, on disk and in the GPU's memory.

# %% [markdown] lang="es" part="noticed"
# **Lo que deberías haber notado.** Esa es la descarga de este curso donde hay GPU. En `float32`
# sería el doble, en disco y en la memoria de la GPU.

# %% [markdown] lang="en"
# What does it cost? First, the weights of the pocket model, halved and brought back to `float32`:
# do they come back the same?

# %% [markdown] lang="es"
# ¿Y qué se paga? Primero, los pesos del modelo de bolsillo, pasados a `float16` y devueltos a
# `float32`: ¿volverán iguales?

# %% tags=["nbval-check-output"]
weights = list(pocket.unet.parameters())
halves = [weight.half() for weight in weights]
pairs = zip(weights, halves, strict=True)

print(sum(weight.nbytes for weight in weights) / sum(half.nbytes for half in halves))
lost = sum(not torch.equal(weight, half.float()) for weight, half in pairs)
print(say(f"changed: {lost}", f"cambiados: {lost}"))

# %% part="claim"
assert lost == 0, "not a digit is lost"

# %% [markdown] lang="en"
# Half the bytes, and not a digit is lost, because the files already hold halves.
#
# On a GPU the sums are done in halves too. A CPU has no fast `float16`, so we round what every
# layer returns. Will you see it?

# %% [markdown] lang="es"
# La mitad de bytes y no se pierde ni una cifra, porque los archivos ya los guardan en media
# precisión.
#
# En una GPU también se suma en media precisión. La CPU no tiene un `float16` rápido, así que
# redondeamos lo que devuelve cada capa. ¿Se notará?


# %%
def draw_rounded(number_type):
    """Draw with the pocket model, rounding what each layer returns to this type."""
    # es: Dibuja con el modelo de bolsillo redondeando lo que devuelve cada capa.
    parts = (pocket.text_encoder, pocket.unet, pocket.vae)
    layers = [layer for part in parts for layer in part.modules() if not list(layer.children())]

    def round_result(layer, inputs, result):
        return result.to(number_type).to(result.dtype)

    hooks = [layer.register_forward_hook(round_result) for layer in layers]
    try:
        return draw(prompt, pipe=pocket, seed=seed, guidance_scale=5.0).image
    finally:
        for hook in hooks:
            hook.remove()


exact = draw(prompt, pipe=pocket, seed=seed, guidance_scale=5.0).image
half, brain = draw_rounded(torch.float16), draw_rounded(torch.bfloat16)
apart = [ImageChops.difference(exact, other).point(lambda v: 20 * v) for other in (half, brain)]
labels = ["float32", "float16", "float16: 20 x", "bfloat16", "bfloat16: 20 x"]
figures.strip([exact, half, apart[0], brain, apart[1]], labels)

# %% [markdown] lang="en"
# Beside each picture stands its difference from the first, twenty times as bright. In numbers, as
# steps of the 255 that a colour has:

# %% [markdown] lang="es"
# Junto a cada imagen está su diferencia con la primera, veinte veces más brillante. En números,
# contando en los 255 niveles que tiene un color:

# %%
for name, picture in {"float16": half, "bfloat16": brain}.items():
    print(f"{name:10} {255 * picture_difference(exact, picture).mean_error:.2f}")

# %% part="claim"
error, brain_error = (picture_difference(exact, other).mean_error for other in (half, brain))
assert same_picture(exact, half), "float16 draws the same picture"
assert brain_error > 2 * error, "bfloat16 strays further"

# %% [markdown] lang="en"
# `float16` draws the same picture: it differs by less than this course's one tolerance, 1 in 255 on
# average. `bfloat16`, with fewer digits, strays further. With a GPU, the cell below shows the real
# thing; without one, nothing.

# %% [markdown] lang="es"
# `float16` dibuja la misma imagen según el criterio de igualdad del curso: menos de 1 entre 255 de
# media. `bfloat16`, con menos cifras, se aleja más. Con GPU, la celda de abajo muestra el caso
# real; sin ella, nada.

# %% tags=["gpu"]
if pipe.device.type == "cuda":
    on_gpu = sdlesson.load_pipeline("pocket", dtype=torch.float16)
    on_gpu.set_progress_bar_config(disable=True)
    real_half = draw(prompt, pipe=on_gpu, seed=seed, guidance_scale=5.0).image
    print(f"{255 * picture_difference(exact, real_half).mean_error:.2f}")
    display(figures.strip([exact, real_half], ["float32", "float16"]))

# %% [markdown] lang="en"
# Latents can be stored in halves as well. Someone kept these from the drawing above, and you get
# them instead of the picture:

# %% [markdown] lang="es"
# También los latentes se pueden guardar en media precisión. Alguien conservó los del dibujo de
# antes, y te llegan en lugar de la imagen:

# %%
generator = torch.Generator("cpu").manual_seed(seed)
settings = {"num_inference_steps": 25, "guidance_scale": 5.0, "generator": generator}
latents = pocket(prompt, **settings, output_type="latent").images
kept = latents.half()
print(kept.dtype, tuple(kept.shape), f"{kept.nbytes:,} bytes")

# %% [markdown] lang="en" part="goal"
# ### Exercise 4 · Develop the picture
#
# Turn `kept` into the picture with `pocket.vae.decode(...).sample` and `to_images(pixels)`. The VAE
# computes in `float32`, and its latents were multiplied by `pocket.vae.config.scaling_factor`.

# %% [markdown] lang="es" part="goal"
# ### Ejercicio 4 · Revela la imagen
#
# Convierte `kept` en la imagen con `pocket.vae.decode(...).sample` y `to_images(pixels)`. El VAE
# calcula en `float32`, y sus latentes se multiplicaron por `pocket.vae.config.scaling_factor`.


# %% part="stub"
def develop(kept):
    """Return the picture of latents that were kept in half precision."""
    # es: Devuelve la imagen de unos latentes guardados en media precisión.
    ...


# %% part="check"
checks.develop(develop, kept, pocket.vae, exact)


# %% part="solution"
def develop(kept):
    """Return the picture of latents that were kept in half precision."""
    # es: Devuelve la imagen de unos latentes guardados en media precisión.
    latents = kept.float() / pocket.vae.config.scaling_factor
    return to_images(pocket.vae.decode(latents).sample)[0]


# %% part="wrong" half=true
def develop(kept):
    """Forget the scaling factor."""
    # es: Olvida el factor de escala.
    return to_images(pocket.vae.decode(kept.float()).sample)[0]


# %% part="wrong"
def develop(kept):
    """Multiply once more."""
    # es: Multiplica otra vez.
    latents = kept.float() * pocket.vae.config.scaling_factor
    return to_images(pocket.vae.decode(latents).sample)[0]


# %% part="wrong"
def develop(kept):
    """Hand halves to a VAE that computes in float32."""
    # es: Da media precisión a un VAE que calcula en float32.
    return to_images(pocket.vae.decode(kept / pocket.vae.config.scaling_factor).sample)[0]


# %% part="wrong"
def develop(kept):
    """Take pixels from 0 to 1 for pixels from -1 to 1."""
    # es: Toma píxeles de 0 a 1 por píxeles de -1 a 1.
    latents = kept.float() / pocket.vae.config.scaling_factor
    return to_images((pocket.vae.decode(latents).sample + 1) / 2)[0]


# %% [markdown] lang="en" part="noticed"
# **What you should have noticed.** Halves are for keeping and for moving; to compute, weights and
# inputs need the same type. `sdlesson.decode(pocket, kept)` does all three steps.

# %% [markdown] lang="es" part="noticed"
# **Lo que deberías haber notado.** La media precisión sirve para guardar y para mover; para
# calcular, los pesos y los datos han de ser del mismo tipo. `sdlesson.decode(pocket, kept)` da los
# tres pasos.

# %% [markdown] lang="en"
# ## Device and memory
#
# A second pipeline is loaded, moved to the CPU, deleted. When does its memory come back? On a GPU
# the table counts what tensors take there; on a CPU, all that this notebook takes.

# %% [markdown] lang="es"
# ## Dispositivo y memoria
#
# Se carga un segundo pipeline, se lleva a la CPU y se borra. ¿Cuándo vuelve su memoria? En una GPU
# la tabla cuenta lo que ocupan allí los tensores; en una CPU, todo lo que ocupa este cuaderno.

# %%
runtime.release_memory()
used = {say("before", "antes"): runtime.used_memory_bytes(device)}
second = sdlesson.load_pipeline("pocket", dtype=torch.float32)
used[say("loaded", "cargado")] = runtime.used_memory_bytes(device)
second.to("cpu")  # on a CPU it is there already
used[say("on the CPU", "en la CPU")] = runtime.used_memory_bytes(device)
del second
used[say("deleted", "borrado")] = runtime.used_memory_bytes(device)
runtime.release_memory()
used[say("released", "liberado")] = runtime.used_memory_bytes(device)
table([device, "MB"], *((moment, f"{bytes_ / 1e6:,.0f}") for moment, bytes_ in used.items()))

# %% [markdown] lang="en"
# On a GPU, `.to("cpu")` is enough. What is deleted is kept for the next tensors until
# `release_memory` hands it back. If memory runs out: `del pipe`, then `runtime.release_memory()`.

# %% [markdown] lang="es"
# En una GPU basta con `.to("cpu")`. Lo borrado se conserva para los próximos tensores hasta que
# `release_memory` lo devuelve. Si falta memoria: `del pipe` y después `runtime.release_memory()`.

# %% [markdown] lang="en"
# With a GPU, the next cell sends SD 1.5 to the CPU and back, and shows how much memory of the GPU
# that frees.

# %% [markdown] lang="es"
# Con GPU, la celda siguiente lleva SD 1.5 a la CPU y lo trae de vuelta, y muestra cuánta memoria
# libera.

# %% tags=["gpu"]
if pipe.device.type == "cuda":
    for place in ("cuda", "cpu", "cuda"):
        pipe.to(place)
        runtime.release_memory()
        in_use, free = runtime.used_memory_bytes("cuda"), runtime.free_memory_bytes("cuda")
        print(f"pipe.to({place!r}): {in_use / 1e9:.2f} GB, free {free / 1e9:.2f} GB")

# %% [markdown] lang="en"
# ## What is downloaded
#
# A model is a folder. Which of the pocket model's files will be the largest?

# %% [markdown] lang="es"
# ## Qué se descarga
#
# Un modelo es una carpeta. ¿Cuál de los archivos del modelo de bolsillo será el mayor?

# %%
files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
for path in files:
    print(f"{path.stat().st_size:>12,}  {path.relative_to(folder).as_posix()}")

# %% [markdown] lang="en"
# Nearly everything is *weights*, the learned numbers, in files named `.safetensors`. The small
# files hold settings and words.
#
# How do you know that nobody changed them on the way?

# %% [markdown] lang="es"
# Casi todo son *pesos*, los números aprendidos, en archivos `.safetensors`. Los archivos pequeños
# guardan ajustes y palabras.
#
# ¿Cómo sabes que nadie los ha cambiado por el camino?

# %%
weights_file = folder / "unet" / "diffusion_pytorch_model.safetensors"
digest = hashlib.sha256(weights_file.read_bytes()).hexdigest()
record = (folder / downloads.CHECKSUM_FILE).read_text(encoding="utf-8")
print(digest)
print(next(line for line in record.splitlines() if weights_file.name in line and "unet" in line))

# %% part="claim"
assert digest in record, "the file is the one whose SHA-256 was recorded"

# %% [markdown] lang="en"
# The same 64 digits twice: SHA-256 made the first from the file just now, the second was recorded
# when the model was made. `load_pipeline("pocket")` compares every file like this. We copy the
# folder and flip one bit: will it be noticed?

# %% [markdown] lang="es"
# Dos veces las mismas 64 cifras: las primeras las acaba de sacar SHA-256 del archivo; las segundas
# se anotaron al hacer el modelo. `load_pipeline("pocket")` compara así cada archivo. Copiamos la
# carpeta y cambiamos un solo bit: ¿se notará?

# %% tags=["nbval-check-output"]
workshop = tempfile.TemporaryDirectory()
copy = Path(workshop.name) / "copy"
shutil.copytree(folder, copy)
downloads.verify_folder(copy)  # an exact copy passes

damaged = copy / "unet" / "diffusion_pytorch_model.safetensors"
content = bytearray(damaged.read_bytes())
content[len(content) // 2] ^= 1
damaged.write_bytes(content)
try:
    downloads.verify_folder(copy)
except downloads.ModelError as error:
    print(str(error).replace(str(copy), "copy").partition(";")[0])

# %% [markdown] lang="en"
# One bit, and it is refused.
#
# But a file can also be exactly what its maker published, and do harm. Older models are *pickles*
# (`.bin`, `.ckpt`, `.pt`). What can opening one do?

# %% [markdown] lang="es"
# Un bit, y se rechaza.
#
# Pero un archivo puede ser justo el que publicó su autor y hacer daño. Los modelos antiguos son
# *pickles* (`.bin`, `.ckpt`, `.pt`). ¿Qué puede pasar al abrir uno?


# %% tags=["nbval-check-output"]
class Surprise:
    """A pickle may name any function, and opening it calls that function."""

    def __reduce__(self):
        return print, (say("I am code, and I just ran.", "Soy código y acabo de ejecutarme."),)


stored = pickle.dumps(Surprise())
pickle.loads(stored)

# %% [markdown] lang="en"
# This one printed a line; another could send off your token. So the course opens none. What does it
# say to a folder with a pickle in it?

# %% [markdown] lang="es"
# Este ha escrito una línea; otro podría enviar tu token a alguien. Por eso el curso no abre
# ninguno. ¿Qué dirá de una carpeta que tenga un pickle?

# %% tags=["nbval-check-output"]
damaged.with_suffix(".bin").write_bytes(stored)
try:
    hub.check_folder(copy)
except downloads.ModelError as error:
    print(str(error).replace(str(copy), "copy").partition(";")[0])
workshop.cleanup()

# %% [markdown] lang="en"
# From the Hub the course takes safetensors only, and compares them with the SHA-256 that the Hub
# names. Such a file is a list of names and shapes, then bare numbers: there is nothing to run.

# %% [markdown] lang="es"
# Del Hub el curso solo toma safetensors y los compara con el SHA-256 que indica el Hub. Un archivo
# así es una lista de nombres y formas, y después números sin más: no hay nada que ejecutar.

# %%
with weights_file.open("rb") as file:
    length = int.from_bytes(file.read(8), "little")
    header = json.loads(file.read(length))

name, description = next(entry for entry in header.items() if entry[0] != "__metadata__")
print(len(header), name, description)

# %% [markdown] lang="en"
# ## An account and a token
#
# Models live on the *Hugging Face Hub*. A *token* is a password for programs: whoever holds yours
# can act in your name, within the rights that you gave it. When do you need one?
#
# | You want to | You need |
# |---|---|
# | download a public model, such as Stable Diffusion 1.5 | nothing |
# | download a *gated* model, once you have accepted its licence | an account, a *read* token |
# | publish a model of your own | an account, a *write* token |

# %% [markdown] lang="es"
# ## Una cuenta y un token
#
# Los modelos viven en el *Hub de Hugging Face*. Un *token* es una contraseña para programas: quien
# tenga el tuyo puede actuar en tu nombre, hasta donde lleguen sus permisos. ¿Cuándo hace falta?
#
# | Quieres | Necesitas |
# |---|---|
# | descargar un modelo público, como Stable Diffusion 1.5 | nada |
# | descargar un modelo *restringido* (gated), aceptada su licencia | cuenta, token de *lectura* |
# | publicar un modelo tuyo | cuenta, token de *escritura* |

# %% [markdown] lang="en"
# Never write a token into a cell: a notebook keeps it, and notebooks get shared. If one escapes,
# revoke it at [huggingface.co/settings/tokens](https://huggingface.co/settings/tokens).
#
# You have no account? Leave `False` and go on. You have one? Write `True`.

# %% [markdown] lang="es"
# No escribas nunca un token en una celda: el cuaderno lo guarda, y los cuadernos se comparten. Si
# se te escapa uno, revócalo en
# [huggingface.co/settings/tokens](https://huggingface.co/settings/tokens).
#
# ¿No tienes cuenta? Deja `False` y sigue. ¿La tienes? Escribe `True`.

# %%
i_have_an_account = False

if i_have_an_account:
    sdlesson.login()
else:
    print(say("Going on without an account.", "Seguimos sin cuenta."))

# %% [markdown] lang="en"
# `login` tries Colab's secret `HF_TOKEN` (the key on the left edge), the environment variable
# `HF_TOKEN`, a token stored earlier, and only then asks, without showing what you paste; Enter
# skips. Then it says who you are, never the token.

# %% [markdown] lang="es"
# `login` prueba con el secreto `HF_TOKEN` de Colab (la llave del borde izquierdo), la variable de
# entorno `HF_TOKEN`, un token ya guardado y, solo entonces, pregunta sin mostrar lo que pegas;
# Intro lo salta. Luego dice quién eres, nunca el token.

# %% [markdown] lang="en" part="goal"
# ### Exercise 5 · The least that will do
#
# Write the weakest token that is enough for each task: `"none"`, `"read"` or `"write"`.

# %% [markdown] lang="es" part="goal"
# ### Ejercicio 5 · Lo mínimo que basta
#
# Escribe el token más débil que basta para cada tarea: `"none"` (ninguno), `"read"` (lectura) o
# `"write"` (escritura).

# %% part="stub"
to_download_a_public_model = ...
to_download_a_gated_model = ...
to_publish_a_model = ...

# %% part="check"
checks.tokens(to_download_a_public_model, to_download_a_gated_model, to_publish_a_model)

# %% part="solution"
to_download_a_public_model = "none"
to_download_a_gated_model = "read"
to_publish_a_model = "write"

# %% part="wrong"
to_download_a_public_model = to_download_a_gated_model = to_publish_a_model = "write"

# %% part="wrong" half=true
to_download_a_public_model = to_download_a_gated_model = "read"
to_publish_a_model = "write"

# %% part="wrong"
to_download_a_public_model = "none"
to_download_a_gated_model = to_publish_a_model = "read"

# %% part="wrong"
to_download_a_public_model = to_download_a_gated_model = "none"
to_publish_a_model = "write"

# %% [markdown] lang="en" part="noticed"
# **What you should have noticed.** A stolen token that can only read can change nothing. Make one
# for each purpose, and revoke it when you are done.

# %% [markdown] lang="es" part="noticed"
# **Lo que deberías haber notado.** Con un token que solo lee, un ladrón no puede cambiar nada. Haz
# uno para cada cosa y revócalo cuando acabes.

# %% [markdown] lang="en"
# ## In short
#
# - No account is needed here; a token is a secret, and should have no more rights than its task.
# - Four networks, a dictionary and a formula make a picture, mostly in latents.
# - Weights are checked by SHA-256, and pickles are refused.
# - Half precision halves the bytes, and the picture stays the same.
# - A flag is a cosine above a threshold, and can be wrong.
#
# Go on with [lesson 02](lesson:02), which writes the loop by hand.

# %% [markdown] lang="es"
# ## En resumen
#
# - Aquí no hace falta cuenta; un token es un secreto, con los permisos justos para su tarea.
# - Cuatro redes, un diccionario y una fórmula hacen una imagen, casi siempre en latentes.
# - Los pesos se comprueban con SHA-256 y los pickles se rechazan.
# - La media precisión reduce los bytes a la mitad y la imagen sigue siendo la misma.
# - Una marca es un coseno por encima de un umbral, y puede equivocarse.
#
# Sigue con la [lección 02](lesson:02), que escribe el bucle a mano.
