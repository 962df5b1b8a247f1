# ---
# jupyter:
#   lesson:
#     names:
#       en: 04_prompts_and_bias
#       es: 04_prompts_y_sesgos
#     minutes: 45
#     after: ["00", "03"]
#     knows: {en: "what a seed is", es: "qué es una semilla"}
#     needs:
#       en: "any computer, with or without GPU · no account · 2.7 GB to download with a GPU,
#        nothing without one"
#       es: "cualquier equipo, con o sin GPU · sin cuenta · 2.7 GB de descarga con GPU, nada sin
#        ella"
# ---

# %% [markdown] lang="en"
# # Prompts, seeds, chance and bias
#
# In this lesson you will
# - tell what your words did from what chance did, with a share and its interval,
# - find out which prompts and negative prompts keep their promise, and which do the opposite,
# - measure a bias that comes from the data, mend it, and read what SD 1.5's licence asks of you.

# %% [markdown] lang="es"
# # Prompts, semillas, azar y sesgos
#
# En esta lección vas a
# - distinguir lo que hicieron tus palabras de lo que hizo el azar, con un porcentaje y su
#   intervalo,
# - descubrir qué prompts y prompts negativos cumplen lo que prometen y cuáles hacen lo contrario,
# - medir un sesgo que viene de los datos, corregirlo y leer qué te pide la licencia de SD 1.5.

# %% part="setup"
from dataclasses import replace

import torch

import sdlesson
from sdlesson import draw
from sdlesson.exercises import lesson_04 as checks
from sdlesson.experiments import sweep
from sdlesson.figures import bars, grid, strip
from sdlesson.images import same_picture
from sdlesson.language import say
from sdlesson.metrics import measured, pocket_probe, share
from sdlesson.pocket.world import render, scene_at
from sdlesson.prompting import fuller_prompt

seed = 0

# %% [markdown] lang="en" short=true
# ## One text, many pictures
#
# You write one sentence. How many pictures does it describe? Before you run the cell, decide what
# all five of these will share.
#
# `pipe` is the big model where there is a GPU; `pocket` is the small one, on which we measure.

# %% [markdown] lang="es" short=true
# ## Un texto, muchas imágenes
#
# Escribes una frase. ¿Cuántas imágenes describe? Antes de ejecutar la celda, decide qué tendrán en
# común estas cinco.
#
# `pipe` es el modelo grande si hay GPU; `pocket` es el pequeño, con el que medimos.

# %%
pipe, pocket = sdlesson.load_pipeline(), sdlesson.load_pipeline("pocket")
for model in (pipe, pocket):
    model.set_progress_bar_config(disable=True)

prompt = say("a dog on the beach", "un perro en la playa")
dogs = sweep(pipe, prompt, seed=range(5))
strip(dogs.images, [f"{say('seed', 'semilla')} {number}" for number in range(5)])

# %% [markdown] lang="en"
# A dog and a beach, as you wrote. Everything else, where it stands or what surrounds it, you left
# out, so the noise decided.

# %% [markdown] lang="es"
# Un perro y una playa, como escribiste. Todo lo demás, dónde está o qué lo rodea, no lo dijiste,
# así que lo decidió el ruido.

# %% [markdown] lang="en"
# ## What a seed is, and why devices differ
#
# A seed is only a number. Would another computer make the same noise from it?

# %% [markdown] lang="es"
# ## Qué es una semilla y por qué los dispositivos no coinciden
#
# Una semilla es solo un número. ¿Sacaría otro equipo el mismo ruido de él?

# %% tags=["nbval-check-output"]
for number in (0, 1):
    noise = torch.randn(4, generator=torch.Generator("cpu").manual_seed(number))
    print(say("seed", "semilla"), number, *(f"{value:+.2f}" for value in noise))

# %% part="claim"
noise = torch.randn(4, generator=torch.Generator("cpu").manual_seed(0))
assert [round(value, 2) for value in noise.tolist()] == [1.54, -0.29, -2.18, 0.57], "one recipe"

# %% [markdown] lang="en"
# On any CPU you should read these very digits: PyTorch makes noise there by one recipe, though it
# does not promise to keep it for ever. A GPU has a recipe of its own; on one, the next cell shows
# other digits for the same seed.

# %% [markdown] lang="es"
# En cualquier CPU deberías leer estas mismas cifras: PyTorch fabrica ahí el ruido con una sola
# receta, aunque no promete conservarla para siempre. La GPU tiene la suya; si hay una, la celda
# siguiente muestra otras cifras para la misma semilla.

# %% tags=["gpu"]
if pipe.device.type == "cuda":
    on_gpu = torch.Generator("cuda").manual_seed(0)
    noise = torch.randn(4, generator=on_gpu, device="cuda")
    print(say("seed 0, GPU:", "semilla 0, GPU:"), *(f"{value:+.2f}" for value in noise.tolist()))

