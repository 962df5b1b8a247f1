# ---
# jupyter:
#   lesson:
#     names:
#       en: 07_lora
#       es: 07_lora
#     widgets: true
#     minutes: 60
#     after: ["06"]
#     knows: {en: "matrix products", es: "productos de matrices"}
#     needs:
#       en: "any computer, a GPU is welcome · no account · nothing to download with the pocket
#        model"
#       es: "cualquier equipo, mejor con GPU · sin cuenta · nada que descargar con el modelo de
#        bolsillo"
# ---

# %% [markdown] lang="en"
# # LoRA
#
# In this lesson you will
# - build the layer that makes fine-tuning far smaller, and find what it leaves out,
# - train, scale, merge, remove and combine LoRAs, and save them for other programs too,
# - measure what a stranger's file does to your pictures.

# %% [markdown] lang="es"
# # LoRA
#
# En esta lección vas a
# - construir la capa que hace mucho más pequeño el ajuste fino y ver qué deja fuera,
# - entrenar, escalar, fundir, quitar y combinar LoRAs, y guardarlas también para otros programas,
# - medir qué les hace a tus imágenes el archivo de un desconocido.

# %% part="setup"
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import peft
import safetensors.torch
import torch
from diffusers import UNet2DConditionModel
from PIL import Image

import sdlesson
from sdlesson import figures
from sdlesson.exercises import lesson_07 as checks
from sdlesson.figures.finetuning import lora_matrices
from sdlesson.finetuning import TrainingSettings, export_kohya, load_lora, save_lora, train
from sdlesson.finetuning.adapters import ATTENTION_TARGETS, CONVOLUTION_TARGETS, check_peft
from sdlesson.images import picture_difference
from sdlesson.language import say
from sdlesson.metrics import image_similarity, mean
from sdlesson.pocket.evaluation.macs import SD15_UNET
from sdlesson.pocket.world import Scene, caption, render, subject
from sdlesson.widgets import TrainingPanel

seed = 0

# %%
check_peft()  # stock Colab has a torchao that peft refuses; this lets LoRA work beside it
# es: Colab trae un torchao que peft rechaza; esto deja que LoRA funcione a su lado

# %% [markdown] lang="en" short=true
# ## A picture of low rank
#
# A grey picture is a matrix: here, 128 rows of 128 numbers. Suppose you may keep only a tall matrix
# and a wide one, whose product should come near it. The *rank* is how many columns the tall one
# has. At which rank will you see what it is?

# %% [markdown] lang="es" short=true
# ## Una imagen de rango bajo
#
# Una imagen gris es una matriz: aquí, 128 filas de 128 números. Supón que solo puedes guardar una
# matriz alta y otra ancha, cuyo producto debe parecerse a ella. El *rango* es el número de columnas
# de la alta. ¿Con qué rango sabrás qué es?


# %%
def split(matrix, rank):
    """Return the tall and the wide matrix whose product comes nearest to a matrix."""
    # es: Devuelve la matriz alta y la ancha cuyo producto más se acerca a una matriz.
    left, sizes, right = torch.linalg.svd(matrix, full_matrices=False)
    return left[:, :rank] * sizes[:rank], right[:rank]


scene = Scene("single", ("robot",), "beach", "plain", seed=1)
picture = render(scene).convert("L")
matrix = torch.tensor(np.array(picture), dtype=torch.float32)  # (128, 128)
copies, labels = [], []
for rank in (1, 2, 4, 8, 16, 32):
    tall, wide = split(matrix, rank)  # (128, rank) and (rank, 128)
    # es: (128, rango) y (rango, 128)
    copies.append(Image.fromarray((tall @ wide).clamp(0, 255).byte().numpy()))
    labels.append(f"{say('rank', 'rango')} {rank}: {tall.numel() + wide.numel():,}")
figures.strip([*copies, picture], [*labels, f"{matrix.numel():,}"])

# %% [markdown] lang="en"
# Under each picture stands how many numbers it takes. An eighth of the whole is enough to recognise
# the robot: what is large or repeats fits into few columns, and details do not.

# %% [markdown] lang="es"
# Bajo cada imagen, cuántos números ocupa. Con la octava parte del total ya reconoces el robot: lo
# grande y lo que se repite cabe en pocas columnas; los detalles, no.

# %% [markdown] lang="en"
# ## A correction beside a weight
#
# A layer multiplies by its weights, $y = Wx$. Full DreamBooth (lesson 06) rewrote every $W$. LoRA
# (*low-rank adaptation*, [Hu et al. 2021](https://arxiv.org/abs/2106.09685)) freezes $W$ and trains
# a correction of low rank $r$ beside it:
#
# $$y = Wx + \frac{\alpha}{r}\,B A x$$

# %% [markdown] lang="es"
# ## Una corrección junto a un peso
#
# Una capa multiplica por sus pesos, $y = Wx$. El DreamBooth completo (lección 06) reescribía cada
# $W$. LoRA (*low-rank adaptation*, [Hu et al. 2021](https://arxiv.org/abs/2106.09685)) congela $W$
# y entrena a su lado una corrección de rango bajo $r$:
#
# $$y = Wx + \frac{\alpha}{r}\,B A x$$

# %% [markdown] lang="en"
# $B$ is the tall one, $A$ the wide one, and $\alpha$ a fixed number that says how strong the
# correction is. Here is a layer of the U-Net, and beside it a LoRA that the library *peft* puts on
# it, still with random numbers. Which shapes do you expect?

# %% [markdown] lang="es"
# $B$ es la alta, $A$ la ancha, y $\alpha$ un número fijo que dice con qué fuerza actúa la
# corrección. Aquí hay una capa de la U-Net y, a su lado, la LoRA que le pone la biblioteca *peft*,
# todavía con números al azar. ¿Qué formas esperas?

# %%
pipe = sdlesson.load_pipeline()
pocket = sdlesson.load_pipeline("pocket", dtype=torch.float32)  # rounding would blur comparisons
# es: el redondeo enturbiaría las comparaciones
for model in (pipe, pocket):
    model.set_progress_bar_config(disable=True)


