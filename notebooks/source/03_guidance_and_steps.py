# ---
# jupyter:
#   lesson:
#     names:
#       en: 03_guidance_and_steps
#       es: 03_guia_y_pasos
#     widgets: true
# ---

# %% [markdown] lang="en"
# # Guidance, steps, schedulers
#
# In this lesson you will
# - measure what guidance does to pictures, with an interval on every number,
# - find out how many steps are enough, and what a scheduler changes,
# - catch four metrics lying.
#
# **45 minutes · any computer, with or without GPU · no account · 3.3 GB to download with a GPU,
# nothing without one**

# %% [markdown] lang="es"
# # La guía, los pasos y los planificadores
#
# En esta lección vas a
# - medir qué les hace la guía a las imágenes, con un intervalo en cada número,
# - averiguar cuántos pasos bastan y qué cambia el planificador,
# - pillar a cuatro métricas mintiendo.
#
# **45 minutos · cualquier equipo, con o sin GPU · sin cuenta · 3,3 GB de descarga con GPU, nada sin
# ella**

# %% part="setup"
from dataclasses import replace

import numpy as np

import sdlesson
from sdlesson import denoise, draw, exercises, metrics
from sdlesson.diffusion import fresh_scheduler
from sdlesson.experiments import sweep
from sdlesson.figures import bars, curves, strip
from sdlesson.language import say
from sdlesson.metrics import clip_score, measured, pixel_statistics, share
from sdlesson.pocket.evaluation import evaluation_scenes
from sdlesson.pocket.grammar import caption
from sdlesson.pocket.rendering import render
from sdlesson.pocket.world import Scene
from sdlesson.widgets import Playground

pipe = sdlesson.load_pipeline()
pocket = sdlesson.load_pipeline("pocket")
pocket.set_progress_bar_config(disable=True)

seed = 0

# %% [markdown] lang="en"
# ## A dial called guidance
#
# With guidance, the U-Net answers twice at every step: without the words and with them. Scale 1
# stops at the second answer; scale 15 goes fifteen times as far in its direction.
#
# **Predict:** what will change from 1 to 15? What will stay? Write it down first.

# %% [markdown] lang="es"
# ## Un mando llamado guía
#
# Con guía, la U-Net responde dos veces en cada paso: sin las palabras y con ellas. La escala 1 se
# detiene en la segunda respuesta; la 15 llega quince veces más lejos en esa dirección.
#
# **Haz tu predicción:** ¿qué cambiará de 1 a 15? ¿Qué seguirá igual? Escríbelo antes de mirar.

# %%
prompt = "an astronaut riding a horse on Mars"
seeds = range(seed, seed + 6)

guided = sweep(pocket, prompt, seed=seeds, guidance_scale=[1, 3, 7.5, 15])
guided.grid(rows="guidance_scale", columns="seed")

# %% [markdown] lang="en"
# One line drew all 24 combinations, each column from one noise. Mars and its rider are there from
# the first row on, pale and soft. Guidance gives them contours; in the last row shadows are black
# and lights glare.

# %% [markdown] lang="es"
# Una línea ha dibujado las 24 combinaciones, cada columna a partir del mismo ruido. Marte y su
# jinete están desde la primera fila, pálidos y borrosos. La guía les da contorno; en la última, las
# sombras son negras y los brillos deslumbran.

# %% [markdown] lang="en"
# What does guidance do inside one step? `denoise` gives the noise that the first step sees, here at
# guidance 1 and at 3, in the same latents:

# %% [markdown] lang="es"
# ¿Qué hace la guía dentro de un paso? `denoise` da el ruido que ve el primer paso; aquí, con guía 1
# y con guía 3, en los mismos latentes:


# %%
def first_prediction(guidance_scale):
    """The noise that the first step sees, guided."""
    return next(denoise(pocket, prompt, guidance_scale=guidance_scale)).noise_pred