# %% [markdown] lang="en"
# So this course always makes its noise on the CPU, and then moves it to the GPU.
#
# Given the same noise and the same model, is the picture the same to the last bit? Compare seed 3
# drawn alone with seed 3 drawn in a group of five.

# %% [markdown] lang="es"
# Por eso el curso fabrica siempre el ruido en la CPU y después lo lleva a la GPU.
#
# Con el mismo ruido y el mismo modelo, ¿es idéntica la imagen hasta el último bit? Compara la
# semilla 3 dibujada sola con la semilla 3 dibujada en un grupo de cinco.

# %% tags=["nbval-check-output"]
alone = draw(prompt, pipe=pipe, seed=3).image
print(
    say("as seed 3 of the five:", "como la semilla 3 de las cinco:"),
    same_picture(alone, dogs.images[3]),
)
print(say("as seed 4:", "como la semilla 4:"), same_picture(alone, dogs.images[4]))

# %% part="claim"
assert same_picture(alone, dogs.images[3]), "company does not change a picture"
assert not same_picture(alone, dogs.images[4]), "another seed does"

# %% [markdown] lang="en"
# The same *picture*, yes: `same_picture` overlooks tiny differences between pixels. A batch, a GPU
# or another version adds the same numbers in another order, and every sum is rounded. Nobody can
# promise you equal bits.

# %% [markdown] lang="es"
# La misma *imagen*, sí: `same_picture` pasa por alto diferencias mínimas entre píxeles. Un lote,
# una GPU u otra versión suman los mismos números en otro orden, y cada suma se redondea. Nadie
# puede prometerte los mismos bits.

# %% [markdown] lang="en" part="goal"
# ### Exercise 1 · Noise that depends on its neighbours
#
# Each picture should get the noise of its own seed. In this version the second picture goes on
# where the first stopped: seed 7 gives one noise in `[5, 7]` and another in `[7]`. Mend it.

# %% [markdown] lang="es" part="goal"
# ### Ejercicio 1 · Un ruido que depende de sus vecinos
#
# Cada imagen debería recibir el ruido de su semilla. En esta versión la segunda sigue donde se
# quedó la primera: la semilla 7 da un ruido en `[5, 7]` y otro en `[7]`. Arréglalo.


# %% part="stub"
def noise_for(seeds):
    """Return the noise of one picture a seed, (len(seeds), 4, 16, 16)."""
    # es: Devuelve el ruido de una imagen por semilla, (len(seeds), 4, 16, 16).
    generator = torch.Generator("cpu").manual_seed(seeds[0])
    return torch.cat([torch.randn((1, 4, 16, 16), generator=generator) for _ in seeds])


# %% part="check"
checks.noise_for(noise_for)


# %% part="solution"
def noise_for(seeds):
    """Return the noise of one picture a seed, (len(seeds), 4, 16, 16)."""
    # es: Devuelve el ruido de una imagen por semilla, (len(seeds), 4, 16, 16).
    generators = [torch.Generator("cpu").manual_seed(number) for number in seeds]
    return torch.cat([torch.randn((1, 4, 16, 16), generator=each) for each in generators])


# %% part="wrong"
def noise_for(seeds):
    """Give every picture the first seed."""
    # es: Da a todas las imágenes la primera semilla.
    generators = [torch.Generator("cpu").manual_seed(seeds[0]) for _ in seeds]
    return torch.cat([torch.randn((1, 4, 16, 16), generator=each) for each in generators])


# %% part="wrong" half=true
def noise_for(seeds):
    """Make all the noise at once, from one generator."""
    # es: Saca todo el ruido de una vez, con un generador.
    generator = torch.Generator("cpu").manual_seed(seeds[0])
    return torch.randn((len(seeds), 4, 16, 16), generator=generator)


# %% part="wrong"
def noise_for(seeds):
    """Make generators, and forget the seeds."""
    # es: Crea generadores y olvida las semillas.
    generators = [torch.Generator("cpu") for _ in seeds]
    return torch.cat([torch.randn((1, 4, 16, 16), generator=each) for each in generators])


# %% part="wrong"
def noise_for(seeds):
    """Seed one generator for the whole batch."""
    # es: Usa un solo generador para todo el lote.
    generator = torch.Generator("cpu").manual_seed(sum(seeds))
    return torch.randn((len(seeds), 4, 16, 16), generator=generator)


# %% [markdown] lang="en" part="noticed"
# **What you should have noticed.** This is why `pipe([...], generator=[...])` takes a list. With
# one generator for the batch, a picture can never be drawn again alone.

# %% [markdown] lang="es" part="noticed"
# **Lo que deberías haber notado.** Por eso `pipe([...], generator=[...])` admite una lista. Con un
# solo generador para todo el lote, ninguna imagen puede volver a dibujarse sola.

# %% [markdown] lang="en" part="discuss"
# Two students draw with seed 3 and get different pictures. What may differ between them?
#
# ---
#
# The prompt, to the letter; the model or its precision; steps, guidance, scheduler, size; where
# the noise was made (CPU or GPU); versions of the libraries. Small differences come from rounding;
# another subject comes from something else.

