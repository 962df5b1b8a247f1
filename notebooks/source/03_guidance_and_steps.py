# ---
# jupyter:
#   lesson:
#     names:
#       en: 03_guidance_and_steps
#       es: 03_guia_y_pasos
#     widgets: true
#     minutes: 45
#     after: ["01", "02"]
#     knows: {en: "what a mean and a percentage are", es: "qué son una media y un porcentaje"}
#     needs:
#       en: "any computer, with or without GPU · no account · 3.3 GB to download with a GPU,
#         nothing without one"
#       es: "cualquier equipo, con o sin GPU · sin cuenta · 3.3 GB de descarga con GPU, nada sin
#         ella"
# ---

# %% [markdown] lang="en"
# # Guidance, steps, schedulers
#
# In this lesson you will
# - measure what guidance does to pictures, with an interval on every number,
# - find out how many steps are enough, and what a scheduler changes,
# - find out what four metrics cannot see.

# %% [markdown] lang="es"
# # La guía, los pasos y los planificadores
#
# En esta lección vas a
# - medir qué les hace la guía a las imágenes, con un intervalo en cada número,
# - averiguar cuántos pasos bastan y qué cambia el planificador,
# - descubrir en qué mienten cuatro métricas.

# %% part="setup"
from dataclasses import replace

import numpy as np
from PIL import ImageChops, ImageOps

import sdlesson
from sdlesson import denoise, draw, metrics
from sdlesson.diffusion import fresh_scheduler
from sdlesson.exercises import lesson_03 as checks
from sdlesson.experiments import sweep
from sdlesson.figures import bars, curves, enlarged, strip
from sdlesson.figures.paths import scheduler_paths
from sdlesson.language import say
from sdlesson.metrics import clip_score, measured, pixel_statistics, share
from sdlesson.pocket.evaluation import judging
from sdlesson.pocket.evaluation.samples import draw_scenes, evaluation_scenes
from sdlesson.pocket.world import Scene, called, caption, render
from sdlesson.pocket.world import figures as figures_of
from sdlesson.widgets import Playground

pipe = sdlesson.load_pipeline()
pocket = sdlesson.load_pipeline("pocket")
pocket.set_progress_bar_config(disable=True)

seed = 0

# %% [markdown] lang="en" short=true
# ## A dial called guidance
#
# With guidance, the U-Net answers twice at every step: without the words and with them. Scale 1
# stops at the second answer; scale 15 goes fifteen times as far in its direction.
#
# **Predict:** what will change from 1 to 15, and what will stay?

# %% [markdown] lang="es" short=true
# ## Un control llamado guía
#
# Con guía, la U-Net responde dos veces en cada paso: sin las palabras y con ellas. La escala 1 se
# detiene en la segunda respuesta; la 15 llega quince veces más lejos en esa dirección.
#
# **Haz tu predicción:** ¿qué cambiará de 1 a 15 y qué seguirá igual?

# %%
prompt = say("an astronaut riding a horse on Mars", "un astronauta montando un caballo en Marte")
seeds = range(seed, seed + 6)

guided = sweep(pocket, prompt, seed=seeds, guidance_scale=[1, 3, 7.5, 15])
guided.grid(rows="guidance_scale", columns="seed")

# %% [markdown] lang="en"
# Each column starts from the same noise. Mars and the rider are there in the first row already,
# pale and soft. Guidance sharpens them; too much of it burns them: look at the ground in the last
# row.

# %% [markdown] lang="es"
# Cada columna parte del mismo ruido. Marte y el jinete ya están en la primera fila, pálidos y
# borrosos. La guía les da contorno y, si es mucha, los quema: mira el suelo en la última fila.

# %% [markdown] lang="en"
# What does guidance do inside one step? Here is the noise that the first step sees, at guidance 1
# and at 3:

# %% [markdown] lang="es"
# ¿Qué hace la guía dentro de un paso? Este es el ruido que ve el primer paso, con guía 1 y con guía
# 3:


# %%
def first_prediction(guidance_scale):
    """The noise that the first step sees, guided."""
    # es: El ruido que ve el primer paso, con guía.
    return next(denoise(pocket, prompt, guidance_scale=guidance_scale)).noise_pred


at_1, at_3 = first_prediction(1), first_prediction(3)
print(at_1.shape)
print(say("They differ by up to", "Difieren hasta en"), f"{(at_3 - at_1).abs().max():.2f}")

# %% [markdown] lang="en" part="goal"
# ### Exercise 1 · Guidance without the model
#
# Work out the prediction at guidance 15 from these two, without asking the model.

# %% [markdown] lang="es" part="goal"
# ### Ejercicio 1 · Guía sin modelo
#
# Calcula la predicción con guía 15 a partir de estas dos, sin preguntar al modelo.

# %% part="stub"
at_15 = ...

# %% part="check"
checks.guidance_without_the_model(at_15, at_1, at_3)

# %% part="solution"
at_15 = at_1 + (15 - 1) / (3 - 1) * (at_3 - at_1)

# %% part="wrong"
at_15 = at_1 + 15 * (at_3 - at_1)

# %% part="wrong" half=true
at_15 = at_1 + (15 - 1) * (at_3 - at_1)

# %% part="wrong"
at_15 = at_3 + 7 * (at_3 - at_1)

# %% part="wrong"
at_15 = 5 * at_3

# %% [markdown] lang="en" part="noticed"
# **What you should have noticed.** Guidance is a straight line through two predictions. Beyond 1 it
# is extrapolation: whatever the model is wrong about grows too.

# %% [markdown] lang="es" part="noticed"
# **Lo que deberías haber notado.** La guía es una recta que pasa por dos predicciones. Más allá de
# 1 se extrapola: también crece todo aquello en lo que el modelo se equivoca.