at_1, at_3 = first_prediction(1), first_prediction(3)
print(at_1.shape, say("differ by up to", "difieren hasta en"), f"{(at_3 - at_1).abs().max():.2f}")

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
exercises.check(
    at_15,
    first_prediction(15),
    hint=say(
        "From 1 to 3 is two steps along a line. How many such steps from 1 to 15?",
        "De 1 a 3 hay dos pasos por una recta. ¿Cuántos de esos pasos hay de 1 a 15?",
    ),
    tolerance=0.1,  # half precision, on a GPU, rounds that much
)

# %% part="solution"
at_15 = at_1 + (15 - 1) / (3 - 1) * (at_3 - at_1)

# %% part="wrong"
at_15 = at_1 + 15 * (at_3 - at_1)

# %% part="wrong"
at_15 = at_3 + 7 * (at_3 - at_1)

# %% part="wrong"
at_15 = 5 * at_3

# %% [markdown] lang="en" part="noticed"
# **What you should have noticed.** Guidance is a straight line through two predictions, and nothing
# ends it at 1. Beyond, it is extrapolation: whatever the model is wrong about grows too.

# %% [markdown] lang="es" part="noticed"
# **Lo que deberías haber notado.** La guía es una recta que pasa por dos predicciones, y nada la
# detiene en 1. Más allá se extrapola: también crece todo aquello en lo que el modelo se equivoca.

# %% [markdown] lang="en"
# ## How many are right?
#
# Eyes get tired, and they hope. The *probe*, a small network trained on real scenes, reads off each
# picture which two subjects it shows. How often are they the two we asked for?

# %% [markdown] lang="es"
# ## ¿Cuántas son correctas?
#
# La vista se cansa y quiere creer. La *sonda*, una red pequeña entrenada con escenas reales, lee en
# cada imagen qué dos sujetos aparecen. ¿Cuántas veces son los dos que pedimos?


# %%
def both_there(images):
    """How often the probe sees the astronaut and the horse."""
    readings = metrics.pocket_probe().read(images)
    return share(reading.top(2) == {"astronaut", "horse"} for reading in readings)


for scale in [1, 3, 7.5, 15]:
    print(f"{scale:>4}  {both_there(guided.where(guidance_scale=scale).images)}")

# %% [markdown] lang="en"
# In brackets, Wilson's 95% interval: the true shares that would make such a count no surprise. Six
# pictures leave it so wide that even six out of six may come from a model that fails one time in
# three.

# %% [markdown] lang="es"
# Entre paréntesis, el intervalo del 95% de Wilson: las proporciones reales con las que este
# recuento no sorprendería. Con seis imágenes es tan ancho que hasta un seis de seis puede venir de
# un modelo que falla una de cada tres veces.

# %% [markdown] lang="en" part="goal"
# ### Exercise 2 · Shown, or not?
#
# Write a function that says whether two shares are shown to differ: their intervals must not
# overlap. Each has `.value`, `.low` and `.high`.

# %% [markdown] lang="es" part="goal"
# ### Ejercicio 2 · ¿Demostrado o no?
#
# Escribe una función que diga si está demostrado que dos proporciones son distintas: sus intervalos
# no deben solaparse. Cada una tiene `.value`, `.low` y `.high`.


# %% part="stub"
def shown_to_differ(first, second):
    """Whether the intervals of two shares have nothing in common."""
    ...


# %% part="check"
exercises.check(
    lambda: [
        shown_to_differ(metrics.Share(*first, n=50), metrics.Share(*second, n=50))
        for first, second in [
            ((0.7, 0.6, 0.8), (0.4, 0.3, 0.5)),
            ((0.4, 0.3, 0.5), (0.7, 0.6, 0.8)),
            ((0.7, 0.6, 0.8), (0.55, 0.45, 0.65)),
            ((0.5, 0.2, 0.8), (0.6, 0.5, 0.7)),
        ]
    ],
    [True, True, False, False],
    hint=say(
        "One must lie wholly above the other; either may be the upper one.",
        "Uno tiene que quedar del todo por encima del otro; el de arriba puede ser cualquiera.",
    ),
)