# %% [markdown] lang="es" part="discuss"
# Dos estudiantes dibujan con la semilla 3 y les salen imágenes distintas. ¿Qué puede ser
# diferente?
#
# ---
#
# El prompt, hasta la última letra; el modelo o su precisión; los pasos, la guía, el planificador o
# el tamaño; dónde se fabricó el ruido (CPU o GPU); las versiones de las bibliotecas. Las
# diferencias pequeñas vienen del redondeo; un sujeto distinto, de otra cosa.

# %% [markdown] lang="en"
# ## What more words do
#
# A longer prompt says more. Will its pictures differ from each other more, or less?

# %% [markdown] lang="es"
# ## Qué hacen más palabras
#
# Un prompt más largo dice más cosas. ¿Se parecerán más entre sí sus cuatro imágenes, o menos?

# %%
foxes = say(["a fox", "a fox in the snow"], ["un zorro", "un zorro en la nieve"])
sweep(pipe, foxes, seed=range(4)).grid(rows="prompt", columns="seed")

# %% [markdown] lang="en"
# Compare the two rows. Four pictures are few; here are many, of many subjects. *Diversity* is how
# far pictures of one prompt lie apart, according to CLIP:

# %% [markdown] lang="es"
# Compara las dos filas. Cuatro imágenes son pocas; aquí hay muchas, de muchos sujetos. La
# *diversidad* es cuánto distan entre sí las imágenes de un mismo prompt, según CLIP:

# %%
measured("details")

# %% part="claim"
bare, place, style, both = measured("details").column("diversity")
assert place.value < style.value - 0.05, "the place takes away more diversity than the style"
assert style.value < bare.value, "the style takes some away"

# %% [markdown] lang="en"
# What you say is no longer left to chance, and the place takes away far more of the diversity than
# the style does. So say what you care about, since the model will choose the rest.

# %% [markdown] lang="es"
# Lo que dices ya no queda en manos del azar: el lugar quita mucha más diversidad que el estilo. Di,
# pues, lo que te importe, porque el resto lo elegirá el modelo.

# %% [markdown] lang="en"
# ## Styles
#
# The last words change, noise and all other words stay. What survives of the first picture?

# %% [markdown] lang="es"
# ## Estilos
#
# Cambian las últimas palabras; el ruido y todo lo demás se quedan. ¿Qué sobrevive de la primera
# imagen?

# %%
styles = say(
    ["", ", in the style of Monet", ", pencil sketch", ", pixel art", ", at night"],
    ["", ", al estilo de Monet", ", dibujo a lápiz", ", pixel art", ", de noche"],
)
house = say("a house in a field", "una casa en el campo")
houses = sweep(pipe, [f"{house}{style}" for style in styles], seed=3)
names = say(
    ["-", "Monet", "pencil", "pixel art", "night"], ["-", "Monet", "lápiz", "pixel art", "noche"]
)
strip(houses.images, names)

# %% [markdown] lang="en"
# The house, the field, and roughly where they stand. To the model a style is only more words,
# learned from captions.

# %% [markdown] lang="es"
# La casa, el campo y, más o menos, su sitio. Para el modelo un estilo no es más que otras
# palabras, que aprendió de los textos de las imágenes.

# %% [markdown] lang="en"
# ## A prompt helper
#
# Many tools rewrite your prompt without telling you. The course's helper tells you: its rules are
# short tables in `sdlesson/prompting.py`. What will it add to these ideas?

# %% [markdown] lang="es"
# ## Un ayudante de prompts
#
# Muchas herramientas reescriben tu prompt sin decírtelo. La del curso sí te lo dice: sus reglas son
# unas tablas cortas en `sdlesson/prompting.py`. ¿Qué añadirá a estas ideas?

# %%
ideas = say(
    ["an astronaut riding a horse", "a penguin", "a balloon"],
    ["un astronauta montando un caballo", "un pingüino", "un globo"],
)
is_pocket = pipe.name_or_path == "pocket"
fuller = [
    fuller_prompt(idea, seed=number, pocket=is_pocket, tokenizer=pipe.tokenizer)
    for number, idea in enumerate(ideas, start=1)
]
print(*fuller, sep="\n")

# %%
drawn = sweep(pipe, [*ideas, *(full.prompt for full in fuller)], seed=seed)
grid(drawn.images, columns=3)

# %% [markdown] lang="en"
# Your ideas above, the fuller prompts below. It only adds what you did not say, in your language,
# and another `seed=` adds something else. Are they better? They are more specific: somebody chose,
# and it was not you.

# %% [markdown] lang="es"
# Arriba, tus ideas; abajo, los prompts ampliados. Solo añade lo que no dijiste, en tu idioma, y con
# otra `seed=` añade otra cosa. ¿Son mejores? Son más concretas: alguien eligió, y no fuiste tú.