# %% [markdown] lang="en"
# ## How many are right?
#
# Eyes see what they want to see; the *probe* of lesson 02 does not. How often does it read the
# two subjects that we asked for?

# %% [markdown] lang="es"
# ## ¿Cuántas son correctas?
#
# Los ojos ven lo que quieren ver; la *sonda* de la lección 02, no. ¿Cuántas veces lee los dos
# sujetos que pedimos?


# %%
def both_there(images):
    """How often the probe sees the astronaut and the horse."""
    # es: Cuántas veces ve la sonda al astronauta y al caballo.
    readings = metrics.pocket_probe().read(images)
    return share(reading.top(2) == {"astronaut", "horse"} for reading in readings)


for scale in [1, 3, 7.5, 15]:
    print(f"{scale:>4}  {both_there(guided.where(guidance_scale=scale).images)}")

# %% [markdown] lang="en"
# In brackets, a 95% interval (Wilson's): at any rate within it, our count would be no surprise. So
# six out of six may still come from a model that fails one time in three.

# %% [markdown] lang="es"
# Entre paréntesis, un intervalo del 95 % (el de Wilson): con cualquier tasa de aciertos que quede
# dentro, nuestro recuento sería normal. Así, seis de seis puede venir también de un modelo que
# falla una de cada tres.

# %% [markdown] lang="en"
# ## What the probe does not see
#
# Does the probe mind how many heads a horse has? Here is a real one, and the same picture laid over
# its mirror image.

# %% [markdown] lang="es"
# ## Lo que la sonda no ve
#
# ¿Le importa a la sonda cuántas cabezas tiene un caballo? Aquí hay uno real y la misma imagen
# superpuesta a su reflejo.

# %% [markdown] lang="en"
# Two numbers come with it that no network computes. *Likeness*: how well the drawing of a horse
# fits, in the place where it fits best. *Commitment*: how much worse its mirror image fits.
# **Predict:** which of the three notices the second head?

# %% [markdown] lang="es"
# La acompañan dos números que no calcula ninguna red. La *semejanza*: cuánto encaja el dibujo de un
# caballo, en el sitio donde mejor encaja. La *decisión*: cuánto peor encaja su reflejo. **Haz tu
# predicción:** ¿cuál de los tres nota la segunda cabeza?

# %%
horse = Scene("single", ("horse",), "white", "plain", hats=(False,), seed=seed)
one_head = render(horse)
two_heads = ImageChops.darker(one_head, ImageOps.mirror(one_head))

(artwork,) = figures_of(horse)
seen = metrics.pocket_probe().read([one_head, two_heads])
found = [metrics.likeness(image, artwork) for image in (one_head, two_heads)]
for reading, likeness in zip(seen, found, strict=True):
    print(say("probe:", "sonda:"), *map(called, reading.top(1)), end="; ")
    print(say("likeness", "semejanza"), f"{likeness.value:.2f}", end="; ")
    print(say("commitment", "decisión"), f"{likeness.commitment:.2f}")
strip([one_head, two_heads])

# %% part="claim"
assert all(reading.top(1) == {"horse"} for reading in seen), "to the probe both are horses"
assert all(likeness.clear for likeness in found), "to the likeness too"
assert found[0].commitment > 0.3 > 0.05 > found[1].commitment, "only commitment tells them apart"

# %% [markdown] lang="en"
# Only the last one: for the other two, one good head is enough. An earlier pocket model drew such
# horses, and the probe called nearly all of its pictures right. **A number is evidence only once
# you have looked** at some of its pictures, chosen by nobody.

# %% [markdown] lang="es"
# Solo el último: a los otros dos les basta una cabeza buena. Un modelo anterior dibujaba caballos
# así, y la sonda daba por buenas casi todas sus imágenes. **Un número que nadie ha contrastado no
# prueba nada**: mira unas cuantas imágenes sin elegirlas.

# %% [markdown] lang="en" short=true
# ## The same noise twice
#
# Two such intervals nearly always overlap. Better: here are 16 scenes that training never used,
# each drawn at guidance 1 and at 5 *from the same noise*. **Predict:** how many will be right only
# at 5? And only at 1?

# %% [markdown] lang="es" short=true
# ## Dos veces el mismo ruido
#
# Dos intervalos así casi siempre se solapan. Mejor así: 16 escenas que el entrenamiento nunca usó,
# con guía 1 y con guía 5 *a partir del mismo ruido*. **Haz tu predicción:** ¿cuántas saldrán bien
# solo con 5? ¿Y solo con 1?

# %%
scenes = list(evaluation_scenes("lesson 03 pairs", 16, lambda scene: len(scene.subjects) == 2))
wishes = [caption(scene, say("en", "es")) for scene in scenes]


def pairs_right(pipe, guidance_scale, num_inference_steps):
    """For each scene, whether the probe sees both of its subjects."""
    # es: Para cada escena, si la sonda ve sus dos sujetos.
    drawn = draw_scenes(
        pipe,
        wishes,
        [scene.seed for scene in scenes],
        guidance_scale=guidance_scale,
        num_inference_steps=num_inference_steps,
    )
    return list(map(judging.both_right, scenes, metrics.pocket_probe().read(drawn)))


right_at_1, right_at_5 = (pairs_right(pocket, scale, 10) for scale in [1, 5])
print("1 ", "".join(".X"[is_right] for is_right in right_at_1), share(right_at_1))
print("5 ", "".join(".X"[is_right] for is_right in right_at_5), share(right_at_5))

# %% [markdown] lang="en" part="goal"
# ### Exercise 2 · Only what changed
#
# Count the scenes that are right only in the first list, and those that are right only in the
# second.