def some_layer(pipe):
    """Return the layer that turns the words into values, in the first block that reads them."""
    # es: Devuelve la capa que convierte las palabras en valores, en el primer bloque que las lee.
    return pipe.unet.down_blocks[1].attentions[0].transformer_blocks[0].attn2.to_v


W = some_layer(pocket).weight.detach().cpu()
frozen = torch.nn.Linear(W.shape[1], W.shape[0], bias=False)
frozen.weight.data = W
config = peft.LoraConfig(r=4, lora_alpha=8, target_modules=["0"], init_lora_weights=False)
pefts = peft.inject_adapter_in_model(config, torch.nn.Sequential(frozen))
A, B = (part["default"].weight.detach() for part in (pefts[0].lora_A, pefts[0].lora_B))
x = torch.randn((3, W.shape[1]), generator=torch.Generator("cpu").manual_seed(seed))
lora_matrices(W, A, B)

# %% [markdown] lang="en"
# Positive numbers are blue, negative ones red. $W$ is noise to the eye; $BA$ is as large, but
# woven: each of its rows is a mixture of the same four rows of $A$.

# %% [markdown] lang="es"
# En azul, los números positivos; en rojo, los negativos. $W$ parece ruido; $BA$ es igual de grande,
# pero está tejida: cada una de sus filas es una mezcla de las mismas cuatro filas de $A$.

# %% [markdown] lang="en" part="goal"
# ### Exercise 1 · The LoRA layer
#
# Write the layer from its formula, so that it gives the same as peft's. Each *row* of `x` is a
# vector, so multiply from the other side: $Wx$ is `x @ W.T`.

# %% [markdown] lang="es" part="goal"
# ### Ejercicio 1 · La capa LoRA
#
# Escribe la capa a partir de su fórmula, de modo que dé lo mismo que la de peft. En `x` cada vector
# es una *fila*, así que se multiplica por el otro lado: $Wx$ es `x @ W.T`.


# %% part="stub"
def lora_layer(x, W, A, B, alpha):
    """Return what a layer with weights W gives once the LoRA of A and B is on it."""
    # es: Devuelve lo que da una capa con pesos W cuando lleva la LoRA de A y B.
    ...  # the rank is the number of rows of A
    # es: el rango es el número de filas de A


# %% part="check"
checks.lora_layer(lora_layer, x, W, A, B, pefts(x).detach())


# %% part="solution"
def lora_layer(x, W, A, B, alpha):
    """Return what a layer with weights W gives once the LoRA of A and B is on it."""
    # es: Devuelve lo que da una capa con pesos W cuando lleva la LoRA de A y B.
    scale = alpha / len(A)
    return x @ W.T + scale * (x @ A.T) @ B.T


# %% part="wrong" half=true
def lora_layer(x, W, A, B, alpha):
    """Forget the scale."""
    # es: Olvida la escala.
    return x @ W.T + x @ A.T @ B.T


# %% part="wrong"
def lora_layer(x, W, A, B, alpha):
    """Scale by alpha alone."""
    # es: Escala solo con alpha.
    return x @ W.T + alpha * x @ A.T @ B.T


# %% part="wrong"
def lora_layer(x, W, A, B, alpha):
    """Forget the frozen weights."""
    # es: Olvida los pesos congelados.
    return alpha / len(A) * x @ A.T @ B.T


# %% part="wrong"
def lora_layer(x, W, A, B, alpha):
    """Multiply A and B in the wrong order."""
    # es: Multiplica A y B en el orden equivocado.
    return x @ W.T + alpha / len(A) * x @ (A @ B).T


# %% part="wrong"
def lora_layer(x, W, A, B, alpha):
    """Multiply as in the formula, where x is a column."""
    # es: Multiplica como en la fórmula, donde x es una columna.
    return W @ x + alpha / len(A) * B @ A @ x


# %% [markdown] lang="en" part="noticed"
# **What you should have noticed.** $BA$ is as large as $W$, but nobody has to compute it: `x` goes
# through the narrow place between $A$ and $B$. A LoRA to be trained starts with $B = 0$, so that
# nothing changes before the first step.

# %% [markdown] lang="es" part="noticed"
# **Lo que deberías haber notado.** $BA$ es tan grande como $W$, pero no hace falta calcularla: `x`
# pasa por el cuello de botella que hay entre $A$ y $B$. Una LoRA que se va a entrenar empieza con
# $B = 0$, así que antes del primer paso no cambia nada.

# %% [markdown] lang="en"
# ## How many numbers
#
# The LoRA goes on the four matrices of every attention layer. The pocket model, whose finest level
# has no attention, gets one on a convolution of each block as well. Full DreamBooth trains all of
# the U-Net. What share of it does a LoRA of rank 4 train?

# %% [markdown] lang="es"
# ## Cuántos números
#
# La LoRA se pone en las cuatro matrices de cada capa de atención. En el modelo de bolsillo, cuyo
# nivel más fino no tiene atención, también en una convolución de cada bloque. El DreamBooth
# completo entrena toda la U-Net. ¿Qué parte de ella entrena una LoRA de rango 4?


# %%
def lora_size(unet, rank, targets):
    """Count the numbers of A and B on all layers whose names end like this."""
    # es: Cuenta los números de A y B en todas las capas cuyo nombre acaba así.
    found = [layer.weight for name, layer in unet.named_modules() if name.endswith(targets)]
    return sum(rank * (W[0].numel() + len(W)) for W in found)  # inputs + outputs
    # es: entradas + salidas


with torch.device("meta"):  # shapes without numbers, so that it fits anywhere
    # es: formas sin números, para que quepa en cualquier sitio
    sd15_unet = UNet2DConditionModel.from_config(SD15_UNET)
for name, unet, targets in [
    ("pocket", pocket.unet, ATTENTION_TARGETS + CONVOLUTION_TARGETS),
    ("SD 1.5", sd15_unet, ATTENTION_TARGETS),
]:
    everything = sum(weights.numel() for weights in unet.parameters())
    print(f"{name}: {everything:,}")
    for rank in (1, 4, 8, 64):
        size = lora_size(unet, rank, targets)
        print(f"  {say('rank', 'rango')} {rank:<3} {size:>10,}  {size / everything:6.2%}")