# %% [markdown] lang="en" short=true
# ## Negative prompts
#
# A negative prompt says what to keep out. Nobody mentions a hat here, and yet some robots wear one.
# Some courses teach to write *without a hat* there; others, *hat*. Which one works?

# %% [markdown] lang="es" short=true
# ## Prompts negativos
#
# Un prompt negativo dice qué dejar fuera. Aquí nadie va a pedir un sombrero y, aun así, algunos
# robots lo llevan. Algunos cursos enseñan a escribir ahí *sin sombrero*; otros, *sombrero*. ¿Cuál
# funciona?

# %%
negatives = say(
    ["", "hat", "without a hat", "with a hat"], ["", "sombrero", "sin sombrero", "con sombrero"]
)
robot = say("a robot on the beach", "un robot en la playa")
robots = sweep(pocket, robot, negative_prompt=negatives, seed=range(16))
some = robots.where(negative_prompt=["", *negatives[2:]], seed=range(3))
some.grid(rows="negative_prompt", columns="seed")

# %% [markdown] lang="en"
# Count the hats in each row. The probe does the same for all 16 seeds; the thin lines are 95%
# intervals (lesson 03), since chance may have moved each bar.

# %% [markdown] lang="es"
# Cuenta los sombreros de cada fila. La sonda hace lo mismo con las 16 semillas; las líneas finas
# son intervalos del 95 % (lección 03), pues el azar puede haber movido cada barra.


# %%
def hats(pictures):
    """Return the share of pictures in which the probe sees a hat."""
    # es: Devuelve en qué proporción de las imágenes ve la sonda un sombrero.
    return share(reading.hat > 0.5 for reading in pocket_probe().read(pictures.images))


worn = {text: hats(robots.where(negative_prompt=text)) for text in negatives}
labels = [text or say("(none)", "(ninguno)") for text in negatives]
bars(labels, list(worn.values()), y_label=say("wear a hat", "llevan sombrero"), percent=True)

# %% part="claim"
assert worn[negatives[3]].value < worn[negatives[2]].value, (
    "naming a hat takes off more than denying"
)

# %% [markdown] lang="en"
# Sixteen pictures settle only the large differences. Here are robots, cowboys and penguins, on
# which captions leave hats out: many more of each, in both languages. The first rows change the
# prompt, the others the negative prompt:

# %% [markdown] lang="es"
# Dieciséis imágenes solo resuelven las diferencias grandes. Aquí hay robots, vaqueros y pingüinos,
# cuyos textos callan a menudo el sombrero: muchas más imágenes, en los dos idiomas. Las primeras
# filas cambian el prompt; las demás, el prompt negativo:

# %%
measured("hats")

# %% part="claim"
rows = measured("hats").rows
by = {(row["prompt"], row["negative_prompt"]): row for row in rows}
plain = [row["hat"].value for row in rows if (row["prompt"], row["negative_prompt"]) == ("…", "")]
for said, unsaid, negative, start in [
    ("… wearing a hat", "… without a hat", "with a hat", plain[0]),
    ("… con sombrero", "… sin sombrero", "con sombrero", plain[-1]),
]:
    assert by[said, ""]["hat"].value > 0.8, f"{said} puts one on"
    assert by[unsaid, ""]["hat"].value < start - 0.15, f"{unsaid} leaves fewer"
    assert by[unsaid, ""]["hat"].value > 0.15, f"{unsaid} leaves some"
    assert by["…", negative]["hat"].value < 0.5 * start, f"{negative} as a negative takes hats off"
for denial in ["without a hat", "with no hat"]:
    assert by["…", denial]["hat"].value > 0.8 * plain[0], f"{denial} as a negative does nothing"
assert by["…", "no hat"]["hat"].value < 0.6 * plain[0], "no hat is read as hat"
assert by["…", "sin sombrero"]["hat"].value > 0.8 * plain[-1], "nor does the Spanish denial"
for language, control in zip(plain, ["an umbrella", "un paraguas"], strict=True):
    assert abs(by["…", control]["hat"].value - language) < 0.2, "an umbrella hardly changes hats"

# %% [markdown] lang="en"
# *wearing a hat* puts one on nearly always; *without a hat* leaves under a third. As negative
# prompts, the captions' own words (*with a hat*, *con sombrero*) and *hat* take most hats off;
# their denials, and *sombrero* alone, none. (*no hat*, which no caption says, is read as *hat*.)
# The umbrella is a control.

# %% [markdown] lang="es"
# *con sombrero* lo pone casi siempre; *sin sombrero* deja alrededor de un cuarto. Como prompts
# negativos, las palabras de los textos (*with a hat*, *con sombrero*) y *hat* quitan la mayoría;
# sus negaciones y *sombrero* a secas, ninguno. (*no hat*, que ningún texto dice, se lee como
# *hat*.) El paraguas sirve de control.

# %% [markdown] lang="en"
# Why? A negative prompt is not a command. It is a second text, and guidance walks *away* from what
# the model draws for it ([lesson 02](lesson:02)). Walk away from *with a hat*, and hats go; walk
# away from *without a hat*, and they stay.