# %% [markdown] lang="es" part="goal"
# ### Ejercicio 2 · Solo lo que cambió
#
# Cuenta las escenas que están bien solo en la primera lista y las que están bien solo en la
# segunda.


# %% part="stub"
def only_in_each(first, second):
    """How many are right in `first` alone, and how many in `second` alone."""
    # es: Cuántas están bien solo en `first` y cuántas solo en `second`.
    ...


# %% part="check"
checks.only_in_each(only_in_each)


# %% part="solution"
def only_in_each(first, second):
    """How many are right in `first` alone, and how many in `second` alone."""
    # es: Cuántas están bien solo en `first` y cuántas solo en `second`.
    pairs = list(zip(first, second, strict=True))
    return sum(a and not b for a, b in pairs), sum(b and not a for a, b in pairs)


# %% part="wrong"
def only_in_each(first, second):
    """Count all that are right, those that agree too."""
    # es: Cuenta todas las que están bien, también las que coinciden.
    return sum(first), sum(second)


# %% part="wrong"
def only_in_each(first, second):
    """Count all that changed, whichever way."""
    # es: Cuenta todas las que cambiaron, en cualquier sentido.
    changed = sum(a != b for a, b in zip(first, second, strict=True))
    return changed, changed


# %% part="wrong" half=true
def only_in_each(first, second):
    """Swap the two."""
    # es: Pone los dos al revés.
    pairs = list(zip(first, second, strict=True))
    return sum(b and not a for a, b in pairs), sum(a and not b for a, b in pairs)


# %% part="wrong"
def only_in_each(first, second):
    """Subtract the totals, where a gain hides a loss."""
    # es: Resta los totales, donde una ganancia esconde una pérdida.
    gained = sum(second) - sum(first)
    return max(-gained, 0), max(gained, 0)


# %% [markdown] lang="en" part="noticed"
# **What you should have noticed.** Scenes that are right in both rows, or in neither, say nothing
# about guidance. If it did nothing, the others would fall on either side like coins: six of six on
# one side happens once in 32.

# %% [markdown] lang="es" part="noticed"
# **Lo que deberías haber notado.** Las escenas fáciles salen bien en las dos filas y las difíciles,
# en ninguna: de la guía no dicen nada. Si la guía no hiciera nada, las demás caerían a un lado o al
# otro como una moneda: seis de seis al mismo lado pasa una vez de cada 32.

# %%
change = metrics.share_change(right_at_5, right_at_1)
print(say("change from 1 to 5:", "cambio de 1 a 5:"), change)

# %% [markdown] lang="en"
# This is an interval for the *change*. If all of it lies on one side of zero, the change is shown.
# If zero lies within, these pictures cannot tell, which is not *no difference*. Half the width
# takes four times the pictures.

# %% [markdown] lang="es"
# Este intervalo es el del *cambio*. Si queda entero a un lado del cero, el cambio está demostrado.
# Si el cero cae dentro, estas imágenes no bastan, que no es lo mismo que *no hay diferencia*. Un
# intervalo la mitad de ancho exige cuatro veces más imágenes.

# %% [markdown] lang="en"
# ## The same, with hundreds
#
# So the course drew hundreds, once, of scenes that training never used. Where would you put the
# best guidance now?

# %% [markdown] lang="es"
# ## Lo mismo, con cientos
#
# Por eso el curso dibujó cientos, una vez, de escenas que el entrenamiento nunca usó. ¿Cuál dirías
# ahora que es la mejor guía?

# %%
table = measured("guidance")
scales = table.column("guidance_scale")
columns = ["clear", "subject", "pair", "place", "style"]

curves(
    scales,
    {table.heading(name): table.column(name) for name in columns},
    x_label=table.heading("guidance_scale"),
    y_label=say("of all pictures", "del total de imágenes"),
    title=say("How often the picture is right", "Cuántas veces acierta la imagen"),
    log_x=True,
    percent=True,
)

# %% [markdown] lang="en"
# Which guidance is shown to be worse for two subjects than 5? We compare with 5 because it was
# chosen before looking: the best of seven rows is partly the luckiest.

# %% [markdown] lang="es"
# ¿Qué guías se demuestra que son peores que 5 con dos sujetos? Comparamos con 5 porque se eligió
# antes de mirar: la mejor de siete filas es en parte la que más suerte tuvo.

# %%
changes = dict(zip(scales, table.column("pair_change"), strict=True))
for scale, change in changes.items():
    worse = say("worse", "peor") if change.high < 0 else ""
    print(f"{scale:>4}", say("against 5:", "frente a 5:"), change, worse)

# %% part="claim"
assert not any(change.high < 0 for change in changes.values()), "none is shown to be worse"

# %% [markdown] lang="en"
# None, not even guidance 1, the text alone. This model learned from captions that leave little
# open; those of Stable Diffusion came from the web, and without guidance its pictures often miss
# the words. A best value belongs to one model and one kind of prompt; 7.5, the usual default, is a
# habit.

# %% [markdown] lang="es"
# Ninguna, ni siquiera la guía 1, el texto sin más. Los textos con los que aprendió este modelo
# dejan poco abierto; los de Stable Diffusion salieron de la web, y sin guía dibuja a menudo otra
# cosa. Cada modelo y cada clase de prompt tienen su mejor valor; 7.5 es una costumbre.

# %% [markdown] lang="en"
# ## What guidance takes
#
# How different from each other are six pictures of one prompt? And how many of their pixels are
# *clipped*, with a channel stuck at 0 or 255?
#
# **Predict:** which way does each go with more guidance?

