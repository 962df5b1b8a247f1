# ---
# jupyter:
#   lesson:
#     names:
#       en: 04_prompts_and_bias
#       es: 04_prompts_y_sesgos
# ---

# %% [markdown] lang="en"
# # Prompts, seeds, chance and bias
#
# In this lesson you will
# - tell what your words did from what chance did, with a share and its interval,
# - find out which prompts and negative prompts keep their promise, and which do the opposite,
# - measure a bias that comes from the data, mend it, and read what SD 1.5's licence asks of you.
#
# **45 minutes · any computer, with or without GPU · no account · 2.7 GB to download with a GPU,
# nothing without one**

# %% [markdown] lang="es"
# # Prompts, semillas, azar y sesgos
#
# En esta lección vas a
# - distinguir lo que hicieron tus palabras de lo que hizo el azar, con un porcentaje y su
#   intervalo,
# - descubrir qué prompts y prompts negativos cumplen lo que prometen y cuáles hacen lo contrario,
# - medir un sesgo que viene de los datos, corregirlo y leer qué te pide la licencia de SD 1.5.
#
# **45 minutos · cualquier equipo, con o sin GPU · sin cuenta · 2,7 GB de descarga con GPU, nada sin
# ella**

# %% part="setup"
from dataclasses import replace

import torch

import sdlesson
from sdlesson import draw, exercises
from sdlesson.experiments import sweep
from sdlesson.figures import bars, strip
from sdlesson.images import image_grid, same_picture
from sdlesson.language import say
from sdlesson.metrics import measured, pocket_probe, share
from sdlesson.pocket.rendering import render
from sdlesson.pocket.scenes import scene_at
from sdlesson.prompting import fuller_prompt

seed = 0

# %% [markdown] lang="en"
# ## One text, many pictures
#
# You write one sentence. How many pictures does it describe? Before you run the cell, decide what
# all five of these will share.
#
# `pipe` is the big model where there is a GPU; `pocket` is the small one, on which we measure.

# %% [markdown] lang="es"
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

prompt = "a dog on the beach"
dogs = sweep(pipe, prompt, seed=range(5))
strip(dogs.images, [f"seed={number}" for number in range(5)])

# %% [markdown] lang="en"
# A dog and a beach, as you wrote. Where it stands, which way it looks, what it wears: you left that
# out, so the noise decided.

# %% [markdown] lang="es"
# Un perro y una playa, como escribiste. Dónde está, hacia dónde mira, qué lleva puesto: eso no lo
# dijiste, así que lo decidió el ruido.

# %% [markdown] lang="en"
# ## What a seed is, and why devices differ
#
# A seed is only a number. Would another computer make the same noise of it?

# %% [markdown] lang="es"
# ## Qué es una semilla y por qué los dispositivos no coinciden
#
# Una semilla es solo un número. ¿Sacaría de él otro ordenador el mismo ruido?

# %% tags=["nbval-check-output"]
for number in (0, 1):
    noise = torch.randn(4, generator=torch.Generator("cpu").manual_seed(number))
    print(f"seed {number}:", *(f"{value:+.2f}" for value in noise))

# %% [markdown] lang="en"
# These digits are the same on every computer: a CPU makes its noise by one recipe, which PyTorch
# ships everywhere. A GPU has a recipe of its own; on one, the next cell shows other digits for the
# same seed.

# %% [markdown] lang="es"
# Estas cifras son iguales en cualquier ordenador: la CPU fabrica el ruido con una receta que
# PyTorch lleva a todas partes. La GPU tiene la suya; si hay una, la celda siguiente muestra otras
# cifras para la misma semilla.

# %% tags=["gpu"]
if pipe.device.type == "cuda":
    on_gpu = torch.Generator("cuda").manual_seed(0)
    noise = torch.randn(4, generator=on_gpu, device="cuda")
    print("seed 0, GPU:", *(f"{value:+.2f}" for value in noise.tolist()))