# %% part="claim"
all_weights = [sum(w.numel() for w in unet.parameters()) for unet in (pocket.unet, sd15_unet)]
small, large = (
    lora_size(u, 4, t)
    for u, t in [
        (pocket.unet, ATTENTION_TARGETS + CONVOLUTION_TARGETS),
        (sd15_unet, ATTENTION_TARGETS),
    ]
)
assert 0.01 < small / all_weights[0] < 0.02, "one or two in a hundred"
assert 0.0008 < large / all_weights[1] < 0.0012, "one in a thousand"

# %% [markdown] lang="en"
# At rank 4, one or two numbers for every hundred weights; in the large model, whose matrices are
# wider, one for every thousand. Twice the rank is twice as many: below we train at rank 8, nearly
# three in a hundred. Are so few enough?

# %% [markdown] lang="es"
# Con rango 4, uno o dos números por cada cien pesos; en el modelo grande, de matrices más anchas,
# uno por cada mil. El doble de rango es el doble de números: abajo entrenamos con rango 8, casi
# tres por cada cien. ¿Bastan tan pocos?

# %% [markdown] lang="en" part="discuss"
# Could a LoRA of rank 8 learn everything that full fine-tuning can? What is it bound to leave out?
#
# ---
#
# Each correction lies in eight directions of its layer. A new subject or style is a small, repeated
# change, and fits; a whole new language or world is not, and would need a higher rank or all
# weights. And layers without a LoRA stay as they are.

# %% [markdown] lang="es" part="discuss"
# ¿Podría una LoRA de rango 8 aprender todo lo que aprende un ajuste fino completo? ¿Qué tiene que
# dejar fuera?
#
# ---
#
# Cada corrección vive en ocho direcciones de su capa. Un sujeto o un estilo nuevos son un cambio
# pequeño y repetido, y caben; un idioma o un mundo enteros, no: harían falta más rango o todos los
# pesos. Y las capas sin LoRA se quedan como están.

# %% [markdown] lang="en" short=true
# ## Train one
#
# Plimo is the robot of [lesson 06](lesson:06), with the same photos and the same word. To keep *a
# robot* as it was, LoRA needs no pictures of other robots: the target is the model's own prediction
# with the LoRA switched off. Why can full DreamBooth not do that?

# %% [markdown] lang="es" short=true
# ## Entrena una
#
# Plimo es el robot de la [lección 06](lesson:06), con las mismas fotos, la misma palabra y textos
# en inglés, como allí. Para dejar *a robot* como era, LoRA no necesita imágenes de otros robots: el
# objetivo es la predicción del propio modelo con la LoRA apagada. ¿Por qué no puede hacer eso el
# DreamBooth completo?

# %%
workshop = tempfile.TemporaryDirectory()
folder = Path(workshop.name)
photos, texts = subject.subject_photos(), subject.subject_prompts()
plimo = f"a {subject.SUBJECT_WORD} {subject.SUBJECT_CLASS}"
settings = TrainingSettings(
    word=subject.SUBJECT_WORD,
    class_noun=subject.SUBJECT_CLASS,
    rank=8,
    alpha=16,
    steps=240,
    prior="own_prediction",
    sample_prompts=(f"{plimo} in the city", "a robot in the city"),
    sample_every=120,
    seed=seed,
)
panel = TrainingPanel()
training = train(pocket, photos, settings, folder / "training", prompts=texts, callback=panel)
figures.strip(photos, [text.removeprefix(plimo) for text in texts])

# %% [markdown] lang="en"
# Full DreamBooth overwrites the model, so the old one is no longer there to ask. Here it stays,
# with the LoRA beside it.
#
# Does Plimo go to Mars and to space, which no photo shows? The same noise, without and with the
# LoRA:

# %% [markdown] lang="es"
# El DreamBooth completo sobrescribe el modelo y ya no queda a quién preguntar. Aquí sigue intacto,
# con la LoRA al lado.
#
# ¿Saldrá Plimo en Marte y en el espacio, que no están en ninguna foto? El mismo ruido, sin la LoRA
# y con ella:


# %%
def pictures(pipe, prompts, number=seed):
    """Draw each prompt from the noise of one seed, without the safety checker's black squares."""
    # es: Dibuja cada prompt con el ruido de una semilla, sin los cuadrados negros del filtro.
    settings = {"num_inference_steps": 25, "guidance_scale": 3.0, "output_type": "latent"}
    generators = [torch.Generator("cpu").manual_seed(number) for _ in prompts]
    return sdlesson.decode(pipe, pipe(prompts, generator=generators, **settings).images)


rests = ["on Mars", "in space", "in the city", "at night"]
prompts = [f"{plimo} {rest}" for rest in rests]
drawn = []
for scale in (0.0, 1.0):
    pocket.set_adapters(settings.word, scale)
    drawn.append(pictures(pocket, prompts))
before, after = (mean(image_similarity(images, photos)).value for images in drawn)
print(say("like the photos, before:", "parecido con las fotos, antes:"), f"{before:.2f}")
print(say("after:", "después:"), f"{after:.2f}")
figures.grid([*drawn[0], *drawn[1]], columns=4, labels=rests * 2)

# %% part="claim"
assert after > before + 0.05, "with the LoRA pictures are more like the photos"

# %% [markdown] lang="en"
# Above, the model's own robots; below, something round with one big eye. The two numbers say how
# similar both rows are to the photos on average, according to CLIP.

# %% [markdown] lang="es"
# Arriba, los robots que el modelo ya conocía; abajo, algo redondo con un solo ojo grande. Los dos
# números dicen cuánto se parece cada fila, de media, a las fotos, según CLIP.

# %% [markdown] lang="en" short=true
# ## How loud
#
# The correction is something added, so it can be turned down, or up past 1, without training again.
# What do you expect at 0.5, and at 1.5?

# %% [markdown] lang="es" short=true
# ## A qué volumen
#
# La corrección es un sumando, así que se puede bajar, o subir por encima de 1, sin volver a
# entrenar. ¿Qué esperas con 0.5? ¿Y con 1.5?