# %% part="solution"
def shown_to_differ(first, second):
    """Whether the intervals of two shares have nothing in common."""
    return first.low > second.high or second.low > first.high


# %% part="wrong"
def shown_to_differ(first, second):
    """Compare the values as if they had no intervals."""
    return first.value != second.value


# %% part="wrong"
def shown_to_differ(first, second):
    """Forget that the second may be the upper one."""
    return first.low > second.high


# %% part="wrong"
def shown_to_differ(first, second):
    """Ask only whether one value lies outside the other's interval."""
    return not second.low <= first.value <= second.high


# %% [markdown] lang="en" part="noticed"
# **What you should have noticed.** Overlap does not show that two settings are equal; it shows that
# these pictures cannot tell. Half the width takes four times the pictures, so the course counted
# some hundreds once and keeps the tables.

# %% [markdown] lang="es" part="noticed"
# **Lo que deberías haber notado.** Que se solapen no demuestra que dos ajustes sean iguales, sino
# que estas imágenes no bastan para distinguirlos. Para la mitad de anchura hacen falta cuatro veces
# más imágenes: por eso el curso contó cientos una vez y guarda las tablas.

# %% [markdown] lang="en"
# ## The same, with hundreds
#
# For this table every guidance drew scenes that training never used. Where would you put the best
# guidance now?

# %% [markdown] lang="es"
# ## Lo mismo, con cientos
#
# Para esta tabla, cada guía dibujó escenas que el entrenamiento nunca usó. ¿Cuál dirías ahora que
# es la mejor guía?

# %%
table = measured("guidance")
scales = table.column("guidance_scale")
columns = ["subject", "pair", "place", "style"]

curves(
    scales,
    {table.heading(name): table.column(name) for name in columns},
    x_label=table.heading("guidance_scale"),
    y_label=say("right, says the probe", "correctas, según la sonda"),
    title=say("How often the picture is right", "Cuántas veces acierta la imagen"),
    log_x=True,
    percent=True,
)

# %% [markdown] lang="en"
# The place hardly needs guidance; two subjects in one picture need it most.
#
# For them, which guidance is best, and which ones are not shown to be worse? Where is 7.5, the
# usual default?

# %% [markdown] lang="es"
# El lugar apenas necesita guía; dos sujetos en una misma imagen son los que más la necesitan.
#
# Para ellos, ¿qué guía es la mejor y de cuáles no se demuestra que sean peores? ¿Dónde queda 7.5,
# el valor de siempre?

# %%
pairs = dict(zip(scales, table.column("pair"), strict=True))
best = max(pairs, key=lambda scale: pairs[scale].value)
rivals = [scale for scale in scales if pairs[scale].high >= pairs[best].low]

print(say("best:", "la mejor:"), best, "→", pairs[best])
print(say("the usual:", "la de siempre:"), 7.5, "→", pairs[7.5])
print(say("not shown to be worse than the best:", "no se demuestra peor:"), *rivals)

# %% tags=["nbval-check-output"]
print(pairs[5].value > pairs[1].value + 0.1)

# %% [markdown] lang="en"
# `True`: guidance 1, the text alone, is much too little. Beyond that, a best value belongs to one
# model and one kind of prompt; 7.5 is a habit, to be measured like any other.

# %% [markdown] lang="es"
# `True`: la guía 1, el texto sin más, se queda muy corta. Por lo demás, el mejor valor es propio de
# cada modelo y de cada clase de prompt; 7.5 es una costumbre, y se mide como cualquier otra.

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
    return metrics.mean(pixel_statistics(image).clipped for image in images)


for scale in [1, 3, 7.5, 15]:
    images = guided.where(guidance_scale=scale).images
    variety, clipped = metrics.diversity(images), clipped_share(images).value
    print(say("guidance", "guía"), f"{scale:>4}", end=": ")
    print(say("diversity", "diversidad"), f"{variety:.3f}", end=", ")
    print(say("clipped", "quemados"), f"{clipped:.1%}")