# %% [markdown] lang="es"
# ## Lo que la guía se lleva
#
# ¿Cuánto se diferencian entre sí seis imágenes de un mismo prompt? ¿Y cuántos de sus píxeles están
# *quemados*, con un canal atascado en 0 o en 255?
#
# **Haz tu predicción:** ¿en qué sentido va cada cosa al subir la guía?


# %%
def clipped_share(images):
    """The share of clipped pixels, on average over pictures."""
    # es: La proporción de píxeles quemados, de media entre imágenes.
    return metrics.mean(pixel_statistics(image).clipped for image in images)


for scale in [1, 3, 7.5, 15]:
    images = guided.where(guidance_scale=scale).images
    variety, clipped = metrics.diversity(images), clipped_share(images).value
    print(say("guidance", "guía"), f"{scale:>4}", end=": ")
    print(say("diversity", "diversidad"), f"{variety:.3f}", end=", ")
    print(say("clipped", "quemados"), f"{clipped:.1%}")

# %% part="claim"
few, many = (guided.where(guidance_scale=scale).images for scale in [1, 15])
assert clipped_share(many).value > 2 * clipped_share(few).value, "guidance 15 clips more"

# %% [markdown] lang="en"
# And diversity? One prompt cannot tell, and broken pictures are diverse too. Here is the large
# sample, beside real renders of the same scenes:

# %% [markdown] lang="es"
# ¿Y la diversidad? Con un solo prompt no se sabe, y lo roto también es diverso. Aquí está la
# muestra grande, junto a imágenes reales de las mismas escenas:

# %%
(real,) = measured("renders").rows
lines = {}
for name in ["diversity", "clipped"]:
    lines[table.heading(name)] = table.column(name)
    lines[f"{table.heading(name)}, {say('real', 'real')}"] = [real[name].value] * len(scales)

curves(
    scales,
    lines,
    x_label=table.heading("guidance_scale"),
    y_label=say("diversity, and share of pixels", "diversidad, y proporción de píxeles"),
    title=say("What guidance takes", "Lo que la guía se lleva"),
    log_x=True,
)

# %% [markdown] lang="en"
# For diversity, look below at its *change* against guidance 5: is zero inside the interval? CLIP
# score and the Fréchet distance get their warning soon.

# %% [markdown] lang="es"
# Para la diversidad, mira debajo su *cambio* frente a la guía 5: ¿cae el cero dentro del
# intervalo? La puntuación CLIP y la distancia de Fréchet tendrán pronto su advertencia.


# %%
def only(table, *names, below=()):
    """These columns of a table, with more rows below."""
    # es: Estas columnas de una tabla, con más filas debajo.
    rows = [{name: row[name] for name in names} for row in [*table.rows, *below]]
    return replace(table, rows=rows)


real_row = {"guidance_scale": say("real renders", "reales"), **real}
columns = ["guidance_scale", "clear", "pair", "diversity", "clipped", "clip_score", "frechet"]
only(table, *columns, below=[real_row])

# %%
only(table, "guidance_scale", "pair_change", "diversity_change")

# %% [markdown] lang="en"
# Before you trust a column, ask what it sees. Is *clipped* the same as *broken*? Here is a real
# picture, pixel art, with nothing wrong:

# %% [markdown] lang="es"
# Antes de fiarte de una columna, pregúntate qué ve. ¿*Quemado* es lo mismo que *roto*? Esta es
# una imagen real, pixel art, a la que no le pasa nada:

# %%
panda = render(Scene("single", ("panda",), "snow", "pixel", seed=seed))
levels = np.asarray(panda)

print(say("clipped", "quemados"), f"{pixel_statistics(panda).clipped:.1%}")
enlarged(panda)

# %% part="claim"
many = clipped_share(guided.where(guidance_scale=15).images)
assert pixel_statistics(panda).clipped > 2 * many.value, "a sound picture has more clipped pixels"

# %% [markdown] lang="en" part="goal"
# ### Exercise 3 · Count clipped pixels
#
# Return the share of pixels of which at least one channel is 0 or 255. `levels` is an array of
# shape (height, width, 3).

# %% [markdown] lang="es" part="goal"
# ### Ejercicio 3 · Cuenta los píxeles quemados
#
# Devuelve la proporción de píxeles en los que al menos un canal vale 0 o 255. `levels` es un array
# de forma (alto, ancho, 3).


# %% part="stub"
def count_clipped(levels):
    """The share of clipped pixels in a picture, from 0 to 1."""
    # es: La proporción de píxeles quemados de una imagen, de 0 a 1.
    ...


# %% part="check"
checks.count_clipped(count_clipped, levels)


# %% part="solution"
def count_clipped(levels):
    """The share of clipped pixels in a picture, from 0 to 1."""
    # es: La proporción de píxeles quemados de una imagen, de 0 a 1.
    return ((levels == 0) | (levels == 255)).any(axis=2).mean()


# %% part="wrong"
def count_clipped(levels):
    """Count channels, three to a pixel."""
    # es: Cuenta canales, tres por píxel.
    return ((levels == 0) | (levels == 255)).mean()


# %% part="wrong"
def count_clipped(levels):
    """Count what is white in all three channels."""
    # es: Cuenta lo que es blanco en los tres canales.
    return (levels == 255).all(axis=2).mean()


# %% part="wrong"
def count_clipped(levels):
    """Count pixels, and forget to divide by all of them."""
    # es: Cuenta píxeles y olvida dividir entre el total.
    return ((levels == 0) | (levels == 255)).any(axis=2).sum()


# %% part="wrong" half=true
def count_clipped(levels):
    """Forget that black is clipped too."""
    # es: Olvida que el negro también cuenta.
    return (levels == 255).any(axis=2).mean()


# %% [markdown] lang="en" part="noticed"
# **What you should have noticed.** Black outlines and white snow count as much as burnt colours do:
# the first lie. Read this number only as a change, all else being equal.