# %% [markdown] lang="en"
# So this course makes noise on the CPU, always, and then moves it.
#
# The same noise and the same model, then: is the picture the same to the last bit? Compare seed 3
# drawn alone with seed 3 drawn among five.

# %% [markdown] lang="es"
# Por eso el curso fabrica siempre el ruido en la CPU y después lo traslada.
#
# Mismo ruido y mismo modelo: ¿es la imagen idéntica hasta el último bit? Compara la semilla 3
# dibujada sola con la semilla 3 dibujada entre cinco.

# %% tags=["nbval-check-output"]
alone = draw(prompt, pipe=pipe, seed=3).image
print(f"{same_picture(alone, dogs.images[3]) = }")
print(f"{same_picture(alone, dogs.images[4]) = }")

# %% [markdown] lang="en"
# The same *picture*, yes, but `same_picture` forgives a level or two in a pixel. A batch, a GPU or
# another version adds the same numbers in another order, and each sum is rounded. Nobody can
# promise you equal bits.

# %% [markdown] lang="es"
# La misma *imagen*, sí, pero `same_picture` perdona un nivel o dos por píxel. Un lote, una GPU u
# otra versión suman los mismos números en otro orden, y cada suma se redondea. Nadie puede
# prometerte los mismos bits.

# %% [markdown] lang="en" part="goal"
# ### Exercise 1 · Noise that depends on its neighbours
#
# Each picture should get the noise of its own seed. In this version the second gets what the first
# left over: seed 7 gives one noise in `[5, 7]` and another in `[7]`. Mend it.

# %% [markdown] lang="es" part="goal"
# ### Ejercicio 1 · Un ruido que depende de sus vecinos
#
# Cada imagen debería recibir el ruido de su semilla. En esta versión la segunda recibe lo que sobra
# de la primera: la semilla 7 da un ruido en `[5, 7]` y otro en `[7]`. Arréglalo.


# %% part="stub"
def noise_for(seeds):
    """Return the noise of one picture a seed, (len(seeds), 4, 16, 16)."""
    generator = torch.Generator("cpu").manual_seed(seeds[0])
    return torch.cat([torch.randn((1, 4, 16, 16), generator=generator) for _ in seeds])


# %% part="check"
exercises.check(
    lambda: noise_for([5, 7, 5]),
    lambda noise: torch.equal(noise[1:], noise_for([7, 5])) and not noise[0].equal(noise[1]),
    hint=say(
        "A generator moves on as it is used. Who needs one of their own?",
        "Un generador avanza al usarlo. ¿Quién necesita uno propio?",
    ),
)


# %% part="solution"
def noise_for(seeds):
    """Return the noise of one picture a seed, (len(seeds), 4, 16, 16)."""
    generators = [torch.Generator("cpu").manual_seed(number) for number in seeds]
    return torch.cat([torch.randn((1, 4, 16, 16), generator=each) for each in generators])


# %% part="wrong"
def noise_for(seeds):
    """Give every picture the first seed."""
    generators = [torch.Generator("cpu").manual_seed(seeds[0]) for _ in seeds]
    return torch.cat([torch.randn((1, 4, 16, 16), generator=each) for each in generators])


# %% part="wrong"
def noise_for(seeds):
    """Make generators, and forget the seeds."""
    generators = [torch.Generator("cpu") for _ in seeds]
    return torch.cat([torch.randn((1, 4, 16, 16), generator=each) for each in generators])


# %% part="wrong"
def noise_for(seeds):
    """Seed one generator for the whole batch."""
    generator = torch.Generator("cpu").manual_seed(sum(seeds))
    return torch.randn((len(seeds), 4, 16, 16), generator=generator)


# %% [markdown] lang="en" part="noticed"
# **What you should have noticed.** This is why `pipe([...], generator=[...])` takes a list. With
# one generator for the batch, a picture can never be drawn again alone.