# %% tags=["nbval-check-output"]
few, many = (guided.where(guidance_scale=scale).images for scale in [1, 15])
print(clipped_share(many).value > 2 * clipped_share(few).value)

# %% [markdown] lang="en"
# `True`: the colours burn. Diversity may even rise on one prompt, since broken pictures are diverse
# too. So here is the large sample, over many prompts, beside real renders of the same scenes:

# %% [markdown] lang="es"
# `True`: los colores se queman. En un solo prompt la diversidad hasta puede subir, porque lo roto
# también es diverso. Así que aquí está la muestra grande, con muchos prompts, junto a imágenes
# reales de las mismas escenas:

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
# Pictures of one prompt tend to be more alike, and colours harden. The same in numbers, with the
# CLIP score (do picture and words agree?) and the Fréchet distance from real renders; both soon get
# a warning.

# %% [markdown] lang="es"
# Las imágenes de un mismo prompt tienden a parecerse más y los colores se endurecen. Lo mismo en
# números, con el CLIP score (¿encajan imagen y palabras?) y la distancia de Fréchet a las imágenes
# reales; sobre ambos, pronto, una advertencia.


# %%
def only(table, *names, below=()):
    """These columns of a table, with more rows below."""
    rows = [{name: row[name] for name in names} for row in [*table.rows, *below]]
    return replace(table, rows=rows)


real_row = {"guidance_scale": say("real renders", "reales"), **real}
columns = ["guidance_scale", "pair", "clip_score", "diversity", "clipped", "frechet"]
only(table, *columns, below=[real_row])

# %% [markdown] lang="en"
# Do the columns agree on the best guidance? Before you trust one, ask what it sees. Is *clipped*
# the same as *broken*? Here is a real picture, pixel art, with nothing wrong:

# %% [markdown] lang="es"
# ¿Coinciden las columnas en la mejor guía? Antes de fiarte de una, pregúntate qué ve. ¿*Quemado* es
# lo mismo que *roto*? Esta es una imagen real, pixel art, a la que no le pasa nada:

# %%
panda = render(Scene("single", ("panda",), "snow", "pixel", seed=seed))
levels = np.asarray(panda)

print(say("clipped", "quemados"), f"{pixel_statistics(panda).clipped:.1%}")
panda

# %% tags=["nbval-check-output"]
print(pixel_statistics(panda).clipped > 2 * clipped_share(many).value)

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
    ...


# %% part="check"
exercises.check(
    lambda: [count_clipped(levels), count_clipped(255 - levels)],
    [pixel_statistics(panda).clipped] * 2,
    hint=say(
        "Ask each pixel once: .any(axis=2) before .mean().",
        "Pregunta una vez a cada píxel: .any(axis=2) antes de .mean().",
    ),
)


# %% part="solution"
def count_clipped(levels):
    """The share of clipped pixels in a picture, from 0 to 1."""
    return ((levels == 0) | (levels == 255)).any(axis=2).mean()


# %% part="wrong"
def count_clipped(levels):
    """Count channels, three to a pixel."""
    return ((levels == 0) | (levels == 255)).mean()


# %% part="wrong"
def count_clipped(levels):
    """Count what is white in all three channels."""
    return (levels == 255).all(axis=2).mean()


# %% part="wrong"
def count_clipped(levels):
    """Forget that black is clipped too."""
    return (levels == 255).any(axis=2).mean()


# %% [markdown] lang="en" part="noticed"
# **What you should have noticed.** A negative has as many clipped pixels as its picture. And black
# outlines and white snow count as much as burnt colours do: the first lie. Read this number only as
# a change, all else being equal.

# %% [markdown] lang="es" part="noticed"
# **Lo que deberías haber notado.** Un negativo tiene tantos píxeles quemados como su imagen. Y los
# contornos negros y la nieve blanca cuentan igual que los colores estropeados: la primera mentira.
# Lee este número solo como un cambio, a igualdad de lo demás.