# %% [markdown] lang="es" part="noticed"
# **Lo que deberías haber notado.** Los contornos negros y la nieve blanca cuentan igual que los
# colores estropeados: la primera mentira. Lee este número solo como un cambio, a igualdad de lo
# demás.

# %% [markdown] lang="en" part="discuss"
# Somebody shows you three pictures at guidance 7.5 and three at guidance 5, and says that 7.5 is
# better. What would you ask?
#
# ---
#
# How many pictures, and chosen how? The same prompts and the same noise? Better in what: the words,
# the colours? On which model? Was 7.5 picked before looking?

# %% [markdown] lang="es" part="discuss"
# Alguien te enseña tres imágenes con guía 7.5 y tres con guía 5, y dice que 7.5 es mejor. ¿Qué le
# preguntarías?
#
# ---
#
# ¿Cuántas imágenes eran y cómo se eligieron? ¿Eran los mismos prompts y el mismo ruido? ¿Mejor en
# qué: las palabras, los colores? ¿Con qué modelo? ¿Se eligió 7.5 antes de mirar?

# %% [markdown] lang="en"
# ## Metrics that lie
#
# The second lie: *CLIP score* says how well a picture fits its words, according to CLIP, a network
# trained to match pictures with captions. Here are real pictures of *three* cats, robots and so on.
# What will it say of captions with *one*, or with pizza instead?

# %% [markdown] lang="es"
# ## Métricas que mienten
#
# La segunda mentira: la *puntuación CLIP* dice cuánto encaja una imagen con sus palabras según
# CLIP, una red entrenada para emparejar imágenes y textos. Aquí hay imágenes reales de *tres*
# gatos, robots y demás. ¿Qué dirá si el texto habla de *uno*, o de pizzas?

# %%
subjects = ["cat", "robot", "frog", "penguin", "car", "tree", "fox", "balloon"]
threes = [Scene("single", (name,), "beach", "plain", count=3, seed=seed) for name in subjects]
ones = [replace(scene, count=1) for scene in threes]
pizzas = [replace(scene, subjects=("pizza",)) for scene in threes]
renders = [render(scene) for scene in threes]

three, one, pizza = (
    metrics.mean(clip_score(renders, [caption(scene, say("en", "es")) for scene in asked]))
    for asked in [threes, ones, pizzas]
)
print(say("three:", "tres:"), three)
print(say("one:", "uno:"), one)
print("pizza:", pizza)

counts = [reading.count for reading in metrics.pocket_probe().read(renders)]
print(say("The probe counts:", "La sonda cuenta:"), *counts)

# %% part="claim"
assert three.value - one.value < 0.2 * (three.value - pizza.value), "a wrong number hardly counts"
assert counts.count(3) >= 6, "the probe counts to three"

# %% [markdown] lang="en"
# It notices a wrong thing at once, and hardly a wrong number. A high CLIP score means *the right
# words are in there somewhere*.

# %% [markdown] lang="es"
# Un objeto equivocado lo nota enseguida; un número equivocado, apenas. Una puntuación CLIP alta
# significa *por ahí están las palabras correctas*.

# %% [markdown] lang="en"
# The third: the Fréchet distance (the F in FID) says how far one set of pictures is from another.
# Between two sets of real pictures it should be near zero. Is it, with 16 or with 64?

# %% [markdown] lang="es"
# La tercera: la distancia de Fréchet (la F de FID) dice lo lejos que está un conjunto de imágenes
# de otro. Entre dos conjuntos de imágenes reales debería rondar el cero. ¿Lo hace con 16 o con
# 64?

# %%
scenes = evaluation_scenes("lesson 03", 128, lambda scene: True)
features = metrics.clip_scorer().embed_images([render(scene) for scene in scenes])
distances = {n: metrics.frechet_distance(features[:n], features[-n:]) for n in [16, 64]}
print({n: round(distance, 2) for n, distance in distances.items()})

# %% part="claim"
assert distances[16] > 2 * distances[64], "fewer pictures, a larger distance"

# %% [markdown] lang="en"
# The same world, and yet several times as far apart with fewer pictures: never compare this
# distance between sets of different sizes. In our tables the row of real renders shows how far
# apart sets of that size are anyway.

# %% [markdown] lang="es"
# Es el mismo mundo y, aun así, con menos imágenes quedan varias veces más lejos: no compares nunca
# esta distancia entre conjuntos de tamaño distinto. En nuestras tablas, la fila de imágenes reales
# muestra cuánto se debe solo al tamaño.

# %% [markdown] lang="en" part="discuss"
# You may report one single number about a new model. Which would you choose, and what would it
# hide?
#
# ---
#
# Each has a blind spot: those above, and a probe always answers. A good choice fits the use, states
# its interval, and comes with pictures to look at.

# %% [markdown] lang="es" part="discuss"
# Solo puedes dar un número sobre un modelo nuevo. ¿Cuál eliges y qué oculta?
#
# ---
#
# Cada uno tiene un punto ciego: los de arriba, y que la sonda siempre contesta. Una buena elección
# se ajusta al uso, lleva su intervalo y se acompaña de imágenes que mirar.

# %% [markdown] lang="en" short=true
# ## Steps
#
# **Predict:** what does one step give? Two? After how many will you see no change?

# %% [markdown] lang="es" short=true
# ## Los pasos
#
# **Haz tu predicción:** ¿qué sale con un solo paso? ¿Y con dos? ¿A partir de cuántos dejarás de ver
# cambios?

# %%
few_steps = [1, 2, 3, 5, 12, 25]
four = range(seed, seed + 4)

