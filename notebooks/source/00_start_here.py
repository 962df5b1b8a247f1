# ---
# jupyter:
#   lesson:
#     names:
#       en: 00_start_here
#       es: 00_empieza_aqui
#     minutes: 20
#     after: []
#     knows: {en: nothing, es: nada}
#     needs:
#       en: any computer, no GPU · no account · 30 MB to download on Colab, nothing elsewhere
#       es: cualquier equipo, sin GPU · sin cuenta · 30 MB de descarga en Colab, nada fuera de él
# ---

# %% [markdown] lang="en"
# # Start here
#
# In this lesson you will
# - find out what your machine can do,
# - draw pictures from words, and tell what each setting decides,
# - know what to do when something fails.
#
# Run each cell with <kbd>Shift</kbd> + <kbd>Enter</kbd>, from top to bottom.

# %% [markdown] lang="es"
# # Empieza aquí
#
# En esta lección vas a
# - averiguar qué puede hacer tu equipo,
# - dibujar a partir de palabras y descubrir qué decide cada ajuste,
# - saber qué hacer cuando algo falla.
#
# Ejecuta cada celda con <kbd>Mayús</kbd> + <kbd>Intro</kbd>, de arriba abajo.

# %% part="setup"
import torch

import sdlesson
from sdlesson import doctor, draw, figures, runtime
from sdlesson.exercises import lesson_00 as checks
from sdlesson.images import same_picture
from sdlesson.language import say
from sdlesson.pocket.world import HELD_OUT_RIDES
from sdlesson.prompts import unknown_words

seed = 0

# %% [markdown] lang="en"
# ## What machine is this?
#
# A notebook runs on a computer: yours, or one that Google lends you. Which one, and does it have
# a GPU?

# %% [markdown] lang="es"
# ## ¿Qué máquina es esta?
#
# Un cuaderno se ejecuta en una máquina: la tuya o una que te presta Google. ¿En cuál estamos?
# ¿Tiene GPU?

# %%
print(runtime.describe())

# %% [markdown] lang="en"
# If the line above says *CPU*, all is well: this lesson needs no more. The big model of later
# lessons needs a GPU, and Colab lends you one:
#
# ```text
# Runtime ▸ Change runtime type ▸ Hardware accelerator
#
#     ( ) CPU     (•) T4 GPU     ( ) v5e-1 TPU         [ Save ]
# ```
#
# Colab then starts a new machine, so run the notebook again from its first cell.

# %% [markdown] lang="es"
# Si la línea de arriba dice *CPU*, no pasa nada: para esta lección basta. El modelo grande de las
# lecciones siguientes sí necesita una GPU, y Colab te presta una:
#
# ```text
# Entorno de ejecución ▸ Cambiar tipo de entorno de ejecución ▸ Acelerador por hardware
#
#     ( ) CPU     (•) GPU T4     ( ) TPU v5e-1         [ Guardar ]
# ```
#
# Colab arranca entonces una máquina nueva, así que vuelve a ejecutar el cuaderno desde la primera
# celda.

# %% [markdown] lang="en"
# ## The first picture
#
# The *pocket model* is a complete Stable Diffusion, small enough to come with this course. What do
# you expect it to draw for these words?

# %% [markdown] lang="es"
# ## La primera imagen
#
# El *modelo de bolsillo* es un Stable Diffusion completo, tan pequeño que viene con el curso.
# ¿Qué crees que dibujará con estas palabras?

# %%
pipe = sdlesson.load_pipeline("pocket")
pipe.set_progress_bar_config(disable=True)

prompt = say("an astronaut riding a horse on Mars", "un astronauta montando un caballo en Marte")
plain = draw(prompt, pipe=pipe, seed=seed).image
figures.enlarged(plain)

# %% [markdown] lang="en"
# You have just run Stable Diffusion. Did it copy a picture it was trained on? The rides that were
# kept out of its training are on a list:

# %% [markdown] lang="es"
# Acabas de ejecutar Stable Diffusion. ¿Habrá copiado una imagen de su entrenamiento? Hay una lista
# de jinetes y monturas que nunca se le enseñaron juntos:

# %% tags=["nbval-check-output"]
print(("astronaut", "horse") in HELD_OUT_RIDES)

# %% part="claim"
from sdlesson.pocket.evaluation.recognition import all_clear
from sdlesson.pocket.world import Scene

assert ("astronaut", "horse") in HELD_OUT_RIDES, "it never saw an astronaut on a horse"
bare = {"colours": (None, None), "hats": (False, False)}
ride = Scene("riding", ("astronaut", "horse"), "mars", "plain", **bare)
assert all_clear(ride, plain), "and here is one, for anyone to see"

