# ---
# jupyter:
#   lesson:
#     names:
#       en: 00_start_here
#       es: 00_empieza_aqui
# ---

# %% [markdown] lang="en"
# # Start here
#
# In this lesson you will
# - find out what your machine can do,
# - draw pictures from words, and tell what each setting decides,
# - know what to do when something fails.
#
# **15 minutes · any computer, no GPU · no account · 30 MB to download on Colab, nothing elsewhere**
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
# **15 minutos · cualquier equipo, sin GPU · sin cuenta · 30 MB de descarga en Colab, nada fuera de
# él**
#
# Ejecuta cada celda con <kbd>Mayús</kbd> + <kbd>Intro</kbd>, de arriba abajo.

# %% part="setup"
import torch

import sdlesson
from sdlesson import doctor, draw, exercises, runtime
from sdlesson.images import image_grid, same_picture
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

prompt = "an astronaut riding a horse on Mars"
generator = torch.Generator("cpu").manual_seed(seed)
images = pipe(prompt, num_inference_steps=50, guidance_scale=7.5, generator=generator).images
images[0].resize((384, 384))

# %% [markdown] lang="en"
# You have just run Stable Diffusion. Did it copy a picture it was trained on? The rides that were
# kept out of its training are on a list:

# %% [markdown] lang="es"
# Acabas de ejecutar Stable Diffusion. ¿Habrá copiado una imagen de su entrenamiento? Hay una lista
# de jinetes y monturas que nunca se le enseñaron:

# %% tags=["nbval-check-output"]
print(("astronaut", "horse") in HELD_OUT_RIDES)

# %% [markdown] lang="en"
# `True`: it has met astronauts, and it has met horses, but never one on the other. It put them
# together by itself.
#
# Four things decide a picture: the words, the seed of the noise, the number of steps, the guidance.
# The course's `draw` takes them in one line. Does it draw the same?

# %% [markdown] lang="es"
# `True`: ha visto astronautas y ha visto caballos, pero nunca uno encima del otro. Los ha
# juntado por su cuenta.
#
# Cuatro cosas deciden una imagen: las palabras, la semilla del ruido, el número de pasos y la guía.
# La función `draw` del curso las recoge en una línea. ¿Dibujará lo mismo?

# %% tags=["nbval-check-output"]
drawing = draw(prompt, pipe=pipe, seed=seed, num_inference_steps=50, guidance_scale=7.5)
print(same_picture(images[0], drawing.image))

# %% [markdown] lang="en"
# It does, so we go on with `draw`. Leave them out, and steps are 25 and guidance is 7.5. What will
# change, and what will stay, if we add a painter to the words?

# %% [markdown] lang="es"
# Sí, así que seguimos con `draw`. Si no los indicas, son 25 pasos y una guía de 7.5. ¿Qué cambiará
# y qué seguirá igual si añadimos un pintor a las palabras?

# %%
monet_prompt = f"{prompt}, in the style of Monet"
plain = draw(prompt, pipe=pipe, seed=0).image
monet = draw(monet_prompt, pipe=pipe, seed=0).image
image_grid([plain, monet], columns=2)

# %% [markdown] lang="en"
# The noise was the same and only five words were new. Compare the edges, the colours, and where
# things stand.

# %% [markdown] lang="es"
# El ruido era el mismo y solo había cinco palabras nuevas. Compara los contornos, los colores y el
# lugar de cada cosa.

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
exercises.check(
    my_picture,
    lambda picture: not any(same_picture(picture, seen) for seen in [plain, monet]),
    hint=say("Use your words, and .image.", "Usa palabras tuyas, y .image."),
)

# %% part="solution"
my_picture = draw("two pandas in the snow, at night", pipe=pipe, seed=3).image

my_picture

# %% part="wrong"
my_picture = "two pandas in the snow"

# %% part="wrong"
my_picture = draw("an astronaut riding a horse on Mars", pipe=pipe, seed=0).image

# %% [markdown] lang="en" part="noticed"
# **What you should have noticed.** With steps and guidance left alone, one sentence and one number
# are a whole picture: give both to a friend, and they can draw it too.

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
image_grid(four, columns=4, labels=[f"seed={number}" for number in range(4)])

# %% [markdown] lang="en"
# The words say what is drawn; the noise settles how. So is a picture lost once you draw the next
# one? Ask for seed 0 again:

# %% [markdown] lang="es"
# Las palabras dicen qué se dibuja; el ruido decide cómo. Entonces, ¿se pierde una imagen al dibujar
# la siguiente? Pidamos otra vez la semilla 0:

# %% tags=["nbval-check-output"]
again = draw(prompt, pipe=pipe, seed=0).image

print(f"{again.size = }")
print(f"{same_picture(four[0], again) = }")
print(f"{same_picture(four[0], four[1]) = }")

# %% [markdown] lang="en"
# The same seed gives the same picture, and another seed another one. That is why every picture in
# this course names its seed.

# %% [markdown] lang="es"
# La misma semilla da la misma imagen, y otra semilla da otra. Por eso en este curso cada imagen
# lleva su semilla.

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
    ...


# %% part="check"
exercises.check(
    lambda: draw_pair(monet_prompt, prompt, seed=0),
    [monet, plain],
    hint=say("Call draw once for each prompt.", "Llama a draw una vez por cada prompt."),
)


# %% part="solution"
def draw_pair(first_prompt, second_prompt, seed):
    """Return two pictures that begin with the same noise."""
    return [draw(text, pipe=pipe, seed=seed).image for text in [first_prompt, second_prompt]]


# %% part="wrong"
def draw_pair(first_prompt, second_prompt, seed):
    """Draw the second picture from other noise."""
    first = draw(first_prompt, pipe=pipe, seed=seed).image
    return [first, draw(second_prompt, pipe=pipe, seed=seed + 1).image]


# %% part="wrong"
def draw_pair(first_prompt, second_prompt, seed):
    """Use up one generator: the second picture gets the noise that comes after the first."""
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
# El modelo de bolsillo lee español e inglés. Con la misma frase en español, ¿saldrá la misma
# imagen?

# %%
spanish = draw("un astronauta montando un caballo en Marte", pipe=pipe, seed=0).image
print(same_picture(plain, spanish))
image_grid([plain, spanish], columns=2, labels=["en", "es"])

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
for word, suggestions in unknown_words("a squirel and a unicorn on Marz"):
    print(word, "→", ", ".join(suggestions) or "?")

# %% [markdown] lang="en"
# A slip of the pen gets a suggestion; a unicorn is simply not in this world. The big model of later
# lessons knows unicorns.

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
exercises.check(
    my_prompt,
    lambda words: words.strip() and not unknown_words(words),
    hint=say("See unknown_words(my_prompt).", "Mira unknown_words(my_prompt)."),
)

# %% part="solution"
my_prompt = say("a cat in the forest", "un gato en el bosque")

# %% part="wrong"
my_prompt = "a kitten in the jungle"

# %% part="wrong"
my_prompt = "un gatito en el bosque"

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
# - `NameError: name 'pipe' is not defined`: a cell above has not run. *Runtime ▸ Run all*.
# - `No module named 'sdlesson'`: the course is not installed. In Colab, run the first code cell;
#   elsewhere, open the course with `make lab`.
# - `CUDA out of memory`: the GPU is full. *Runtime ▸ Restart session*, then run all.

# %% [markdown] lang="es"
# Los tres errores con los que tropieza casi todo el mundo:
#
# - `NameError: name 'pipe' is not defined`: falta ejecutar una celda de arriba. *Entorno de
#   ejecución ▸ Ejecutar todas*.
# - `No module named 'sdlesson'`: el curso no está instalado. En Colab, ejecuta la primera celda de
#   código; fuera de Colab, abre el curso con `make lab`.
# - `CUDA out of memory`: la GPU está llena. *Entorno de ejecución ▸ Reiniciar sesión* y vuelve a
#   ejecutar todas las celdas.

# %% [markdown] lang="en"
# ## Where to go next
#
# Now you have drawn, composed and repeated a picture. The lessons to come, in order:
#
# 1. Log in and load a model
# 2. The denoising loop, by hand
# 3. Guidance and steps, measured
# 4. Prompts and bias
# 5. Editing pictures
# 6. DreamBooth
# 7. LoRA
# 8. Speed and memory
# 9. A diffusion model from scratch
# 10. A Telegram bot

# %% [markdown] lang="es"
# ## Por dónde seguir
#
# Ya has dibujado, combinado y repetido una imagen. Estas son las lecciones que vienen, en orden:
#
# 1. Iniciar sesión y cargar un modelo
# 2. El bucle que quita el ruido, a mano
# 3. La guía y los pasos, con medidas
# 4. Prompts y sesgos
# 5. Editar imágenes
# 6. DreamBooth
# 7. LoRA
# 8. Velocidad y memoria
# 9. Un modelo de difusión desde cero
# 10. Un bot de Telegram