# %% [markdown] lang="es"
# ¿Por qué? Un prompt negativo no es una orden. Es un segundo texto, y la guía se *aleja* de lo que
# el modelo dibuja para él ([lección 02](lesson:02)). Si te alejas de *con sombrero*, se van los
# sombreros; si te alejas de *sin sombrero*, se quedan.

# %% [markdown] lang="en" part="goal"
# ### Exercise 2 · Take off the hat, in the other language
#
# Write the negative prompt that takes most hats off *un robot en la playa*. In Spanish *con*
# means with, *sin* without, and *sombrero* hat.

# %% [markdown] lang="es" part="goal"
# ### Ejercicio 2 · Fuera el sombrero, en el otro idioma
#
# Escribe el prompt negativo que quita la mayoría de los sombreros de *a robot on the beach*. En
# inglés *with* es con, *without* es sin y *hat* es sombrero.

# %% part="stub"
my_negative = ...

# %% part="check"
checks.take_off_the_hat(
    my_negative,
    lambda text: sweep(
        pocket,
        say("un robot en la playa", "a robot on the beach"),
        negative_prompt=text,
        seed=range(16),
        report=lambda note: None,
    ),
    pocket_probe(),
)

# %% part="solution"
my_negative = say("con sombrero", "with a hat")

# %% part="wrong"
my_negative = say("sin sombrero", "without a hat")

# %% part="wrong"
my_negative = ""

# %% part="wrong"
my_negative = say("un paraguas", "an umbrella")

# %% part="wrong" half=true
my_negative = say("sombrero", "with no hat")

# %% [markdown] lang="en" part="noticed"
# **What you should have noticed.** The words that work are those of the captions the model was
# trained on. For SD 1.5 nobody has the list: try, and count.

# %% [markdown] lang="es" part="noticed"
# **Lo que deberías haber notado.** Funcionan las palabras de los textos con los que se entrenó el
# modelo. De SD 1.5 nadie tiene la lista: prueba y cuenta.

# %% [markdown] lang="en" part="discuss"
# Why does the model not understand *no*? What would its training captions need?
#
# ---
#
# It learned which pictures go with which words; captions say what is there, and hardly ever what is
# missing. It would need captions with denials, beside pictures in which the thing could have been.
# A negative prompt works around that with arithmetic.

# %% [markdown] lang="es" part="discuss"
# ¿Por qué el modelo no entiende *sin*? ¿Qué necesitarían los textos de su entrenamiento?
#
# ---
#
# Aprendió qué imágenes van con qué palabras; los textos dicen lo que hay y casi nunca lo que
# falta. Harían falta textos con negaciones junto a imágenes en las que eso podría haber estado. Un
# prompt negativo lo esquiva con aritmética.

# %% [markdown] lang="en"
# ## Counting
#
# The captions of training count to three. What will the model make of *four*, and of *five*?

# %% [markdown] lang="es"
# ## Contar
#
# Los textos del entrenamiento cuentan hasta tres. ¿Qué hará el modelo con *cuatro* y con *cinco*?

# %%
numbers = say(["two", "three", "four", "five"], ["dos", "tres", "cuatro", "cinco"])
penguin = say("penguins in the snow", "pingüinos en la nieve")
penguins = sweep(pipe, [f"{number} {penguin}" for number in numbers], seed=1)
strip(penguins.images, numbers)

# %%
measured("counting")

# %% part="claim"
one, two, three, four, five = measured("counting").rows
assert min(two["counted_2"].value, three["counted_3"].value) > 0.8, "two and three are words"
assert min(four["counted_1"].value, five["counted_1"].value) > 0.5, "mostly one is drawn"

# %% [markdown] lang="en"
# It learned *two* and *three* as words, not as numbers. It never met *four* and *five*: they mean
# nothing to it, and mostly it draws one. The probe, too, stops at three: if you measure with a
# tool, know where the tool ends.

# %% [markdown] lang="es"
# Aprendió *dos* y *tres* como palabras, no como números. *Cuatro* y *cinco* no las vio nunca: no le
# dicen nada, y casi siempre dibuja uno solo (la tabla se midió en inglés). También la sonda acaba
# en tres: quien mide con una herramienta debe saber dónde acaba.

# %% [markdown] lang="en"
# ## What it was never shown
#
# The first four compositions were kept out of its training, and it has no unicorns. Which of these
# five will work?

# %% [markdown] lang="es"
# ## Lo que nunca se le enseñó
#
# Las cuatro primeras composiciones se apartaron del entrenamiento, y unicornios no hay. ¿Cuáles de
# estas cinco saldrán bien?