# %% [markdown] lang="es" part="noticed"
# **Lo que deberías haber notado.** Por eso `pipe([...], generator=[...])` admite una lista. Con un
# solo generador para todo el lote, ninguna imagen puede volver a dibujarse sola.

# %% [markdown] lang="en"
# ## What more words do
#
# A longer prompt says more. Will its pictures differ from each other more, or less?

# %% [markdown] lang="es"
# ## Qué hacen más palabras
#
# Un prompt más largo dice más cosas. ¿Se parecerán más entre sí sus cuatro imágenes, o menos?

# %%
sweep(pipe, ["a fox", "a fox in the snow"], seed=range(4)).grid(rows="prompt", columns="seed")

# %% [markdown] lang="en"
# Compare the two rows. Four pictures are few; here are many, of many subjects. *Diversity* is how
# far pictures of one prompt lie apart, as a CLIP sees them:

# %% [markdown] lang="es"
# Compara las dos filas. Cuatro imágenes son pocas; aquí hay muchas, de muchos sujetos. La
# *diversidad* es cuánto distan entre sí las imágenes de un mismo prompt, vistas por un CLIP:

# %%
measured("details")

# %% [markdown] lang="en"
# What you say is no longer left to chance: the place takes away far more of the diversity than the
# style does. And say what you care about, since the model will choose the rest.

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
styles = ["", ", in the style of Monet", ", pencil sketch", ", pixel art", ", at night"]
houses = sweep(pipe, [f"a house in a field{style}" for style in styles], seed=3)
strip(houses.images, [style.removeprefix(", ") for style in styles])

# %% [markdown] lang="en"
# The house, the field, and roughly where they stand. A style is only more words to the model, which
# learnt them from captions.

# %% [markdown] lang="es"
# La casa, el campo y, más o menos, su sitio. Para el modelo un estilo no es más que otras
# palabras, que aprendió de los textos de las imágenes.

# %% [markdown] lang="en"
# ## A prompt helper
#
# Many tools rewrite your prompt without telling you. The course's one tells: its rules are short
# tables in `sdlesson/prompting.py`. What will it add to these ideas?

# %% [markdown] lang="es"
# ## Un ayudante de prompts
#
# Muchas herramientas reescriben tu prompt sin decírtelo. La del curso sí te lo dice: sus reglas son
# unas tablas cortas en `sdlesson/prompting.py`. ¿Qué añadirá a estas ideas?

# %%
ideas = ["an astronaut riding a horse", "un pingüino", "a balloon"]
is_pocket = pipe.name_or_path == "pocket"
fuller = [
    fuller_prompt(idea, seed=number, pocket=is_pocket, tokenizer=pipe.tokenizer)
    for number, idea in enumerate(ideas, start=1)
]
print(*fuller, sep="\n")

# %%
drawn = sweep(pipe, [*ideas, *(full.prompt for full in fuller)], seed=seed)
image_grid(drawn.images, columns=3)

# %% [markdown] lang="en"
# Your ideas above, the fuller prompts below. It only adds what you did not say, in your language,
# and another `seed=` adds something else. Better pictures? More decided ones: a choice was made,
# and not by you.

# %% [markdown] lang="es"
# Arriba tus ideas, abajo los prompts ampliados. Solo añade lo que no dijiste, en tu idioma, y con
# otra `seed=` añade otra cosa. ¿Mejores imágenes? Más definidas: alguien eligió, y no fuiste tú.

# %% [markdown] lang="en"
# ## Negative prompts
#
# A negative prompt says what to keep out. Nobody will mention a hat here, and yet some robots wear
# one. Some courses teach to write *no hat* there; others, *hat*. Which one works?

# %% [markdown] lang="es"
# ## Prompts negativos
#
# Un prompt negativo dice qué dejar fuera. Aquí nadie va a pedir un sombrero y, aun así, algunos
# robots lo llevan. Algunos cursos enseñan a escribir ahí *sin sombrero* (*no hat*); otros,
# *sombrero* (*hat*). ¿Cuál funciona?