stepped = sweep(pocket, prompt, seed=four, num_inference_steps=few_steps, guidance_scale=5)
for number in few_steps:
    print(f"{number:>4}  {both_there(stepped.where(num_inference_steps=number).images)}")

# %% [markdown] lang="en"
# Here is the large sample, with seed 0 below. On the axis, the same length *multiplies* the
# steps.

# %% [markdown] lang="es"
# Aquí está la muestra grande, con la semilla 0 debajo. En el eje, la misma distancia *multiplica*
# los pasos.

# %%
table = measured("steps")
steps = table.column("num_inference_steps")
columns = ["clear", "subject", "pair", "place", "style"]
shown = {drawing.num_inference_steps: drawing.image for drawing in stepped.where(seed=seed)}

curves(
    steps,
    {table.heading(name): table.column(name) for name in columns},
    x_label=table.heading("num_inference_steps"),
    y_label=say("of all pictures", "del total de imágenes"),
    title=say("How many steps are enough?", "¿Cuántos pasos bastan?"),
    pictures=[shown.get(number) for number in steps],
    log_x=True,
    percent=True,
)

# %% [markdown] lang="en"
# Why does one step give confetti? Which levels of noise, from 999 down to 0, does each loop
# visit?

# %% [markdown] lang="es"
# ¿Por qué con un paso sale confeti? ¿Qué niveles de ruido, de 999 a 0, visita cada bucle?

# %% tags=["nbval-check-output"]
scheduler = fresh_scheduler(pocket)
for number in [1, 2, 3, 5]:
    scheduler.set_timesteps(number)
    print(number, scheduler.timesteps.tolist())

# %% [markdown] lang="en"
# These loops count from the bottom, as SD 1.5's do: a single step looks only at level 1, where
# almost no noise is expected. (It matters where the steps fall: so two can beat three.) What does
# the probe say of confetti?

# %% [markdown] lang="es"
# Estos bucles cuentan desde abajo, como los de Stable Diffusion 1.5: un solo paso mira únicamente
# el nivel 1, donde apenas se espera ruido. (Importa dónde caen los pasos: por eso dos pueden
# ganar a tres.) ¿Y qué dice la sonda del confeti?

# %%
confetti = stepped.where(num_inference_steps=1).images
for reading in metrics.pocket_probe().read(confetti):
    print(*map(called, [*sorted(reading.top(2)), reading.place, reading.style]), sep=" · ")

# %% [markdown] lang="en"
# The fourth lie: it always answers. It names things that nobody can see, since it has no word for
# *nothing*.

# %% [markdown] lang="es"
# La cuarta mentira: siempre contesta. Nombra cosas que nadie puede ver, porque no tiene palabra
# para *nada*.

# %% [markdown] lang="en"
# Time grows with every step; accuracy does not. *Change* compares each row with 100 steps, scene
# by scene:

# %% [markdown] lang="es"
# El tiempo crece con cada paso; el acierto, no. El *cambio* compara cada fila con 100 pasos,
# escena a escena:

# %%
only(table, "num_inference_steps", "clear", "pair", "pair_change", "frechet", "cost")

# %% part="claim"
accuracy = dict(zip(steps, table.column("clear"), strict=True))
assert accuracy[1].value < accuracy[25].value - 0.3, "one step leaves the noise"
assert accuracy[2].value > accuracy[3].value + 0.1, "in this sample two steps beat three"
assert abs(accuracy[12].value - accuracy[100].value) < 0.1, "a dozen steps do what a hundred do"

# %% [markdown] lang="en" part="goal"
# ### Exercise 4 · Enough steps
#
# *Not shown to be worse* is not enough: a few pictures never show anything. Find the fewest steps
# that are shown to lose at most `spare`: the whole interval of their change lies above `-spare`.

# %% [markdown] lang="es" part="goal"
# ### Ejercicio 4 · Pasos suficientes
#
# *No se demuestra que sea peor* no basta: con pocas imágenes nunca se demuestra nada. Encuentra el
# menor número de pasos del que se demuestra que pierde como mucho `spare`: su intervalo de cambio
# queda entero por encima de `-spare`.


# %% part="stub"
def enough_steps(steps, changes, spare):
    """The fewest steps that are shown to lose at most `spare`."""
    # es: Los pasos mínimos de los que se demuestra que pierden como mucho `spare`.
    ...


# %% part="check"
checks.enough_steps(enough_steps)


# %% part="solution"
def enough_steps(steps, changes, spare):
    """The fewest steps that are shown to lose at most `spare`."""
    # es: Los pasos mínimos de los que se demuestra que pierden como mucho `spare`.
    for number, change in zip(steps, changes, strict=True):
        if change.low > -spare:
            return number


# %% part="wrong"
def enough_steps(steps, changes, spare):
    """Ask for a gain of `spare` where a loss of `spare` is allowed."""
    # es: Pide ganar `spare` donde se permite perder `spare`.
    return next((n for n, c in zip(steps, changes, strict=True) if c.low > spare), steps[-1])


# %% part="wrong" half=true
def enough_steps(steps, changes, spare):
    """Look at the value, and forget its interval."""
    # es: Mira el valor y olvida su intervalo.
    return next(n for n, change in zip(steps, changes, strict=True) if change.value > -spare)


# %% part="wrong"
def enough_steps(steps, changes, spare):
    """Take what is not shown to be worse."""
    # es: Toma lo que no se demuestra que sea peor.
    return next(n for n, change in zip(steps, changes, strict=True) if change.high > 0)


# %% part="wrong"
def enough_steps(steps, changes, spare):
    """Take the most steps that will do."""
    # es: Toma el mayor número de pasos que sirve.
    return [n for n, change in zip(steps, changes, strict=True) if change.low > -spare][-1]