# %%
never_shown = say(
    [
        "an astronaut riding a horse on Mars",
        "a panda riding a dragon in the forest",
        "a cat next to a pizza",
        "sushi in space",
        "a unicorn in the forest",
    ],
    [
        "un astronauta montando un caballo en Marte",
        "un panda montando un dragón en el bosque",
        "un gato junto a una pizza",
        "sushi en el espacio",
        "un unicornio en el bosque",
    ],
)
strip(sweep(pipe, never_shown, seed=2).images)

# %%
table = measured("held_out")
replace(table, rows=table.rows[:2])

# %% part="claim"
never, shown_ones = table.rows[:2]
assert never["right"].value > shown_ones["right"].value - 0.1, "scenes never shown come out as well"
assert abs(shown_ones["clear"].value - never["clear"].value) < 0.1, "to an eye, too"

# %% [markdown] lang="en"
# To the probe, scenes never shown are right as often as those that were, and to an eye they are
# clear as often. So the model has not learned pictures by heart: it combines words. The unicorn is
# another matter: that word means nothing to it, so it draws something else without complaint.

# %% [markdown] lang="es"
# Para la sonda, lo nunca visto sale bien tan a menudo como lo visto, y a la vista también. El
# modelo no se ha aprendido las imágenes de memoria: sabe combinar palabras. El unicornio es otra
# cosa: la palabra no le dice nada, así que dibuja otra cosa sin protestar.

# %% [markdown] lang="en"
# ## English or Spanish?
#
# Two scenes, each drawn from the same noise in both languages. The pocket model learned both from
# the start; SD 1.5 learned mostly from English.

# %% [markdown] lang="es"
# ## ¿Español o inglés?
#
# Dos escenas, cada una a partir del mismo ruido en los dos idiomas. El modelo de bolsillo aprendió
# los dos desde el principio; SD 1.5 aprendió sobre todo del inglés.

# %%
english = ["a duck in the snow", "a panda riding a dragon on Mars"]
spanish = ["un pato en la nieve", "un panda montando un dragón en Marte"]
both = [*english, *spanish]
grid(
    sweep(pipe, both, seed=4).images, columns=2, labels=["English", "English", "español", "español"]
)

# %%
measured("languages")

# %% part="claim"
in_english, in_spanish = measured("languages").column("subject")
assert abs(in_english.value - in_spanish.value) < 0.06, "both languages are as often right"

# %% [markdown] lang="en"
# The same scenes, often almost the same picture, and right as often: this model was shown both
# languages equally. SD 1.5 was not. With it, write in English, and remember whom that leaves out.

# %% [markdown] lang="es"
# Las mismas escenas, a menudo casi la misma imagen, y aciertos parecidos: a este modelo se le
# enseñaron los dos idiomas por igual. A SD 1.5, no. Con él, escribe en inglés, y piensa a quién
# deja fuera eso.

# %% [markdown] lang="en" short=true
# ## The bias of the data
#
# Here are four flowers from the pocket model's training whose captions name no colour. What do you
# expect it to draw for *a flower*?

# %% [markdown] lang="es" short=true
# ## El sesgo de los datos
#
# Aquí hay cuatro flores del entrenamiento del modelo de bolsillo cuyos textos no nombran ningún
# color. ¿Qué esperas que dibuje si le pides *una flor*?

# %%
scenes = [scene_at(index, seed=0) for index in range(20_000)]
shown = [
    replace(scene, style="plain")
    for scene in scenes
    if scene.subjects == ("flower",) and scene.count == 1 and not scene.colour_named
]
yellow = share(scene.colours == ("yellow",) for scene in shown)
print(say("yellow in training:", "amarillas en el entrenamiento:"), yellow)
strip([render(scene) for scene in shown[:4]])


# %%
def draw_flowers(prompts):
    """Draw each prompt from a seed of its own, and read off the colours of the flowers."""
    # es: Dibuja cada prompt con su propia semilla y lee los colores de las flores.
    generators = [torch.Generator("cpu").manual_seed(number) for number in range(len(prompts))]
    images = pocket(prompts, num_inference_steps=25, generator=generators).images
    return images, [reading.colours["flower"] for reading in pocket_probe().read(images)]


flower = say("a flower in a field", "una flor en el campo")
flowers, colours = draw_flowers([flower] * 16)
yellow = share(colour == "yellow" for colour in colours)
print(say("yellow when drawn:", "amarillas al dibujar:"), yellow)
strip(flowers[:4])

# %% part="claim"
assert yellow.low > 0.5, "most flowers are yellow, though nobody said so"

# %% [markdown] lang="en"
# Nobody wrote *yellow*: the model gives back the habit of its data. Does naming a colour mend it?
# One row for each:

# %% [markdown] lang="es"
# Nadie escribió *amarilla*: el modelo devuelve la costumbre de sus datos. ¿Se corrige nombrando un
# color? Una fila para cada uno:

# %%
measured("bias")

# %% part="claim"
in_training, unnamed, *named = measured("bias").rows
assert min(in_training["yellow"].value, unnamed["yellow"].value) > 0.8, "yellow by habit"
for row in named:
    assert max(row[c].value for c in ["red", "yellow", "green", "blue", "purple"]) > 0.8, row[
        "prompt"
    ]