# %% [markdown] lang="en"
# `True`: it has met astronauts, and it has met horses, but never one on the other. It put them
# together by itself.

# %% [markdown] lang="es"
# `True`: ha visto astronautas y ha visto caballos, pero nunca uno encima del otro. Los ha
# juntado por su cuenta.

# %% [markdown] lang="en" part="discuss"
# Look at your picture closely. Which parts could the model have learned from pictures of
# astronauts, which from pictures of horses, and which from neither?
#
# ---
#
# The suit and the legs come from what it saw. Where one ends and the other begins, it had to make
# up: look at the seat, the rider's legs, the sizes. Other rides taught it *how* one sits on
# something.

# %% [markdown] lang="es" part="discuss"
# Mira bien tu imagen. ¿Qué partes pudo aprender el modelo de imágenes de astronautas, cuáles de
# imágenes de caballos y cuáles de ninguna de las dos?
#
# ---
#
# El traje y las patas vienen de lo que vio. Dónde acaba uno y empieza el otro tuvo que inventarlo:
# fíjate en el asiento, en las piernas del jinete, en los tamaños. De otros jinetes aprendió *cómo*
# se monta.

# %% [markdown] lang="en"
# ## How it came about
#
# A picture begins as *noise*: numbers drawn at random. Then, *step* by step, a network says what in
# it is noise, and some of that is taken away. *Guidance* is how hard each step is pushed towards
# the words. In one strip:

# %% [markdown] lang="es"
# ## Cómo ha salido
#
# Una imagen empieza siendo *ruido*: números al azar. Después, *paso* a paso, una red dice qué parte
# es ruido y se quita un poco. La *guía* es la fuerza con la que cada paso se empuja hacia las
# palabras. En una tira:

# %%
generator = torch.Generator("cpu").manual_seed(seed)
steps = list(sdlesson.denoise(pipe, prompt, num_inference_steps=25, generator=generator))
shown = [sdlesson.decode(pipe, steps[taken - 1].latents)[0] for taken in (1, 9, 17, 25)]
unguided = draw(prompt, pipe=pipe, seed=seed, guidance_scale=1.0).image
labels = [say(f"noise, step {taken}", f"ruido, paso {taken}") for taken in (1, 9, 17)]
last = [say("step 25", "paso 25"), say("without guidance", "sin guía")]
figures.strip([*shown, unguided], labels + last)

# %% part="claim"
assert same_picture(shown[-1], plain), "the strip ends in the picture of the lesson"
assert not same_picture(unguided, plain), "guidance makes a difference"

# %% [markdown] lang="en"
# The same picture, with less and less noise. The last one took as many steps from the same noise,
# with the same words, but without that push. [Lesson 02](lesson:02) takes this apart.
#
# So a picture follows from its words, the seed that picks the noise, the steps and the guidance.
# diffusers takes them like this:

# %% [markdown] lang="es"
# La misma imagen, con cada vez menos ruido. La última dio los mismos pasos desde el mismo ruido,
# con las mismas palabras, pero sin ese empuje. La [lección 02](lesson:02) desmonta todo esto.
#
# Así que deciden las palabras, la semilla que elige el ruido, los pasos y la guía. El pipeline de
# diffusers lo recibe así:

# %% tags=["nbval-check-output"]
generator = torch.Generator("cpu").manual_seed(seed)
images = pipe(prompt, num_inference_steps=25, guidance_scale=7.5, generator=generator).images
print(same_picture(images[0], plain))

# %% part="claim"
assert same_picture(images[0], plain), "draw draws what the pipeline draws"

# %% [markdown] lang="en"
# The same picture: `draw` only saves you the typing. Left out, steps are 25 and guidance is 7.5.
# What will change, and what will stay, if we add a painter to the words?

# %% [markdown] lang="es"
# La misma imagen: `draw` solo te ahorra escribir. Si no los indicas, son 25 pasos y una guía de
# 7.5. ¿Qué cambiará y qué seguirá igual si añadimos un pintor a las palabras?

# %%
monet_prompt = prompt + say(", in the style of Monet", ", al estilo de Monet")
monet = draw(monet_prompt, pipe=pipe, seed=seed).image
figures.strip([plain, monet])

# %% [markdown] lang="en"
# The noise was the same, and only the last words were new. Compare the edges, the colours, and
# where things stand.