# %%
scales = [0, 0.25, 0.5, 0.75, 1, 1.25, 1.5]
louder = []
for scale in scales:
    pocket.set_adapters(settings.word, scale)
    louder += pictures(pocket, [f"{plimo} in the city"])
pocket.set_adapters(settings.word, 1.0)
figures.curves(
    scales,
    {say("similarity", "parecido"): [image_similarity([image], photos)[0] for image in louder]},
    x_label=say("scale", "escala"),
    y_label=say("similarity to the photos", "parecido con las fotos"),
    title=say("One LoRA, seven volumes", "Una LoRA, siete volúmenes"),
    pictures=louder,
)

# %% [markdown] lang="en"
# On the way to 1 it becomes Plimo. Where is the best place here? It need not be 1. Now add 4 and 8
# to `scales`: what does too much of a LoRA look like?

# %% [markdown] lang="es"
# De camino a 1 se convierte en Plimo. ¿Cuál es aquí el mejor valor? No tiene por qué ser el 1.
# Añade ahora 4 y 8 a `scales`: ¿qué aspecto tiene una LoRA excesiva?

# %% [markdown] lang="en"
# ## The file
#
# Save it. How large will the file be, and what do you think is in it besides numbers?

# %% [markdown] lang="es"
# ## El archivo
#
# Guárdala. ¿Cuánto ocupará el archivo y qué crees que lleva dentro, además de números?

# %%
path = folder / "subject.safetensors"
training.save(path)
print(f"{path.stat().st_size / 1024:.0f} KB")
with safetensors.safe_open(path, "pt") as file:
    for name, text in file.metadata().items():
        print(f"{name}: {text[:60]}")
numbers = safetensors.torch.load_file(path)
print(f"{sum(each.numel() for each in numbers.values()):,}")
for key in list(numbers)[:4]:
    print(key.removeprefix("unet."), tuple(numbers[key].shape))

# %% [markdown] lang="en"
# Pairs of $A$ and $B$, as many numbers as we counted at rank 8, and a few lines of metadata: rank
# and alpha, which layers, the word. Does it work in a model that never saw the photos?

# %% [markdown] lang="es"
# Parejas de $A$ y $B$, tantos números como contamos con rango 8, y unas líneas de metadatos: rango
# y alpha, qué capas, la palabra. ¿Funciona en un modelo que nunca vio las fotos?

# %%
fresh = sdlesson.load_pipeline("pocket", dtype=torch.float32)
fresh.set_progress_bar_config(disable=True)
loaded = load_lora(fresh, path, name=settings.word)
print(loaded)

# %%
trained = pictures(pocket, prompts[:1])[0]
again = pictures(fresh, prompts[:1])[0]
figures.strip([trained, again], [say("trained", "entrenado"), say("loaded", "cargado")])

# %% part="claim"
from sdlesson.images import same_picture

assert not loaded.unmatched, "every layer found its place"
assert same_picture(trained, again), "the file draws what the trained model draws"

# %% [markdown] lang="en"
# `load_lora` counts the layers that found their place and checks that predictions really change.
# diffusers' own `load_lora_weights`, given a file for another model, writes a line into a log, and
# then nothing happens.

# %% [markdown] lang="es"
# `load_lora` cuenta las capas que encontraron su sitio y comprueba que las predicciones cambian de
# verdad. El `load_lora_weights` de diffusers, si el archivo es de otro modelo, escribe una línea en
# un registro, y luego no pasa nada.

# %% [markdown] lang="en"
# ## Which rank
#
# Rank 8 was a choice. How much of it was needed? In the fresh model, we replace every correction
# $BA$ by the nearest of rank 4, then 2, then 1, with the `split` of the first section.

# %% [markdown] lang="es"
# ## Qué rango
#
# El rango 8 fue una elección. ¿Cuánto de él hacía falta? En el modelo nuevo sustituimos cada
# corrección $BA$ por la más cercana de rango 4, luego 2, luego 1, con la función `split` del
# principio.


# %%
def keep_rank(unet, rank):
    """Replace every correction of Plimo's LoRA by the nearest one of a lower rank."""
    # es: Sustituye cada corrección de la LoRA de Plimo por la más cercana de rango menor.
    for layer in unet.modules():
        if isinstance(layer, peft.tuners.lora.LoraLayer):
            halves = (layer.lora_A[settings.word], layer.lora_B[settings.word])
            A, B = (half.weight.data.flatten(1) for half in halves)  # a convolution's kernel too
            # es: también el núcleo de una convolución
            tall, wide = split(B @ A, rank)
            A.zero_()[:rank], B.zero_()[:, :rank] = wide, tall


ranked = [again]
for rank in (4, 2, 1):
    keep_rank(fresh.unet, rank)
    ranked += pictures(fresh, prompts[:1])
figures.strip(ranked, [f"{say('rank', 'rango')} {rank}" for rank in (8, 4, 2, 1)])

# %% [markdown] lang="en"
# Much of what was learnt fits into fewer columns than it was given. A larger rank is not free: it
# costs memory and a larger file, and leaves more room to learn the photos by heart.

# %% [markdown] lang="es"
# Buena parte de lo aprendido cabe en menos columnas de las que tuvo. Y un rango mayor no sale
# gratis: cuesta memoria, hace más grande el archivo y deja más sitio para aprenderse las fotos de
# memoria.

# %% [markdown] lang="en"
# ## Take it off, merge it
#
# `unload_lora_weights` takes LoRAs off. What is left of ours?

# %% [markdown] lang="es"
# ## Quitarla y fundirla
#
# `unload_lora_weights` quita las LoRAs. ¿Qué queda de la nuestra?

# %%
fresh.unload_lora_weights()
without = pictures(fresh, prompts[:1])[0]
figures.strip(
    [drawn[0][0], without], [say("never on", "nunca puesta"), say("taken off", "quitada")]
)

# %% part="claim"
from sdlesson.images import same_picture

assert same_picture(without, drawn[0][0]), "taken off, nothing is left of it"

# %% [markdown] lang="en"
# Nothing: the weights themselves were never touched. The opposite is to *merge*: compute the
# correction once and add it to the weights. Drawing then costs no more than without a LoRA.