# %%
negatives = ["", "hat", "no hat", "with a hat"]
robots = sweep(pocket, "a robot on the beach", negative_prompt=negatives, seed=range(16))
some = robots.where(negative_prompt=["", "no hat", "with a hat"], seed=range(3))
some.grid(rows="negative_prompt", columns="seed")

# %% [markdown] lang="en"
# Count the hats in each row. The probe does the same for all 16 seeds; the thin lines are 95%
# intervals: how far chance may have moved each bar.

# %% [markdown] lang="es"
# Cuenta los sombreros de cada fila. La sonda hace lo mismo con las 16 semillas; las líneas finas
# son intervalos del 95 %: hasta dónde puede haber movido el azar cada barra.


# %%
def hats(pictures):
    """Return the share of pictures in which the probe sees a hat."""
    return share(reading.hat > 0.5 for reading in pocket_probe().read(pictures.images))


worn = {text: hats(robots.where(negative_prompt=text)) for text in negatives}
labels = [text or say("(none)", "(ninguno)") for text in negatives]
bars(labels, list(worn.values()), y_label=say("wear a hat", "llevan sombrero"), percent=True)

# %% tags=["nbval-check-output"]
print(worn["with a hat"].value < worn["no hat"].value)

# %% [markdown] lang="en"
# Sixteen pictures settle only the large differences. Here are all who can wear a hat, many more of
# each, in both languages. The first rows change the prompt, the others the negative prompt:

# %% [markdown] lang="es"
# Dieciséis imágenes solo resuelven las diferencias grandes. Aquí están todos los que pueden llevar
# sombrero, con muchas más imágenes y en los dos idiomas. Las primeras filas cambian el prompt; las
# demás, el prompt negativo:

# %%
measured("hats")

# %% [markdown] lang="en"
# *wearing a hat* puts one on nearly always, and *without a hat* leaves few. As negative prompts,
# the captions' own words (*with a hat*, *con sombrero*) take hats off; bare *hat* does little,
# denials nothing or worse. Each language ends with a control: an umbrella hardly changes
# hats, but costs about one subject in ten.

# %% [markdown] lang="es"
# *con sombrero* lo pone casi siempre y *sin sombrero* deja pocos. Como prompts negativos, las
# palabras de los textos (*with a hat*, *con sombrero*) quitan sombreros; *sombrero* hace poco y
# las negaciones nada, o algo peor. Cada idioma acaba con un control: un paraguas apenas cambia los
# sombreros, pero estropea uno de cada diez sujetos.

# %% [markdown] lang="en"
# Why? A negative prompt is no order. It is a second text, and guidance walks *away* from what the
# model draws for it (lesson 02). Walk away from *with a hat* and hats go; walk away from *without a
# hat* and they come.

# %% [markdown] lang="es"
# ¿Por qué? Un prompt negativo no es una orden. Es un segundo texto, y la guía se *aleja* de lo que
# el modelo dibuja para él (lección 02). Si te alejas de *con sombrero*, se van los sombreros; si te
# alejas de *sin sombrero*, vienen.

# %% [markdown] lang="en" part="goal"
# ### Exercise 2 · Take off the hat, in Spanish
#
# Write the negative prompt that takes most hats off *un robot en la playa*. In Spanish *con*
# means with, *sin* without, and *sombrero* hat.

# %% [markdown] lang="es" part="goal"
# ### Ejercicio 2 · Fuera el sombrero, en español
#
# Escribe el prompt negativo que quita la mayoría de los sombreros de *un robot en la playa*.

# %% part="stub"
my_negative = ...

# %% part="check"
exercises.check(
    my_negative,
    lambda text: (
        hats(sweep(pocket, "un robot en la playa", negative_prompt=text, seed=range(16))).value
        <= worn[""].value / 2
    ),
    hint=say(
        "Say what is in the pictures that you do not want, as a caption would.",
        "Di lo que hay en las imágenes y no quieres, como lo diría su texto.",
    ),
)