# %% [markdown] lang="en"
# ## Metrics that lie
#
# That was the first lie. The second: CLIP score says how well a picture fits its words. Here are
# real pictures of *three* cats, robots and so on. What will it say of captions with *one*, or with
# pizza instead?

# %% [markdown] lang="es"
# ## Métricas que mienten
#
# Esa ha sido la primera mentira. La segunda: CLIP score dice cuánto encaja una imagen con sus
# palabras. Aquí hay imágenes reales de *tres* gatos, robots y demás. ¿Qué dirá si el texto habla de
# *uno*, o de pizzas?

# %%
subjects = ["cat", "robot", "frog", "penguin", "car", "tree", "fox", "balloon"]
threes = [Scene("single", (name,), "beach", "plain", count=3, seed=seed) for name in subjects]
ones = [replace(scene, count=1) for scene in threes]
pizzas = [replace(scene, subjects=("pizza",)) for scene in threes]
renders = [render(scene) for scene in threes]

three, one, pizza = (
    metrics.mean(clip_score(renders, [caption(scene) for scene in asked]))
    for asked in [threes, ones, pizzas]
)
print(say("three:", "tres:"), three)
print(say("one:", "uno:"), one)
print("pizza:", pizza)

# %% tags=["nbval-check-output"]
counts = [reading.count for reading in metrics.pocket_probe().read(renders)]

print(three.value - one.value < 0.2 * (three.value - pizza.value))
print(counts.count(3) >= 6)

# %% [markdown] lang="en"
# It notices a wrong thing at once, and hardly a wrong number; the probe, which was taught to count,
# sees three. A high CLIP score means *the right words are in there somewhere*.

# %% [markdown] lang="es"
# Un objeto equivocado lo nota enseguida; un número equivocado, apenas. La sonda, que aprendió a
# contar, ve tres. Un CLIP score alto significa *por ahí están las palabras correctas*.

# %% [markdown] lang="en"
# The third: the Fréchet distance (the F in FID) says how far one set of pictures is from another.
# Between two sets of real pictures it should be near zero. Is it, with 16? With 64?

# %% [markdown] lang="es"
# La tercera: la distancia de Fréchet (la F de FID) dice lo lejos que está un conjunto de imágenes
# de otro. Entre dos conjuntos de imágenes reales debería rondar el cero. ¿Lo hace con 16? ¿Y con
# 64?

# %%
scenes = evaluation_scenes("lesson 03", 128, lambda scene: True)
features = metrics.clip_scorer().embed_images([render(scene) for scene in scenes])
distances = {n: metrics.frechet_distance(features[:n], features[-n:]) for n in [16, 64]}
print({n: round(distance, 2) for n, distance in distances.items()})

# %% tags=["nbval-check-output"]
print(distances[16] > 2 * distances[64])

# %% [markdown] lang="en"
# Same world, and several times as far with fewer pictures. Never compare it between sets of
# different sizes; in our tables all rows have the same, and the row of real renders shows what the
# number alone makes of it.

# %% [markdown] lang="es"
# El mismo mundo, y con menos imágenes está varias veces más lejos. No la compares nunca entre
# conjuntos de tamaño distinto; en nuestras tablas todas las filas tienen el mismo, y la de imágenes
# reales muestra cuánto se debe solo al tamaño.

# %% [markdown] lang="en"
# ## Steps
#
# Twenty-five steps remove the noise little by little. **Predict:** what does one step give? Two?
# After how many will you see no change?

# %% [markdown] lang="es"
# ## Los pasos
#
# Veinticinco pasos van quitando el ruido poco a poco. **Haz tu predicción:** ¿qué sale con un solo
# paso? ¿Y con dos? ¿A partir de cuántos dejarás de ver cambios?

# %%
few_steps = [1, 2, 3, 5, 12, 25]
four = range(seed, seed + 4)