# %% [markdown] lang="en"
# Naming mends it: nearly every flower has the colour that was asked for. But only where it is
# named, and whoever says nothing still gets yellow. So name what you care about, and count again.

# %% [markdown] lang="es"
# Nombrar el color lo corrige: casi todas las flores salen del color pedido. Pero solo donde se
# nombra: a quien no dice nada le sigue tocando el amarillo. Nombra lo que te importe y vuelve a
# contar.

# %% [markdown] lang="en" part="goal"
# ### Exercise 3 · A balanced bunch
#
# Write ten prompts, each with one flower, so that the bunch shows at least four colours and no
# more than half of it is yellow. You do not get to choose the seeds.

# %% [markdown] lang="es" part="goal"
# ### Ejercicio 3 · Un ramo equilibrado
#
# Escribe diez prompts, cada uno con una flor, de modo que el ramo muestre al menos cuatro colores y
# no más de la mitad de las flores sean amarillas. Las semillas no las eliges tú.

# %% part="stub"
my_prompts = ...  # ["...", "...", ...]

# %% part="check"
checks.balanced_bunch(my_prompts, draw_flowers, pocket_probe())

# %% part="solution"
my_prompts = [
    say(f"a {colour} flower in a field", f"una flor {colour} en el campo")
    for colour in say(
        ["red", "yellow", "green", "blue", "purple"],
        ["roja", "amarilla", "verde", "azul", "morada"],
    )
    for _ in range(2)
]

# %% part="wrong"
my_prompts = [say("a flower in a field", "una flor en el campo")] * 10

# %% part="wrong"
my_prompts = [say("a flower that is not yellow", "una flor que no sea amarilla")] * 10

# %% part="wrong"
my_prompts = [say("a purple flower in a field", "una flor morada en el campo")] * 10

# %% part="wrong" half=true
my_prompts = [
    say(f"a {colour} flower in a field", f"una flor {colour} en el campo")
    for colour in say(["red", "blue", "green", "purple"], ["roja", "azul", "verde", "morada"])
    for _ in range(2)
]  # eight

# %% [markdown] lang="en" part="noticed"
# **What you should have noticed.** Asking for *variety* in one prompt does not give variety: each
# picture is drawn alone and knows nothing of the others. You had to choose the mixture.

# %% [markdown] lang="es" part="noticed"
# **Lo que deberías haber notado.** Pedir *variedad* en un prompt no da variedad: cada imagen se
# dibuja sola y no sabe nada de las demás. La mezcla la elegiste tú.

# %% [markdown] lang="en" part="discuss"
# Is a model that draws yellow flowers nine times in ten wrong, if nine in ten of its flowers were
# yellow? When would you mend it, and where: in the data, the model, or the prompt?
#
# ---
#
# It mirrors its data; whether that is wrong depends on what it is used for and who is left out.
# Prompts mend single pictures for those who know of the bias; data or training mend it for
# everybody, at a price. Measure before and after.

# %% [markdown] lang="es" part="discuss"
# ¿Está mal un modelo que dibuja flores amarillas nueve de cada diez veces, si así eran sus datos?
# ¿Cuándo lo corregirías y dónde: en los datos, en el modelo o en el prompt?
#
# ---
#
# Refleja sus datos; que esté mal depende de para qué se use y de a quién deje fuera. El prompt
# corrige imágenes sueltas para quien conoce el sesgo; los datos o el entrenamiento lo corrigen
# para todo el mundo, pero cuesta. Mide antes y después.

# %% [markdown] lang="en"
# ## A model whose data is the world
#
# Our bias about flowers is there on purpose. SD 1.5 learned from LAION: pictures and captions found
# on the web. What others measured:
#
# - Mostly English captions, and "white and western cultures are often set as the default": its own
#   [model card](https://huggingface.co/stable-diffusion-v1-5/stable-diffusion-v1-5).
# - Professions follow the statistics of work in the USA, and marginalised people appear too rarely:
#   [Luccioni et al. 2023](https://arxiv.org/abs/2303.11408) (SD 1.4, SD 2, DALL·E 2).
# - Plain prompts amplify stereotypes, and asking for the contrary does not always mend it:
#   [Bianchi et al. 2023](https://arxiv.org/abs/2211.03759).

# %% [markdown] lang="es"
# ## Un modelo cuyos datos son el mundo
#
# Nuestro sesgo de las flores está puesto a propósito. SD 1.5 aprendió de LAION: imágenes y textos
# encontrados en la web. Esto midieron otros:
#
# - Textos casi siempre en inglés, y «las culturas blancas y occidentales suelen ser la opción por
#   defecto»: su propia
#   [ficha](https://huggingface.co/stable-diffusion-v1-5/stable-diffusion-v1-5).
# - Las profesiones siguen las estadísticas laborales de EE. UU., y los grupos marginados aparecen
#   menos de lo debido: [Luccioni et al. 2023](https://arxiv.org/abs/2303.11408) (SD 1.4, SD 2,
#   DALL·E 2).
# - Los prompts más sencillos amplifican estereotipos, y pedir lo contrario no siempre lo corrige:
#   [Bianchi et al. 2023](https://arxiv.org/abs/2211.03759).