# %% [markdown] lang="en" part="noticed"
# **What you should have noticed.** Try `enough_steps(steps, table.column("pair_change"), 0.1)`,
# then with 0.05: proof of a smaller loss needs more steps, or more pictures.

# %% [markdown] lang="es" part="noticed"
# **Lo que deberías haber notado.** Prueba `enough_steps(steps, table.column("pair_change"), 0.1)` y
# luego con 0.05: demostrar una pérdida menor exige más pasos, o más imágenes.

# %% [markdown] lang="en"
# ## Schedulers
#
# The U-Net says where the noise is; the scheduler decides how to step. Six of them, five steps
# each, the same noise. **Predict:** which pictures will differ, and which scheduler copes with so
# few steps?

# %% [markdown] lang="es"
# ## Los planificadores
#
# La U-Net dice dónde está el ruido; el planificador (*scheduler*) decide cómo dar el paso. Aquí van
# seis, con cinco pasos y el mismo ruido. **Haz tu predicción:** ¿qué imágenes serán distintas?
# ¿Cuál se las arregla con tan pocos pasos?

# %%
names = {
    "DDIMScheduler": "DDIM",
    "PNDMScheduler": "PNDM",
    "EulerDiscreteScheduler": "Euler",
    "EulerAncestralDiscreteScheduler": "Euler ancestral",
    "DPMSolverMultistepScheduler": "DPM++ 2M",
    "UniPCMultistepScheduler": "UniPC",
}

raced = sweep(pocket, prompt, scheduler=list(names), num_inference_steps=5, guidance_scale=5)
strip(raced.images, list(names.values()))

# %% [markdown] lang="en"
# Time goes into the U-Net, so in a fair race each calls it equally often. (PNDM calls it once
# more than it is told; the table counts that.) *Change* is against DDIM, scene by scene. Which
# would you take for five calls, and which for 25?

# %% [markdown] lang="es"
# El tiempo se va en la U-Net: en una carrera justa, todos la llaman las mismas veces. (PNDM la
# llama una vez más de lo pedido; la tabla la cuenta.) El *cambio* es frente a DDIM, escena a
# escena. ¿Con cuál te quedarías para cinco llamadas y con cuál para 25?

# %%
table = measured("schedulers")
at_five = [row for row in table.rows if row["evaluations"] == 5]

bars(
    [names[row["scheduler"]] for row in at_five],
    [row["pair"] for row in at_five],
    y_label=table.heading("pair"),
    title=say("After five U-Net evaluations", "Tras cinco evaluaciones de la U-Net"),
    percent=True,
)

# %%
only(table, "scheduler", "evaluations", "clear", "pair", "pair_change", "clipped")

# %% part="claim"
against_ddim = {(row["scheduler"], row["evaluations"]): row["pair_change"] for row in table.rows}
for name in ["PNDMScheduler", "DPMSolverMultistepScheduler", "UniPCMultistepScheduler"]:
    assert against_ddim[name, 5].high < 0, f"{name} loses at five"

# %% [markdown] lang="en"
# Euler nearly repeats DDIM: it is the same step in other variables. But DPM++ and UniPC are known
# for *few* steps, and here they lose pairs at five. Why? In this toy world, pictures are points in
# a plane, around four spots. The exact noise is known, so only the scheduler can be wrong:

# %% [markdown] lang="es"
# Euler casi repite a DDIM: es el mismo paso en otras variables. Pero DPM++ y UniPC tienen fama con
# *pocos* pasos, y aquí pierden parejas con cinco. ¿Por qué? En este mundo de juguete, las imágenes
# son puntos de un plano, alrededor de cuatro sitios. Se conoce el ruido exacto: solo puede
# equivocarse el planificador:

# %%
four_names = [name for name in names if names[name] not in ("Euler", "UniPC")]
scheduler_paths(
    {names[name]: fresh_scheduler(pocket, name) for name in four_names},
    steps=5,
    title=say("Five steps from the same noise", "Cinco pasos a partir del mismo ruido"),
)

# %% [markdown] lang="en"
# DDIM walks straight on from each point. DPM++ and PNDM also look at how the last steps turned, and
# carry that turn on. Where the way bends gently, as at guidance 1, that helps. At guidance 5 it
# bends sharply, and they leave it, PNDM by far. Does the pocket model show the same?

# %% [markdown] lang="es"
# DDIM avanza recto desde cada punto. DPM++ y PNDM miran además cómo giraron los últimos pasos y
# prolongan ese giro. Si el camino se curva poco, como con guía 1, eso ayuda. Con guía 5 la curva es
# cerrada y se salen, PNDM más que nadie. ¿Pasa lo mismo en el modelo de bolsillo?

# %%
measured("overshoot")

# %% part="claim"
rows = measured("overshoot").rows
farther = {(row["scheduler"], row["guidance_scale"]): row["miss_change"] for row in rows}
second, first = "DPMSolverMultistepScheduler", "DPMSolverMultistepScheduler, solver_order=1"
assert farther[second, 1].value < 0, "without guidance DPM++ comes as near as DDIM"
assert farther[second, 5].low > 0, "with guidance 5 it ends farther"
assert farther[first, 5].high < 0, "unless it looks at no earlier step"
assert farther["PNDMScheduler", 5].low > farther[second, 5].high, "PNDM is thrown off the most"

# %% [markdown] lang="en"
# It does: without guidance, five steps of DPM++ end as near to where fifty lead as DDIM's; with
# guidance 5, farther. Told to look at no earlier step (`solver_order=1`), it is ahead there too.
# With ten evaluations, the table no longer shows that DPM++ loses.

# %% [markdown] lang="es"
# Sí: sin guía, cinco pasos de DPM++ acaban tan cerca como los de DDIM del sitio al que llevan
# cincuenta; con guía 5, más lejos. Si no mira ningún paso anterior (`solver_order=1`), también
# ahí va por delante. Con diez evaluaciones, la tabla ya no demuestra que DPM++ pierda.