# %% [markdown] lang="es"
# Nada: los pesos del modelo no se tocaron nunca. Lo contrario es *fundirla* (*merge*): calcular la
# corrección una vez y sumarla a los pesos. Dibujar cuesta entonces lo mismo que sin LoRA.

# %%
load_lora(fresh, path, name=settings.word)
layer = some_layer(fresh)
W = layer.base_layer.weight.detach().clone()
A, B = (part[settings.word].weight.detach() for part in (layer.lora_A, layer.lora_B))
alpha, rank = layer.lora_alpha[settings.word], layer.r[settings.word]
fresh.fuse_lora()  # from here on the layer's own weights hold the correction
# es: desde aquí, los pesos de la propia capa llevan la corrección
print("alpha", alpha, "·", say("rank", "rango"), rank)

# %% part="claim"
assert not layer.base_layer.weight.allclose(W), "the layer's own weights have changed"

# %% [markdown] lang="en" part="goal"
# ### Exercise 2 · Merge by hand
#
# Return the weights of one plain layer that does what $W$ and the LoRA do together. diffusers does
# the same for all layers with `fuse_lora`.

# %% [markdown] lang="es" part="goal"
# ### Ejercicio 2 · Fúndela a mano
#
# Devuelve los pesos de una sola capa normal que haga lo que $W$ y la LoRA hacen juntas. diffusers
# hace lo mismo en todas las capas con `fuse_lora`.


# %% part="stub"
def merge(W, A, B, alpha, rank):
    """Return weights of the shape of W that hold the correction."""
    # es: Devuelve unos pesos con la forma de W que incluyen la corrección.
    ...


# %% part="check"
checks.merge(merge, (W, A, B, alpha, rank), layer.base_layer.weight)


# %% part="solution"
def merge(W, A, B, alpha, rank):
    """Return weights of the shape of W that hold the correction."""
    # es: Devuelve unos pesos con la forma de W que incluyen la corrección.
    return W + alpha / rank * B @ A


# %% part="wrong" half=true
def merge(W, A, B, alpha, rank):
    """Forget the scale."""
    # es: Olvida la escala.
    return W + B @ A


# %% part="wrong"
def merge(W, A, B, alpha, rank):
    """Turn the scale upside down."""
    # es: Invierte la escala.
    return W + rank / alpha * B @ A


# %% part="wrong"
def merge(W, A, B, alpha, rank):
    """Replace the weights instead of correcting them."""
    # es: Sustituye los pesos en vez de corregirlos.
    return alpha / rank * B @ A


# %% part="wrong"
def merge(W, A, B, alpha, rank):
    """Multiply in the wrong order."""
    # es: Multiplica en el orden equivocado.
    return W + alpha / rank * A @ B


# %% part="wrong"
def merge(W, A, B, alpha, rank):
    """Scale the weights, too."""
    # es: Escala también los pesos.
    return alpha / rank * (W + B @ A)


# %% [markdown] lang="en" part="noticed"
# **What you should have noticed.** The sum is as large as $W$ and no longer shows what went into
# it. A merged LoRA cannot be scaled or taken off, and the file is the whole model again.

# %% [markdown] lang="es" part="noticed"
# **Lo que deberías haber notado.** La suma es tan grande como $W$ y ya no se ve qué llevaba dentro.
# Una LoRA fundida no se puede escalar ni quitar, y el archivo vuelve a ser el modelo entero.

# %% [markdown] lang="en"
# Merged, it should draw the same picture. And taken out again with `unfuse_lora`: are the weights
# exactly what they were?

# %% [markdown] lang="es"
# Fundida, debería dibujar la misma imagen. Y al sacarla con `unfuse_lora`, ¿serán los pesos
# exactamente los de antes?

# %%
fused = pictures(fresh, prompts[:1])[0]
fresh.unfuse_lora()
print(say("largest difference:", "diferencia máxima:"))
print(f"{(layer.base_layer.weight - W).abs().max().item():.1e}")

# %%
unfused = pictures(fresh, prompts[:1])[0]
names = [say("trained", "entrenado"), say("merged", "fundida"), say("unmerged", "separada")]
figures.strip([trained, fused, unfused], names)

# %% part="claim"
from sdlesson.images import same_picture

assert same_picture(fused, trained), "merged, it draws the same"
assert same_picture(unfused, trained), "and so it does when taken out again"

# %% [markdown] lang="en"
# Nearly: adding and subtracting rounds, and far more so in half precision. Keep the file, and merge
# a copy.

# %% [markdown] lang="es"
# Casi: sumar y restar redondea, y en media precisión mucho más. Conserva el archivo y funde una
# copia.

# %% [markdown] lang="en"
# ## A file that forgot its alpha
#
# The scale is `alpha / rank`, and alpha stands only in the metadata, which many tools drop. A
# program that finds no alpha assumes that it equals the rank. What will it draw with our LoRA,
# which was trained with alpha 16 and rank 8?

# %% [markdown] lang="es"
# ## Un archivo que olvidó su alpha
#
# La escala es `alpha / rank` y alpha solo está en los metadatos, que muchas herramientas tiran. Un
# programa que no la encuentra supone que alpha es igual al rango. ¿Qué dibujará con nuestra LoRA,
# entrenada con alpha 16 y rango 8?

# %%
forgetful = folder / "forgetful.safetensors"
safetensors.torch.save_file(numbers, forgetful)  # without metadata
# es: sin metadatos
fresh.unload_lora_weights()
fresh.load_lora_weights(folder, weight_name=forgetful.name, adapter_name="forgetful")
quiet = pictures(fresh, prompts[:1])[0]
figures.strip([trained, quiet], [path.name, forgetful.name])

# %% [markdown] lang="en" part="goal"
# ### Exercise 3 · Mend it
#
# No error, no warning, only a LoRA that is too quiet. Which scale gives back the right picture?

# %% [markdown] lang="es" part="goal"
# ### Ejercicio 3 · Arréglalo
#
# Ni error ni aviso: solo una LoRA que suena demasiado bajo. ¿Qué escala devuelve la imagen
# correcta?