# %% part="solution"
my_negative = "con sombrero"

# %% part="wrong"
my_negative = "sin sombrero"

# %% part="wrong"
my_negative = ""

# %% part="wrong"
my_negative = "que no lleve sombrero"

# %% [markdown] lang="en" part="noticed"
# **What you should have noticed.** The words that work are those of the captions the model was
# trained on. For SD 1.5 nobody has the list: try, and count.

# %% [markdown] lang="es" part="noticed"
# **Lo que deberías haber notado.** Funcionan las palabras de los textos con los que se entrenó el
# modelo. De SD 1.5 nadie tiene la lista: prueba y cuenta.

# %% [markdown] lang="en"
# ## Counting
#
# The captions of training count to three. What will the model make of *four*, and of *five*?

# %% [markdown] lang="es"
# ## Contar
#
# Los textos del entrenamiento cuentan hasta tres. ¿Qué hará el modelo con *cuatro* (*four*) y con
# *cinco* (*five*)?

# %%
numbers = ["two", "three", "four", "five"]
penguins = sweep(pipe, [f"{number} penguins in the snow" for number in numbers], seed=1)
strip(penguins.images, numbers)

# %%
measured("counting")

# %% [markdown] lang="en"
# It learnt *two* and *three* as words, not as numbers. *four* and *five* it never met: they say
# nothing to it, and mostly it draws one. The probe, too, stops at three: who measures
# with a tool should know where the tool ends.

# %% [markdown] lang="es"
# Aprendió *two* y *three* como palabras, no como números. *four* y *five* no las vio nunca: no le
# dicen nada, y casi siempre dibuja uno solo. También la sonda acaba en tres: quien mide con una
# herramienta debe saber dónde acaba.

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
never_shown = [
    "an astronaut riding a horse on Mars",
    "a panda riding a dragon in the forest",
    "a cat next to a pizza",
    "sushi in space",
    "a unicorn in the forest",
]
strip(sweep(pipe, never_shown, seed=2).images)

# %%
table = measured("held_out")
replace(table, rows=table.rows[:2])

# %% [markdown] lang="en"
# Scenes never shown come out about as often as scenes that were: it has not learnt pictures by
# heart, it puts words together. The unicorn is another matter. The word means nothing to it, so it
# draws something else and does not complain.

# %% [markdown] lang="es"
# Lo nunca visto sale más o menos tantas veces como lo visto: no se ha aprendido las imágenes de
# memoria, junta palabras. El unicornio es otra cosa: la palabra no le dice nada, así que dibuja
# otra cosa y no protesta.

# %% [markdown] lang="en"
# ## English or Spanish?
#
# Two scenes, each from the same noise in both languages. `pocket` learnt both from the first day;
# SD 1.5 learnt mostly from English.

# %% [markdown] lang="es"
# ## ¿Español o inglés?
#
# Dos escenas, cada una a partir del mismo ruido en los dos idiomas. `pocket` aprendió los dos
# desde el primer día; SD 1.5 aprendió sobre todo del inglés.

# %%
english = ["a duck in the snow", "a robot riding a dragon at night"]
spanish = ["un pato en la nieve", "un robot montando un dragón de noche"]
image_grid(sweep(pipe, [*english, *spanish], seed=4).images, columns=2)

# %%
measured("languages")

# %% [markdown] lang="en"
# The same scenes, often almost the same picture, and as often right: this model was shown both
# languages alike. SD 1.5 was not. With it, write in English, and remember whom that leaves out.

# %% [markdown] lang="es"
# Las mismas escenas, a menudo casi la misma imagen, y los mismos aciertos: a este modelo se le
# enseñaron los dos idiomas por igual. A SD 1.5, no. Con él escribe en inglés, y piensa a quién deja
# fuera eso.