stepped = sweep(pocket, prompt, seed=four, num_inference_steps=few_steps, guidance_scale=5)
for number in few_steps:
    print(f"{number:>4}  {both_there(stepped.where(num_inference_steps=number).images)}")

# %% [markdown] lang="en"
# Four pictures a line tell little. Here is seed 0 below the curves of the large sample; mind the
# axis, where a step to the right is so many *times* more.

# %% [markdown] lang="es"
# Cuatro imágenes por línea dicen poco. Aquí está la semilla 0 bajo las curvas de la muestra grande;
# ojo con el eje: avanzar lo mismo a la derecha es multiplicar por lo mismo.

# %%
table = measured("steps")
steps = table.column("num_inference_steps")
columns = ["subject", "pair", "place", "style"]
shown = {drawing.num_inference_steps: drawing.image for drawing in stepped.where(seed=seed)}

curves(
    steps,
    {table.heading(name): table.column(name) for name in columns},
    x_label=table.heading("num_inference_steps"),
    y_label=say("right, says the probe", "correctas, según la sonda"),
    title=say("How many steps are enough?", "¿Cuántos pasos bastan?"),
    pictures=[shown.get(number) for number in steps],
    log_x=True,
    percent=True,
)

# %% [markdown] lang="en"
# One step gives confetti, when even five give a picture. Which levels of noise, from 999 down to 0,
# does each loop visit?

# %% [markdown] lang="es"
# Con un paso sale confeti, aunque con cinco ya hay imagen. ¿Qué niveles de ruido, de 999 a 0,
# visita cada bucle?

# %% tags=["nbval-check-output"]
scheduler = fresh_scheduler(pocket)
for number in [1, 2, 3, 5]:
    scheduler.set_timesteps(number)
    print(number, scheduler.timesteps.tolist())

# %% [markdown] lang="en"
# These loops count from the bottom, as Stable Diffusion 1.5's do: one step looks only at level 1,
# where almost no noise is expected, so almost none is taken. And the probe? The fourth lie: it
# always answers.

# %% [markdown] lang="es"
# Estos bucles cuentan desde abajo, como los de Stable Diffusion 1.5: un solo paso mira únicamente
# el nivel 1, donde apenas se espera ruido, y apenas quita nada. ¿Y la sonda? La cuarta mentira:
# siempre contesta.

# %%
confetti = stepped.where(num_inference_steps=1).images
for reading in metrics.pocket_probe().read(confetti):
    print(*sorted(reading.top(2)), reading.place, reading.style, sep=" · ")

# %% [markdown] lang="en"
# It names things that nobody can see, since it has no word for *nothing*. A reading means something
# only where there is a picture to read.

# %% [markdown] lang="es"
# Nombra cosas que nadie puede ver, porque no tiene palabra para *nada*. Una lectura solo vale algo
# donde hay una imagen que leer.

# %% [markdown] lang="en"
# So, when are there enough steps? Time grows with every one; accuracy does not. As a price list:

# %% [markdown] lang="es"
# Entonces, ¿cuándo bastan los pasos? El tiempo crece con cada uno; el acierto, no. Como lista de
# precios:

# %%
only(table, "num_inference_steps", "pair", "clip_score", "frechet", "cost")

# %% tags=["nbval-check-output"]
accuracy = dict(zip(steps, table.column("subject"), strict=True))
print(accuracy[1].value < accuracy[25].value - 0.3)
print(abs(accuracy[12].value - accuracy[100].value) < 0.1)

# %% [markdown] lang="en" part="goal"
# ### Exercise 4 · Enough steps
#
# Find the smallest number of steps whose accuracy, its value, lies within the interval of the last
# one in the list.

# %% [markdown] lang="es" part="goal"
# ### Ejercicio 4 · Pasos suficientes
#
# Encuentra el menor número de pasos cuyo acierto, su valor, cae dentro del intervalo del último de
# la lista.