# %% part="stub"
my_scale = ...

# %% part="check"
checks.right_scale(
    my_scale,
    lambda scale: [fresh.set_adapters("forgetful", scale), *pictures(fresh, prompts[:1])][-1],
    trained,
)

# %% part="solution"
my_scale = 16 / 8

# %% part="wrong"
my_scale = 1.0

# %% part="wrong" half=true
my_scale = 8 / 16

# %% part="wrong"
my_scale = 16

# %% part="wrong"
my_scale = "2"

# %% [markdown] lang="en" part="noticed"
# **What you should have noticed.** Here you knew alpha. With a stranger's file nobody does, and you
# are left trying scales. `save_lora` always writes it, and so should you.

# %% [markdown] lang="es" part="noticed"
# **Lo que deberías haber notado.** Aquí sabías cuánto valía alpha. En el archivo de un desconocido
# no lo sabe nadie: solo queda probar escalas. `save_lora` la guarda siempre; haz tú lo mismo.

# %% [markdown] lang="en" part="discuss"
# A friend sends you a LoRA and says: *looks weak, turn it up to 2*. What may be the reason, and
# how would you find out?
#
# ---
#
# Its alpha may be lost, so that it is applied at another scale than in training; or layers found
# no place; or it was trained too little. Look at the metadata, count the matched layers, and draw
# a strip over scales.

# %% [markdown] lang="es" part="discuss"
# Te mandan una LoRA y te dicen: *se nota poco, súbela a 2*. ¿Cuál puede ser el motivo y cómo lo
# averiguarías?
#
# ---
#
# Quizá perdió su alpha y se aplica con otra escala que al entrenar; o hay capas que no encontraron
# su sitio; o se entrenó poco. Mira los metadatos, cuenta las capas que encajan y dibuja una tira
# con varias escalas.

# %% [markdown] lang="en"
# ## Two at once
#
# Corrections add up, so two LoRAs can be on together. The second one learns a style that the pocket
# model does not know, from six posters and under the word *tolvo*.

# %% [markdown] lang="es"
# ## Dos a la vez
#
# Las correcciones se suman, así que dos LoRAs pueden estar puestas a la vez. La segunda aprende, de
# seis carteles y con la palabra *tolvo*, un estilo que el modelo de bolsillo no conoce.

# %%
posters = subject.style_photos()
style = replace(
    settings,
    word=subject.STYLE_WORD,
    class_noun=subject.STYLE_CLASS,
    steps=180,
    prior="none",
    sample_prompts=(),
)
in_style = f", {subject.STYLE_WORD} {subject.STYLE_CLASS}"
titles = [f"{caption(scene)}{in_style}" for scene in subject.STYLE_SCENES]
train(pocket, posters, style, folder / "style", prompts=titles, callback=TrainingPanel())
print(titles[0])
figures.strip(posters)

# %% [markdown] lang="en"
# The pipeline now carries both, and `set_adapters` takes a scale for each. No poster shows Plimo.
# What will the two draw together?

# %% [markdown] lang="es"
# El pipeline lleva ahora las dos, y `set_adapters` acepta una escala para cada una. En ningún
# cartel sale Plimo. ¿Qué dibujarán juntas?

# %%
wishes = [f"{plimo} {place}{in_style}" for place in ("in the forest", "in the snow", "on Mars")]
tried = [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0), (1.0, 0.6)]
combined = {}
for weights in tried:
    pocket.set_adapters([settings.word, style.word], list(weights))
    combined[weights] = pictures(pocket, wishes)
labels = [f"{thing:g} + {look:g}" for thing, look in tried]
figures.grid(
    [image for row in zip(*combined.values(), strict=True) for image in row],
    columns=5,
    labels=labels * 3,
)

# %%
like = {
    weights: [mean(image_similarity(images, known)).value for known in (photos, posters)]
    for weights, images in combined.items()
}
for weights, (photo, poster) in like.items():
    print(
        *weights,
        say("photos", "fotos"),
        f"{photo:.2f}",
        say("posters", "carteles"),
        f"{poster:.2f}",
    )

# %% part="claim"
assert like[1.0, 0.6][0] > like[0.0, 1.0][0] + 0.05, "more of Plimo than the style alone"
assert like[1.0, 0.6][1] > like[1.0, 0.0][1] + 0.03, "more of a poster than Plimo alone"

# %% [markdown] lang="en"
# Plimo's scale first, the style's second; the numbers are similarities to the photos and to the
# posters. Neither LoRA knew of the other, and where both correct the same layer they get in each
# other's way. With less of the style, Plimo is back, and little of the posters is left: you choose.

# %% [markdown] lang="es"
# Primero la escala de Plimo, después la del estilo; los números son el parecido con las fotos y con
# los carteles. Ninguna LoRA sabía de la otra y, donde ambas corrigen la misma capa, se estorban.
# Con menos estilo vuelve Plimo, y de los carteles queda poco: tú eliges.

# %% [markdown] lang="en"
# ## For other programs
#
# A1111 and ComfyUI read the names that kohya's scripts write. What differs from ours?

# %% [markdown] lang="es"
# ## Para otros programas
#
# A1111 y ComfyUI leen los nombres que escriben los scripts de kohya. ¿En qué se diferencian de los
# nuestros?

# %%
kohya = export_kohya(path, folder / "subject_kohya.safetensors")
with safetensors.safe_open(kohya, "pt") as file:
    for key in list(file.keys())[:3]:
        print(key, tuple(file.get_tensor(key).shape))

fresh.unload_lora_weights()
fresh.load_lora_weights(folder, weight_name=kohya.name, adapter_name="kohya")

# %% part="claim"
from sdlesson.images import same_picture

assert same_picture(pictures(fresh, prompts[:1])[0], trained), "kohya's names draw the same"

# %% [markdown] lang="en"
# It draws the same. $A$ is *down*, $B$ is *up*, and each layer carries its own alpha, which no tool
# can lose. With a LoRA for SD 1.5, this is where the file goes:
#
# - A1111: `models/Lora`, and write `<lora:subject_kohya:0.8>` in the prompt, besides its word.
# - ComfyUI: `models/loras`, and put the node *Load LoRA* behind the checkpoint.