# %% [markdown] lang="en"
# ## The bias of the data
#
# Here are four flowers from the pocket model's training whose captions name no colour. What do you
# expect it to draw for *a flower*?

# %% [markdown] lang="es"
# ## El sesgo de los datos
#
# Aquí hay cuatro flores del entrenamiento del modelo de bolsillo cuyos textos no nombran ningún
# color. ¿Qué esperas que dibuje si le pides *una flor* (*a flower*)?

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
    generators = [torch.Generator("cpu").manual_seed(number) for number in range(len(prompts))]
    images = pocket(prompts, num_inference_steps=25, generator=generators).images
    return images, [reading.colours["flower"] for reading in pocket_probe().read(images)]


flowers, colours = draw_flowers(["a flower in the forest"] * 16)
yellow = share(colour == "yellow" for colour in colours)
print(say("yellow when drawn:", "amarillas al dibujar:"), yellow)
strip(flowers[:4])

# %% tags=["nbval-check-output"]
print(yellow.low > 0.5)

# %% [markdown] lang="en"
# Nobody wrote *yellow*: the model gives back the habit of its data, in full. Does naming a colour
# mend it? One row for each:

# %% [markdown] lang="es"
# Nadie escribió *amarilla*: el modelo devuelve entera la costumbre de sus datos. ¿Se corrige
# nombrando un color? Una fila para cada uno:

# %%
measured("bias")

# %% [markdown] lang="en"
# Naming mends it: nearly every flower has the colour that was asked for. But only where it is
# named, and whoever says nothing still gets yellow. So name what you care about, and count again.

# %% [markdown] lang="es"
# Nombrar el color lo corrige: casi todas las flores salen del color pedido. Pero solo donde se
# nombra: a quien no dice nada le sigue tocando el amarillo. Nombra lo que te importe y vuelve a
# contar.

# %% [markdown] lang="en" part="goal"
# ### Exercise 3 · A fair bunch
#
# Write ten prompts, each with one flower, so that the bunch shows at least four colours and no
# more than half of it is yellow. Seeds are not yours to choose.

# %% [markdown] lang="es" part="goal"
# ### Ejercicio 3 · Un ramo justo
#
# Escribe diez prompts, cada uno con una flor, de modo que el ramo muestre al menos cuatro colores y
# no más de la mitad sea amarilla. Las semillas no las eliges tú.

# %% part="stub"
my_prompts = ...  # ["...", "...", ...]

# %% part="check"
exercises.check(
    my_prompts,
    lambda prompts: (
        len(found := draw_flowers(prompts)[1]) == 10
        and len(set(found)) >= 4
        and found.count("yellow") <= 5
    ),
    hint=say("What nobody names, the data decides.", "Lo que nadie nombra lo deciden los datos."),
)

# %% part="solution"
my_prompts = [
    f"a {colour} flower in the forest"
    for colour in ["red", "yellow", "green", "blue", "purple"]
    for _ in range(2)
]

# %% part="wrong"
my_prompts = ["a flower in the forest"] * 10

# %% part="wrong"
my_prompts = ["a flower that is not yellow, of any colour"] * 10

# %% part="wrong"
my_prompts = ["a purple flower in the forest"] * 10

# %% [markdown] lang="en" part="noticed"
# **What you should have noticed.** Asking for *variety* in one prompt does not give variety: each
# picture is drawn alone and knows nothing of the others. You had to choose the mixture.

# %% [markdown] lang="es" part="noticed"
# **Lo que deberías haber notado.** Pedir *variedad* en un prompt no da variedad: cada imagen se
# dibuja sola y no sabe nada de las demás. La mezcla la tuviste que elegir tú.