# %% [markdown] lang="en"
# With flowers you saw all three steps: measure what a plain prompt gives, compare it with what it
# ought to give, name what you want and measure again. With people, do it before you publish.

# %% [markdown] lang="es"
# Con las flores has visto los tres pasos: medir qué da un prompt sencillo, compararlo con lo que
# debería dar, nombrar lo que quieres y volver a medir. Con personas, hazlo antes de publicar.

# %% [markdown] lang="en"
# ## The licence
#
# The pocket model is Apache-2.0. SD 1.5 has the
# [CreativeML OpenRAIL-M](https://huggingface.co/spaces/CompVis/stable-diffusion-license) licence:
#
# - You may use, change and share the model, in business too.
# - Its makers claim no rights in your pictures; you answer for them.
# - You may not use it to break the law, to harm or exploit minors or other people, to defame or
#   harass, to spread falsehoods or personal data in order to harm, to discriminate, for medical
#   advice, for the police, courts or migration offices, or to let it decide alone on people's
#   rights.
# - Whoever gets the model from you, changed or not, gets it with these limits.

# %% [markdown] lang="es"
# ## La licencia
#
# El modelo de bolsillo es Apache-2.0. SD 1.5 tiene la licencia
# [CreativeML OpenRAIL-M](https://huggingface.co/spaces/CompVis/stable-diffusion-license):
#
# - Puedes usar, modificar y compartir el modelo, también en un negocio.
# - Sus autores no reclaman derechos sobre tus imágenes; de ellas respondes tú.
# - No puedes usarlo para infringir la ley, dañar o explotar a menores o a otras personas, difamar o
#   acosar, difundir falsedades o datos personales para perjudicar, discriminar, dar consejo médico,
#   para la policía, los tribunales o los servicios de migración, ni para que decida por sí solo
#   sobre los derechos de alguien.
# - Quien reciba de ti el modelo, modificado o no, lo recibe con estos límites.

# %% [markdown] lang="en"
# ## Copyright, and artists who live from it
#
# This is a summary, not legal advice; laws differ from country to country.
#
# - Monet died in 1926 and his paintings are in the public domain. So this course imitates him.
# - LAION holds the works of living artists, who were not asked. Whether training on them is lawful
#   is before the courts.
# - A manner of painting is, as a rule, nobody's property; a picture too close to an existing work
#   may infringe it, and selling it under the artist's name may be fraud.
# - Models can repeat pictures of their training:
#   [Carlini et al. 2023](https://arxiv.org/abs/2301.13188) extracted some from Stable Diffusion.

# %% [markdown] lang="es"
# ## Derechos de autor, y artistas que viven de su obra
#
# Esto es un resumen, no un consejo legal; las leyes cambian de un país a otro.
#
# - Monet murió en 1926 y sus cuadros son de dominio público. Por eso el curso lo imita a él.
# - En LAION hay obras de artistas vivos a quienes nadie preguntó. Los tribunales aún discuten si es
#   lícito entrenar con ellas.
# - Una manera de pintar, por lo general, no es propiedad de nadie; una imagen demasiado parecida a
#   una obra existente puede infringir sus derechos, y venderla con el nombre del artista puede ser
#   un fraude.
# - Un modelo puede repetir imágenes de su entrenamiento:
#   [Carlini et al. 2023](https://arxiv.org/abs/2301.13188) sacaron algunas de Stable Diffusion.

# %% [markdown] lang="en"
# A good habit, whatever the law says: no living artist's name in a prompt without asking, and say
# that a picture was generated when you show it.

# %% [markdown] lang="es"
# Una buena costumbre, diga lo que diga la ley: ningún nombre de artista vivo en un prompt sin
# preguntarle, y decir que la imagen es generada cuando la enseñes.

# %% [markdown] lang="en"
# ## Where to go next
#
# - What you say is drawn, mostly; what you leave out, chance and the data decide.
# - A negative prompt names what to leave out, in the words of captions; denials do not work.
# - A share without its interval is an anecdote.
# - A bias is measured, not guessed; naming what you want mends it where you name it.
#
# Next: [05, Editing](lesson:05), which changes a picture.

# %% [markdown] lang="es"
# ## Por dónde seguir
#
# - Lo que dices se dibuja, casi siempre; lo que callas lo deciden el azar y los datos.
# - Un prompt negativo nombra lo que sobra, con palabras de los textos; las negaciones no funcionan.
# - Un porcentaje sin su intervalo es una anécdota.
# - Un sesgo se mide, no se adivina; nombrar lo que quieres lo corrige allí donde lo nombras.
#
# Después: [05, Edición](lesson:05), que cambia una imagen.