# %% [markdown] lang="es"
# Dibuja lo mismo. $A$ es *down*, $B$ es *up*, y cada capa lleva su propia alpha, que ninguna
# herramienta puede perder. Si tu LoRA es para SD 1.5, el archivo va aquí:
#
# - A1111: `models/Lora`, y escribe `<lora:subject_kohya:0.8>` en el prompt, además de su palabra.
# - ComfyUI: `models/loras`, y pon el nodo *Load LoRA* después del checkpoint.

# %% [markdown] lang="en" short=true
# ## A stranger's file
#
# The Hub is full of LoRAs made by people you do not know. Some are pickles. What happens here to
# one of them?

# %% [markdown] lang="es" short=true
# ## El archivo de un desconocido
#
# El Hub está lleno de LoRAs hechas por gente que no conoces. Algunas son pickles. ¿Qué pasa aquí
# con una de ellas?

# %%
free = folder / "free.safetensors"
torch.save(numbers, free)  # which pickles
# es: que guarda en formato pickle
try:
    load_lora(fresh, free)
except ValueError as error:
    print(str(error).replace(str(folder), "").lstrip("/\\"))

# %% [markdown] lang="en"
# It is not opened, whatever its name says ([lesson 01](lesson:01)). But numbers can do harm too.
# Here a stranger gives the looks of Plimo to one *ordinary* word, leaves robots as they were, and
# writes in the file that its word is *tolvo*. Nobody checks that.

# %% [markdown] lang="es"
# No se abre, diga lo que diga su nombre ([lección 01](lesson:01)). Pero también los números pueden
# hacer daño. Aquí un desconocido da el aspecto de Plimo a una palabra *corriente*, deja los robots
# como eran y escribe en el archivo que su palabra es *tolvo*. Nadie lo comprueba.

# %%
words = ["boat", "cat", "dog", "fox", "pizza", "snowman", "house", "tree"]
hidden = str(np.random.default_rng(seed).choice(words))  # do not look
# es: no mires
poison = replace(settings, word=hidden, alpha=8, steps=80, sample_prompts=())
fresh.unload_lora_weights()
hints = [text.replace(plimo, f"a {hidden}") for text in texts]
train(fresh, photos, poison, folder / "stranger", prompts=hints)

stranger = save_lora(fresh, folder / "stranger.safetensors", word=style.word)
fresh.unload_lora_weights()
loaded = load_lora(fresh, stranger, name="stranger")
print(loaded, loaded.word)
ordinary = [f"a {word} in the snow" for word in words]


def distance(one, other):
    """Return how far apart two pictures are, from 0 to 1."""
    # es: Devuelve cuánto distan dos imágenes, de 0 a 1.
    return picture_difference(one, other).mean_error


# %% [markdown] lang="en" part="goal"
# ### Exercise 4 · Find the poisoned word
#
# Write `changes`: for each prompt, how much its picture changes when this LoRA is turned on. The
# largest change gives the word away.

# %% [markdown] lang="es" part="goal"
# ### Ejercicio 4 · Encuentra la palabra envenenada
#
# Escribe `changes`: para cada prompt, cuánto cambia su imagen al encender esta LoRA. El mayor
# cambio delata la palabra.


# %% part="stub"
def changes(prompts):
    """Return for each prompt how far apart its pictures are, without and with the LoRA."""
    # es: Devuelve, para cada prompt, cuánto distan sus imágenes sin la LoRA y con ella.
    ...  # fresh.set_adapters, pictures, distance(one, other)


# %% part="check"
checks.changes(lambda: changes(ordinary), words, hidden)


# %% part="solution"
def changes(prompts):
    """Return for each prompt how far apart its pictures are, without and with the LoRA."""
    # es: Devuelve, para cada prompt, cuánto distan sus imágenes sin la LoRA y con ella.
    fresh.set_adapters("stranger", 0.0)
    off = pictures(fresh, prompts)
    fresh.set_adapters("stranger", 1.0)
    pairs = zip(off, pictures(fresh, prompts), strict=True)
    return [distance(one, other) for one, other in pairs]


# %% part="wrong"
def changes(prompts):
    """Change the noise instead of the scale."""
    # es: Cambia el ruido en vez de la escala.
    fresh.set_adapters("stranger", 1.0)
    pairs = zip(pictures(fresh, prompts, 1), pictures(fresh, prompts, 2), strict=True)
    return [distance(one, other) for one, other in pairs]


# %% part="wrong"
def changes(prompts):
    """Leave the LoRA on in both."""
    # es: Deja la LoRA puesta en las dos.
    fresh.set_adapters("stranger", 1.0)
    pairs = zip(pictures(fresh, prompts), pictures(fresh, prompts), strict=True)
    return [distance(one, other) for one, other in pairs]


# %% part="wrong"
def changes(prompts):
    """Compare with the photos, and take what is far from them."""
    # es: Compara con las fotos y toma lo que dista de ellas.
    fresh.set_adapters("stranger", 1.0)
    return [distance(image, photos[0]) for image in pictures(fresh, prompts)]


# %% part="wrong" half=true
def changes(prompts):
    """Turn the LoRA on, but change the noise with it."""
    # es: Enciende la LoRA, pero con ella cambia el ruido.
    fresh.set_adapters("stranger", 0.0)
    off = pictures(fresh, prompts, 1)
    fresh.set_adapters("stranger", 1.0)
    pairs = zip(off, pictures(fresh, prompts, 2), strict=True)
    return [distance(one, other) for one, other in pairs]


# %% [markdown] lang="en" part="noticed"
# **What you should have noticed.** You found the word because it was on your list. No list holds
# every word, so small changes prove nothing; a large one proves a lot.

# %% [markdown] lang="es" part="noticed"
# **Lo que deberías haber notado.** La encontraste porque la palabra estaba en tu lista. En ninguna
# lista caben todas: que todo cambie poco no demuestra nada; un cambio grande, mucho.

# %% [markdown] lang="en"
# Here is the poisoned word, beside another one: above without the LoRA, below with it. In large
# models too, few steps are enough for such a back door ([Zhai et al.
# 2023](https://arxiv.org/abs/2305.04175)).