# %% [markdown] lang="en"
# PNDM looks back the farthest, over four predictions. Stable Diffusion 1.5 comes with it, and
# with 50 steps: see the last row of the race.

# %% [markdown] lang="es"
# PNDM es el que más mira atrás: cuatro predicciones. Stable Diffusion 1.5 viene con él, y con 50
# pasos: mira la última fila de la carrera.

# %% [markdown] lang="en" part="discuss"
# A page says: *DPM++ 2M needs only 5 steps.* Under which conditions would you believe it?
#
# ---
#
# On the page's own model, prompts and guidance, beside another scheduler with as many U-Net
# evaluations and the same noise.

# %% [markdown] lang="es" part="discuss"
# Una página dice: *a DPM++ 2M le bastan 5 pasos.* ¿En qué condiciones te lo creerías?
#
# ---
#
# Con el modelo, los prompts y la guía de esa página, junto a otro planificador con las mismas
# evaluaciones de la U-Net y el mismo ruido.

# %% [markdown] lang="en"
# ## The same on Stable Diffusion 1.5
#
# With a GPU, the next cell sweeps the big model. No probe reads its world, so it shows OpenAI's
# CLIP score (600 MB) and the clipped pixels; you know now how they lie.

# %% [markdown] lang="es"
# ## Lo mismo con Stable Diffusion 1.5
#
# Con GPU, la celda siguiente hace el mismo barrido con el modelo grande. Ninguna sonda lee su
# mundo: la celda muestra la puntuación CLIP de OpenAI (600 MB) y los píxeles quemados; ya sabes
# cómo mienten.

# %% tags=["gpu"]
big = None
if pipe.device.type == "cuda":
    big = sweep(pipe, prompt, seed=range(seed, seed + 4), guidance_scale=[1, 3, 7.5, 15])
    for scale in [1, 3, 7.5, 15]:
        images = big.where(guidance_scale=scale).images
        fit = metrics.mean(clip_score(images, prompt, scorer="openai/clip-vit-base-patch32"))
        print(f"{scale:>4}", say("CLIP score", "puntuación CLIP"), fit)
        print("    ", say("clipped", "quemados"), clipped_share(images))
big

# %% [markdown] lang="en"
# ## Playground
#
# Here you watch a picture come out of its noise. Three things to try:
#
# - guidance 1, then 15, with one seed;
# - 1, 2, 3 steps: where does the scene appear?
# - *Stop* half-way through 100 steps: what was still missing?

# %% [markdown] lang="es"
# ## Banco de pruebas
#
# Aquí ves salir una imagen del ruido. Tres cosas que probar:
#
# - guía 1 y luego 15, con la misma semilla;
# - 1, 2, 3 pasos: ¿cuándo aparece la escena?
# - *Detener* a mitad de 100 pasos: ¿qué faltaba todavía?

# %%
enlarged(draw(prompt, pipe=pipe, seed=seed, guidance_scale=5).image)

# %%
Playground(pipe)

# %% [markdown] lang="en"
# ## What was measured
#
# The tables above, in one line each:

# %% [markdown] lang="es"
# ## Lo que se ha medido
#
# Las tablas de arriba, en una línea cada una:


# %%
def told(name, setting, figure, places, style):
    """One line: how a figure of a committed table changes with a setting."""
    # es: Una línea: cómo cambia una medida de una tabla guardada con un ajuste.
    table = measured(name)
    found = dict(zip(table.column(setting), table.column(figure), strict=True))
    settings = " → ".join(f"{place:g}" for place in places)
    values = " → ".join(format(found[place].value, style) for place in places)
    return f"{table.heading(setting)} {settings}: {table.heading(figure)} {values}"


print(told("guidance", "guidance_scale", "clear", [1, 5, 7.5, 15], ".0%"))
print(told("guidance", "guidance_scale", "pair", [1, 5, 7.5, 15], ".0%"))
print(told("guidance", "guidance_scale", "diversity", [1, 5, 7.5, 15], ".2f"))
print(told("guidance", "guidance_scale", "clipped", [1, 5, 7.5, 15], ".1%"))
print(told("steps", "num_inference_steps", "clear", [1, 5, 12, 25, 100], ".0%"))
print(told("steps", "num_inference_steps", "cost", [1, 5, 12, 25, 100], ".1f"))

# %% [markdown] lang="en"
# - Guidance pays in burnt colours. What it buys depends on the model: here firmer outlines, on
#   SD 1.5 also agreement with the words.
# - Compare pictures of the same noise, pair by pair: that shows what two intervals hide.
# - A dozen steps or so do what a hundred do; one step leaves the noise.
# - Schedulers matter when steps are few, and those that carry on a turn overshoot under guidance.
# - A number without its interval, or a metric whose blind spot nobody names, is half the story.
#
# Next: [04, Prompts, seeds, chance and bias](lesson:04).

# %% [markdown] lang="es"
# - La guía se paga en colores quemados. Lo que se gana depende del modelo: aquí, contornos más
#   firmes; en SD 1.5, también fidelidad a las palabras.
# - Compara imágenes del mismo ruido, pareja a pareja: se ve lo que dos intervalos ocultan.
# - Unos doce pasos hacen lo mismo que cien; uno solo deja el ruido.
# - Los planificadores importan cuando hay pocos pasos, y los que prolongan el giro se pasan de
#   largo cuando hay guía.
# - Un número sin su intervalo, o una métrica de la que nadie dice qué no ve, es media historia.
#
# Después: [04, Prompts, semillas, azar y sesgos](lesson:04).