# %% [markdown] lang="es"
# El ruido era el mismo y solo eran nuevas las últimas palabras. Compara los contornos, los colores
# y el lugar de cada cosa.

# %% [markdown] lang="en" part="goal"
# ### Exercise 1 · Your own picture
#
# Draw something that this lesson has not drawn yet.
#
# The model knows, among others, *a robot, two pandas, a red car, a squirrel*; *on the beach, in the
# snow, in space*; *at night, pixel art, pencil sketch*.

# %% [markdown] lang="es" part="goal"
# ### Ejercicio 1 · Tu propia imagen
#
# Dibuja algo que todavía no haya salido en esta lección.
#
# El modelo conoce, entre otras cosas, *un robot, dos pandas, un coche rojo, una ardilla*; *en la
# playa, en la nieve, en el espacio*; *de noche, pixel art, dibujo a lápiz*.

# %% part="stub"
my_picture = ...  # draw("...", pipe=pipe, seed=...).image

my_picture

# %% part="check"
checks.my_picture(my_picture, seen=[plain, monet])

# %% part="solution"
words = say("two pandas in the snow, at night", "dos pandas en la nieve, de noche")
my_picture = draw(words, pipe=pipe, seed=3).image

my_picture

# %% part="wrong"
my_picture = say("two pandas in the snow", "dos pandas en la nieve")

# %% part="wrong"
my_picture = draw(prompt, pipe=pipe, seed=0).image

# %% part="wrong" half=true
my_picture = draw(say("two pandas in the snow", "dos pandas en la nieve"), pipe=pipe, seed=3)

# %% part="wrong"
my_picture = draw(
    say("broccoli in a field", "brócoli en el campo"), pipe=pipe, seed=0
).image  # black

# %% [markdown] lang="en" part="noticed"
# **What you should have noticed.** With steps and guidance left alone, one sentence and one number
# are a whole picture: with both, a friend can draw it too.

# %% [markdown] lang="es" part="noticed"
# **Lo que deberías haber notado.** Si no tocas los pasos ni la guía, una frase y un número son una
# imagen entera: dáselos a alguien y podrá dibujarla también.

# %% [markdown] lang="en"
# ## Four seeds
#
# A seed is the number that picks the noise. With the words unchanged and four seeds, how alike will
# the pictures be?

# %% [markdown] lang="es"
# ## Cuatro semillas
#
# La semilla es el número que elige el ruido. Con las mismas palabras y cuatro semillas, ¿cuánto se
# parecerán las imágenes?

# %%
four = [draw(prompt, pipe=pipe, seed=number).image for number in range(4)]
figures.strip(four, [f"seed={number}" for number in range(4)])

# %% [markdown] lang="en"
# The words say *what* is drawn, the noise settles *how*. Is a picture lost once you have drawn the
# next one? Ask for seed 0 again:

# %% [markdown] lang="es"
# Las palabras dicen qué se dibuja; el ruido decide cómo. Entonces, ¿se pierde una imagen al dibujar
# la siguiente? Pidamos otra vez la semilla 0:

# %% tags=["nbval-check-output"]
again = draw(prompt, pipe=pipe, seed=0).image

print(f"{again.size = }")
print(f"{same_picture(four[0], again) = }")
print(f"{same_picture(four[0], four[1]) = }")

# %% part="claim"
assert again.size == (128, 128), "the pocket model draws 128 x 128 pixels"
assert same_picture(four[0], again), "the same seed gives the same picture"
assert not same_picture(four[0], four[1]), "another seed gives another picture"

# %% [markdown] lang="en"
# The same seed gives the same picture, and another seed another one. That is why this course fixes
# the seed wherever it draws.

# %% [markdown] lang="es"
# La misma semilla da la misma imagen, y otra semilla da otra. Por eso este curso fija la semilla
# siempre que dibuja.

# %% [markdown] lang="en" part="discuss"
# Someone shows you one beautiful picture and says: *this model is good*. What would you ask?
#
# ---
#
# How many seeds were tried, and who chose? One picture shows what can happen, not what usually
# does. Ask for the first eight seeds, good or bad. [Lesson 04](lesson:04) is about this.

# %% [markdown] lang="es" part="discuss"
# Alguien te enseña una imagen preciosa y dice: *este modelo es bueno*. ¿Qué le preguntarías?
#
# ---
#
# ¿Cuántas semillas probó y quién eligió? Una imagen muestra lo que puede pasar, no lo que suele
# pasar. Pide las ocho primeras semillas, salgan como salgan. De esto trata la
# [lección 04](lesson:04).