# %% part="stub"
def enough_steps(steps, accuracies):
    """The fewest steps that are not shown to be worse than the most."""
    ...


# %% part="check"
exercises.check(
    lambda: enough_steps(
        [1, 2, 4, 8, 16, 32],
        [
            metrics.Share(value, value - 0.1, value + 0.1, n=100)
            for value in [0.1, 0.65, 0.75, 0.82, 0.9, 0.8]
        ],
    ),
    4,
    hint=say(
        "Go through both lists together, and return at the first value that fits.",
        "Recorre las dos listas a la vez y devuelve el primer valor que encaje.",
    ),
)


# %% part="solution"
def enough_steps(steps, accuracies):
    """The fewest steps that are not shown to be worse than the most."""
    most = accuracies[-1]
    for number, accuracy in zip(steps, accuracies, strict=True):
        if most.low <= accuracy.value <= most.high:
            return number


# %% part="wrong"
def enough_steps(steps, accuracies):
    """Take the steps of the best accuracy."""
    return max(zip(accuracies, steps, strict=True))[1]


# %% part="wrong"
def enough_steps(steps, accuracies):
    """Ask only that the intervals overlap."""
    most = accuracies[-1]
    return next(n for n, a in zip(steps, accuracies, strict=True) if a.high >= most.low)


# %% part="wrong"
def enough_steps(steps, accuracies):
    """Ask for at least the accuracy of the most steps."""
    most = accuracies[-1]
    return next(n for n, a in zip(steps, accuracies, strict=True) if a.value >= most.value)


# %% [markdown] lang="en" part="noticed"
# **What you should have noticed.** Try `enough_steps(steps, table.column("pair"))`: most of the
# time that people spend on steps buys nothing that can be measured here.

# %% [markdown] lang="es" part="noticed"
# **Lo que deberías haber notado.** Prueba `enough_steps(steps, table.column("pair"))`: casi todo el
# tiempo que se gasta en pasos no compra nada que aquí se pueda medir.

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
# ¿Cuál se apaña con tan pocos pasos?

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
# Euler nearly repeats DDIM: the same step in other variables. PNDM leans on earlier steps, and here
# there are hardly any.
#
# Time goes into the U-Net, so a fair race gives each as many of its evaluations. (PNDM uses one
# more than it is told; the table counts it.)

# %% [markdown] lang="es"
# Euler casi repite a DDIM: es el mismo paso en otras variables. PNDM se apoya en pasos anteriores,
# y aquí apenas los hay.
#
# El tiempo se va en la U-Net, así que en una carrera justa todos tienen las mismas evaluaciones.
# (PNDM usa una más de las que se le piden; la tabla la cuenta.)

# %%
table = measured("schedulers")
at_five = [row for row in table.rows if row["evaluations"] == 5]

bars(
    [names[row["scheduler"]] for row in at_five],
    [row["subject"] for row in at_five],
    y_label=table.heading("subject"),
    title=say("After five U-Net evaluations", "Tras cinco evaluaciones de la U-Net"),
    percent=True,
)

# %%
only(table, "scheduler", "evaluations", "subject", "pair", "clipped", "frechet")

# %% tags=["nbval-check-output"]
right = {(row["scheduler"], row["evaluations"]): row["subject"].value for row in table.rows}
print(right["DDIMScheduler", 5] > right["PNDMScheduler", 5] + 0.1)

# %% [markdown] lang="en"
# `True`: a scheduler decides how quick you can be. Given more evaluations most come together, and
# PNDM is the last to arrive; Stable Diffusion 1.5 comes with it, and with 50 steps.

# %% [markdown] lang="es"
# `True`: el planificador decide lo rápido que puedes ir. Con más evaluaciones casi todos acaban
# juntos, y PNDM es el último en llegar; Stable Diffusion 1.5 viene con él, y con 50 pasos.