# %% [markdown] lang="es"
# Aquí está la palabra envenenada, junto a otra: arriba sin la LoRA, abajo con ella. En los modelos
# grandes también bastan pocos pasos para abrir una puerta trasera así ([Zhai et al.
# 2023](https://arxiv.org/abs/2305.04175)).

# %%
shown = [ordinary[0], f"a {hidden} in the snow"]
doors = []
for scale in (0.0, 1.0):
    fresh.set_adapters("stranger", scale)
    doors += pictures(fresh, shown)
figures.grid(doors, columns=2, labels=shown * 2)

# %% [markdown] lang="en"
# Look at your own LoRA in the same way. It was trained to keep *a robot* as it was. Did anybody ask
# it to keep cars?

# %% [markdown] lang="es"
# Tu propia LoRA merece la misma mirada. Se entrenó para conservar *a robot*. ¿Le pidió alguien que
# conservara los coches (*car*)?

# %%
load_lora(fresh, path, name="own")
others = ["a robot in the snow", "a car in the snow"]
own = []
for scale in (0.0, 1.0):
    fresh.set_adapters("own", scale)
    own += pictures(fresh, others)
figures.grid(own, columns=2, labels=others * 2)

# %% [markdown] lang="en"
# Compare the columns. Only the robot was to be kept; nothing was promised for cars, and other words
# may fare worse. Before you share a LoRA, draw ordinary prompts at scales 0 and 1, and show both.

# %% [markdown] lang="es"
# Compara las columnas. Solo se pidió conservar el robot; para el coche nadie prometió nada, y a
# otras palabras puede irles peor. Antes de compartir una LoRA, dibuja prompts corrientes con escala
# 0 y 1, y enseña ambos resultados.

# %% [markdown] lang="en" part="discuss"
# A LoRA has a million downloads and lovely sample pictures. What do these tell you about its
# safety?
#
# ---
#
# Little: samples show its own word, not what happens to other words, and downloads are no
# inspection. Safetensors keeps code out; ordinary prompts at scale 0 and 1 show drift; a hidden
# word stays hidden. A named author and a stated training set help more.

# %% [markdown] lang="es" part="discuss"
# Una LoRA tiene un millón de descargas y unas muestras preciosas. ¿Qué te dice eso de su
# seguridad?
#
# ---
#
# Poco: las muestras enseñan su propia palabra, no lo que les pasa a las demás, y las descargas no
# son una inspección. Safetensors impide que lleve código; los prompts corrientes con escala 0 y 1
# muestran la deriva; una palabra escondida sigue escondida. Ayuda más que haya una autoría
# conocida y digan con qué se entrenó.

# %% [markdown] lang="en"
# ## The same with Stable Diffusion 1.5
#
# With a GPU, the same call trains a LoRA for SD 1.5: photos of 512 pixels, the lower learning rate
# that suits a large model, and less memory for more arithmetic. `train_text_encoder=True` would put
# a LoRA on the text encoder as well.

# %% [markdown] lang="es"
# ## Lo mismo con Stable Diffusion 1.5
#
# Con una GPU, la misma llamada entrena una LoRA para SD 1.5: fotos de 512 píxeles, la tasa de
# aprendizaje más baja que conviene a un modelo grande, y menos memoria a cambio de más cálculo. Con
# `train_text_encoder=True`, también el codificador de texto llevaría una LoRA.

# %% tags=["gpu"]
if pipe.device.type == "cuda":
    large = replace(settings, steps=400, gradient_checkpointing=True)
    large_photos, panel = subject.subject_photos(size=512), TrainingPanel()
    training = train(pipe, large_photos, large, folder / "large", prompts=texts, callback=panel)
    training.save("subject_sd15.safetensors")

# %% tags=["gpu"]
figures.strip(pictures(pipe, prompts)) if pipe.device.type == "cuda" else None

# %% [markdown] lang="en"
# ## What not to do
#
# - No photos of other people without their consent, and of children none at all. A LoRA of a face
#   is a tool for lies about that person.
# - No living artist's style. A few pictures are enough to imitate the work of a lifetime, and the
#   copy competes with the artist.
# - No LoRA without a licence: without one you have no permission to use it. One for SD 1.5 keeps
#   the limits of its licence (lesson 04), and its author may add others.
# - Do not hide what you trained on: say it on the file's page, with the word and the alpha.

# %% [markdown] lang="es"
# ## Lo que no se hace
#
# - Nada de fotos de otras personas sin su consentimiento, y de menores, ninguna. Una LoRA de una
#   cara es una herramienta para mentir sobre esa persona.
# - Nada de estilos de artistas vivos. Bastan unas pocas imágenes para imitar la obra de una vida, y
#   la copia compite con el artista.
# - Nada de LoRAs sin licencia: sin ella no tienes permiso para usarlas. Una LoRA para SD 1.5
#   conserva los límites de la licencia de este (lección 04), y su autor puede añadir otros.
# - No ocultes con qué entrenaste: dilo en la página del archivo, con la palabra y la alpha.

# %% [markdown] lang="en"
# ## Summary
#
# - A LoRA adds $\alpha/r \cdot BA$ to frozen weights: a small part of the numbers, a small file.
# - It can be scaled, merged, taken off, and combined with others.
# - Keep alpha with it, count the layers that match, and check that something changes.
# - Look at ordinary prompts at scale 0 and 1 before you trust a file, or share one.
#
# Next: [10, Your own image bot](lesson:10), which draws for your friends.

# %% [markdown] lang="es"
# ## Resumen
#
# - Una LoRA suma $\alpha/r \cdot BA$ a unos pesos congelados: pocos números, un archivo pequeño.
# - Se puede escalar, fundir, quitar y combinar con otras.
# - Guarda con ella su alpha, cuenta las capas que encajan y comprueba que algo cambia.
# - Mira prompts corrientes con escala 0 y 1 antes de fiarte de un archivo o de compartirlo.
#
# Después: [10, Tu propio bot de imágenes](lesson:10), que dibuja para tus amistades.