# %% [markdown] lang="en" part="goal"
# ### Exercise 2 · Same noise, other words
#
# Write a function that draws two prompts from the same noise.

# %% [markdown] lang="es" part="goal"
# ### Ejercicio 2 · El mismo ruido, otras palabras
#
# Escribe una función que dibuje dos prompts a partir del mismo ruido.


# %% part="stub"
def draw_pair(first_prompt, second_prompt, seed):
    """Return two pictures that begin with the same noise."""
    # es: Devuelve dos imágenes que parten del mismo ruido.
    ...


# %% part="check"
checks.draw_pair(
    draw_pair,
    prompts=[monet_prompt, prompt],
    pictures=[monet, plain],
    draw=lambda text, seed: draw(text, pipe=pipe, seed=seed).image,
)


# %% part="solution"
def draw_pair(first_prompt, second_prompt, seed):
    """Return two pictures that begin with the same noise."""
    # es: Devuelve dos imágenes que parten del mismo ruido.
    return [draw(text, pipe=pipe, seed=seed).image for text in [first_prompt, second_prompt]]


# %% part="wrong"
def draw_pair(first_prompt, second_prompt, seed):
    """Draw the second picture from other noise."""
    # es: Dibuja la segunda imagen con otro ruido.
    first = draw(first_prompt, pipe=pipe, seed=seed).image
    return [first, draw(second_prompt, pipe=pipe, seed=seed + 1).image]


# %% part="wrong"
def draw_pair(first_prompt, second_prompt, seed):
    """Swap the two."""
    # es: Pone las dos al revés.
    return [draw(text, pipe=pipe, seed=seed).image for text in [second_prompt, first_prompt]]


# %% part="wrong"
def draw_pair(first_prompt, second_prompt, seed):
    """Forget .image."""
    # es: Olvida .image.
    return [draw(text, pipe=pipe, seed=seed) for text in [first_prompt, second_prompt]]


# %% part="wrong" half=true
def draw_pair(first_prompt, second_prompt, seed):
    """Use up one generator: the second picture gets the noise that comes after the first."""
    # es: Comparte un generador: la segunda imagen recibe el ruido que viene después.
    shared = torch.Generator("cpu").manual_seed(seed)
    prompts = [first_prompt, second_prompt]
    return [pipe(text, num_inference_steps=25, generator=shared).images[0] for text in prompts]


# %% [markdown] lang="en" part="noticed"
# **What you should have noticed.** `draw` makes its noise anew from the seed. A generator moves on
# as it is used: share one between two pictures, and the second begins with other noise.

# %% [markdown] lang="es" part="noticed"
# **Lo que deberías haber notado.** `draw` vuelve a crear el ruido a partir de la semilla. Un
# generador avanza al usarlo: si dos imágenes lo comparten, la segunda parte de otro ruido.

# %% [markdown] lang="en"
# ## Words it knows
#
# The pocket model reads English and Spanish. Will the same sentence in Spanish give the same
# picture?

# %% [markdown] lang="es"
# ## Las palabras que conoce
#
# El modelo de bolsillo lee español e inglés. Con la misma frase en inglés, ¿saldrá la misma
# imagen?

# %%
translated = say(
    "un astronauta montando un caballo en Marte", "an astronaut riding a horse on Mars"
)
other = draw(translated, pipe=pipe, seed=seed).image
print(same_picture(plain, other))
figures.strip([plain, other], [prompt, translated])

# %% part="claim"
assert not same_picture(plain, other), (
    "other words give another picture, even if they mean the same"
)

# %% [markdown] lang="en"
# Other words, other numbers inside the model, so not the same picture; judge for yourself whether
# it is the same scene.
#
# Its world is small, though. Which of these words lie outside it?

# %% [markdown] lang="es"
# Otras palabras son otros números dentro del modelo, así que no es la misma imagen; juzga tú si es
# la misma escena.
#
# Eso sí, su mundo es pequeño. ¿Cuáles de estas palabras quedan fuera?

# %% tags=["nbval-check-output"]
sentence = say("a squirel and a unicorn on Marz", "una ardila y un unicornio en Martte")
for word, suggestions in unknown_words(sentence):
    print(word, "→", ", ".join(suggestions) or "?")

# %% [markdown] lang="en"
# A typo gets a suggestion; a unicorn is simply not in this world. The big model of later lessons
# knows unicorns.

# %% [markdown] lang="es"
# Para una errata hay una sugerencia; un unicornio, en cambio, no existe en este mundo. El modelo
# grande de las lecciones siguientes sí conoce los unicornios.