# %% [markdown] lang="en"
# ## The same on Stable Diffusion 1.5
#
# With a GPU, the next cell sweeps the big model. No probe reads its world, so it shows OpenAI's
# CLIP score (600 MB) and the clipped pixels: shown, not claimed, and you know now how they lie.

# %% [markdown] lang="es"
# ## Lo mismo con Stable Diffusion 1.5
#
# Con GPU, la celda siguiente hace el mismo barrido con el modelo grande. Ninguna sonda lee su
# mundo: la celda muestra el CLIP score de OpenAI (600 MB) y los píxeles quemados, sin afirmar nada;
# ya sabes cómo mienten.

# %% tags=["gpu"]
big = None
if pipe.device.type == "cuda":
    big = sweep(pipe, prompt, seed=range(seed, seed + 4), guidance_scale=[1, 3, 7.5, 15])
    for scale in [1, 3, 7.5, 15]:
        images = big.where(guidance_scale=scale).images
        fit = metrics.mean(clip_score(images, prompt, scorer="openai/clip-vit-base-patch32"))
        print(f"{scale:>4}", "CLIP score", fit, say("clipped", "quemados"), clipped_share(images))
big

# %% [markdown] lang="en"
# ## Playground
#
# `draw` gives the finished picture; the playground lets you watch. Three things to try:
#
# - guidance 1, then 15, with one seed;
# - 1, 2, 3 steps: where does the scene appear?
# - *Stop* half-way through 100 steps: what was still missing?

# %% [markdown] lang="es"
# ## Zona de juegos
#
# `draw` da la imagen terminada; aquí la ves salir del ruido. Tres cosas que probar:
#
# - guía 1 y luego 15, con la misma semilla;
# - 1, 2, 3 pasos: ¿cuándo aparece la escena?
# - *Detener* a mitad de 100 pasos: ¿qué faltaba todavía?

# %%
draw(prompt, pipe=pipe, seed=seed, guidance_scale=5)

# %%
Playground(pipe)

# %% [markdown] lang="en"
# ## What was measured
#
# In the numbers of the tables above, computed from them:

# %% [markdown] lang="es"
# ## Lo que se ha medido
#
# Con los números de las tablas de arriba, calculados a partir de ellas:


# %%
def told(name, setting, figure, places, style):
    """One line: how a figure of a committed table changes with a setting."""
    table = measured(name)
    found = dict(zip(table.column(setting), table.column(figure), strict=True))
    settings = " → ".join(f"{place:g}" for place in places)
    values = " → ".join(format(found[place].value, style) for place in places)
    return f"{table.heading(setting)} {settings}: {table.heading(figure)} {values}"


print(told("guidance", "guidance_scale", "pair", [1, 5, 7.5, 15], ".0%"))
print(told("guidance", "guidance_scale", "diversity", [1, 5, 7.5, 15], ".2f"))
print(told("guidance", "guidance_scale", "clipped", [1, 5, 7.5, 15], ".1%"))
print(told("steps", "num_inference_steps", "subject", [1, 5, 12, 25, 100], ".0%"))
print(told("steps", "num_inference_steps", "cost", [1, 5, 12, 25, 100], ".1f"))

# %% [markdown] lang="en"
# - Guidance buys agreement with the words and pays in variety and colour.
# - Guidance 1 is already the text; past the best, more of it helps nobody.
# - A dozen steps or so do what a hundred do; one step leaves the noise.
# - Schedulers matter when steps are few.
# - A number without an interval, or a metric without its lie, is half the story.
#
# Next: **04, Prompts, seeds, chance and bias**.

# %% [markdown] lang="es"
# - La guía compra fidelidad a las palabras y la paga en variedad y color.
# - Con guía 1 ya manda el texto; más allá del óptimo, subirla no sirve de nada.
# - Unos doce pasos hacen lo mismo que cien; uno solo deja el ruido.
# - Los planificadores importan cuando hay pocos pasos.
# - Un número sin intervalo, o una métrica sin su mentira, es media historia.
#
# Después: **04, Prompts, semillas, azar y sesgos**.