# %% [markdown] lang="en"
# ## A model whose data is the world
#
# Our bias is about flowers, and on purpose. SD 1.5 learnt from LAION: pictures and captions found
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
# Nuestro sesgo es de flores, y a propósito. SD 1.5 aprendió de LAION: imágenes y textos encontrados
# en la web. Esto midieron otros:
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
#   advice, for the police, courts or migration offices, or to decide alone on people's rights.
# - Whoever gets the model from you, changed or not, gets it with these limits.

# %% [markdown] lang="es"
# ## La licencia
#
# El modelo de bolsillo es Apache-2.0. SD 1.5 tiene la licencia
# [CreativeML OpenRAIL-M](https://huggingface.co/spaces/CompVis/stable-diffusion-license):
#
# - Puedes usar, modificar y compartir el modelo, también en un negocio.
# - Sus autores no reclaman derechos sobre tus imágenes; de ellas respondes tú.
# - No puedes usarlo para infringir la ley, dañar o explotar a menores u otras personas, difamar o
#   acosar, difundir falsedades o datos personales para perjudicar, discriminar, dar consejo médico,
#   para la policía, los tribunales o los servicios de migración, ni para decidir a solas sobre
#   derechos de personas.
# - Quien reciba de ti el modelo, modificado o no, lo recibe con estos límites.

# %% [markdown] lang="en"
# ## Copyright, and artists who live from it
#
# This is a summary, not legal advice; laws differ from country to country.
#
# - Monet died in 1926 and his paintings are free for all. That is why this course imitates him.
# - LAION holds the works of living artists, who were not asked. Whether training on them is lawful
#   is before the courts.
# - A manner of painting is, as a rule, nobody's property; a picture too close to an existing work
#   may infringe it, and to sell it under the artist's name may be deceit.
# - Models can repeat pictures of their training:
#   [Carlini et al. 2023](https://arxiv.org/abs/2301.13188) drew some out of Stable Diffusion.

# %% [markdown] lang="es"
# ## Derechos de autor, y artistas que viven de su obra
#
# Esto es un resumen, no un consejo legal; las leyes cambian de un país a otro.
#
# - Monet murió en 1926 y sus cuadros son de dominio público. Por eso el curso lo imita a él.
# - En LAION hay obras de artistas vivos a quienes nadie preguntó. Si es lícito entrenar con ellas
#   se discute en los tribunales.
# - Una manera de pintar, por lo general, no es propiedad de nadie; una imagen demasiado parecida a
#   una obra existente puede infringir sus derechos, y venderla con el nombre del artista puede ser
#   un engaño.
# - Un modelo puede repetir imágenes de su entrenamiento:
#   [Carlini et al. 2023](https://arxiv.org/abs/2301.13188) sacaron algunas de Stable Diffusion.

# %% [markdown] lang="en"
# A decent habit, whatever the law says: no living artist's name in a prompt without asking, and say
# that a picture was generated when you show it.

# %% [markdown] lang="es"
# Una buena costumbre, diga lo que diga la ley: ningún nombre de artista vivo en un prompt sin
# preguntarle, y decir que la imagen es generada cuando la enseñes.

# %% [markdown] lang="en"
# ## Where to go next
#
# - What you say is drawn, mostly; what you leave out, chance and the data decide.
# - A negative prompt names what to leave, in the words of captions; denials backfire.
# - A share without its interval is an anecdote.
# - A bias is measured, not guessed; naming what you want mends it where you name it.
#
# Next comes lesson 05, Editing pictures: from a picture of your own to another one.

# %% [markdown] lang="es"
# ## Por dónde seguir
#
# - Lo que dices se dibuja, casi siempre; lo que callas lo deciden el azar y los datos.
# - Un prompt negativo nombra lo que sobra, con palabras de los textos; las negaciones se vuelven en
#   contra.
# - Un porcentaje sin su intervalo es una anécdota.
# - Un sesgo se mide, no se adivina; nombrar lo que quieres lo corrige allí donde lo nombras.
#
# Después viene la lección 05, Editar imágenes: de una imagen tuya a otra.