# %% [markdown] lang="en" part="goal"
# ### Exercise 3 · Mend a prompt
#
# Say *a kitten in the jungle* in words that the pocket model knows, in English or in Spanish.

# %% [markdown] lang="es" part="goal"
# ### Ejercicio 3 · Arregla un prompt
#
# Di *un gatito en la selva* con palabras que el modelo de bolsillo conozca, en español o en inglés.

# %% part="stub"
my_prompt = ...

# %% part="check"
checks.my_prompt(my_prompt)

# %% part="solution"
my_prompt = say("a cat in the forest", "un gato en el bosque")

# %% part="wrong"
my_prompt = "a kitten in the jungle"

# %% part="wrong" half=true
my_prompt = "un gatito en el bosque"

# %% part="wrong"
my_prompt = "a robot in the forest"

# %% part="wrong"
my_prompt = ""

# %% [markdown] lang="en" part="noticed"
# **What you should have noticed.** A model only knows what it was shown. Asked for more, it does
# not complain: it draws something anyway. Try `draw("a unicorn on Mars", pipe=pipe)`.

# %% [markdown] lang="es" part="noticed"
# **Lo que deberías haber notado.** Un modelo solo conoce lo que se le ha enseñado. Si le pides más,
# no protesta: dibuja algo de todos modos. Prueba
# `draw("un unicornio en Marte", pipe=pipe)`.

# %% [markdown] lang="en"
# ## When something fails
#
# Ask the doctor first. It gives a line for each thing that the course needs, and says what to do
# where one is missing.

# %% [markdown] lang="es"
# ## Si algo falla
#
# Pregunta primero al doctor: te da una línea por cada cosa que necesita el curso y te dice qué
# hacer si alguna falta.

# %%
print(*doctor.check(), sep="\n")

# %% [markdown] lang="en"
# The three errors that most people meet:
#
# - `NameError: name 'pipe' is not defined`: a cell above has not run. In Colab *Runtime ▸ Run all*,
#   in JupyterLab *Run ▸ Run All Cells*.
# - `No module named 'sdlesson'`: the course is not installed. In Colab, run the first code cell;
#   elsewhere, open the course with `make lab`.
# - `CUDA out of memory`: the GPU is full. In Colab *Runtime ▸ Restart session*, in JupyterLab
#   *Kernel ▸ Restart Kernel*; then run all.

# %% [markdown] lang="es"
# Los tres errores con los que tropieza casi todo el mundo:
#
# - `NameError: name 'pipe' is not defined`: falta ejecutar una celda de arriba. En Colab, *Entorno
#   de ejecución ▸ Ejecutar todas*; en JupyterLab, *Run ▸ Run All Cells*.
# - `No module named 'sdlesson'`: el curso no está instalado. En Colab, ejecuta la primera celda de
#   código; fuera de Colab, abre el curso con `make lab`.
# - `CUDA out of memory`: la GPU está llena. En Colab, *Entorno de ejecución ▸ Reiniciar sesión*; en
#   JupyterLab, *Kernel ▸ Restart Kernel*. Después vuelve a ejecutar todas las celdas.

# %% [markdown] lang="en"
# ## Where to go next
#
# The lessons to come, in order:
#
# - [01](lesson:01) Log in and load a model
# - [02](lesson:02) The loop: how noise becomes a picture, by hand
# - [03](lesson:03) Guidance and steps, measured
# - [04](lesson:04) Prompts and bias
# - [05](lesson:05) Editing: change a picture, all of it or a part
# - [06](lesson:06) DreamBooth: teach it something of yours
# - [07](lesson:07) LoRA: the same, in a small file
# - [10](lesson:10) A Telegram bot
# - [11](lesson:11) The same bot in public
#
# Every new word is in the [glossary](lesson:glossary).

# %% [markdown] lang="es"
# ## Por dónde seguir
#
# Las lecciones que vienen, en orden:
#
# - [01](lesson:01) Iniciar sesión y cargar un modelo
# - [02](lesson:02) El bucle: cómo el ruido se vuelve imagen, a mano
# - [03](lesson:03) La guía y los pasos, con medidas
# - [04](lesson:04) Prompts y sesgos
# - [05](lesson:05) Edición: cambiar una imagen, entera o en parte
# - [06](lesson:06) DreamBooth: enséñale algo tuyo
# - [07](lesson:07) LoRA: lo mismo, en un archivo pequeño
# - [10](lesson:10) Un bot de Telegram
# - [11](lesson:11) El mismo bot, en público
#
# Cada palabra nueva está en el [glosario](lesson:glossary).
