# ---
# jupyter:
#   lesson:
#     names:
#       en: 06_dreambooth
#       es: 06_dreambooth
#     colab_lacks: ["bitsandbytes>=0.45,<1"]
#     widgets: true
#     minutes: 60
#     after: ["02", "04"]
#     knows: {en: "what a loss and an optimizer are", es: "qué son una pérdida y un optimizador"}
#     needs:
#       en: "any computer, with or without GPU · no account · 2.7 GB to download with a GPU,
#        nothing without one"
#       es: "cualquier equipo, con o sin GPU · sin cuenta · 2.7 GB de descarga con GPU, nada sin
#        ella"
# ---

# %% [markdown] lang="en"
# # DreamBooth: teach the model something new
#
# In this lesson you will
# - teach the model a thing it never saw, from four photos, and draw it where it never was,
# - measure what that costs: overfitting and language drift,
# - mend it with prior preservation, and know what is not yours to train.

# %% [markdown] lang="es"
# # DreamBooth: enséñale algo nuevo al modelo
#
# En esta lección vas a
# - enseñarle al modelo, con cuatro fotos, algo que nunca vio y dibujarlo donde nunca estuvo,
# - medir lo que eso cuesta: sobreajuste y deriva del lenguaje,
# - remediarlo con la preservación del conocimiento previo y saber qué no debes entrenar.

# %% part="setup"
from copy import deepcopy
from dataclasses import replace
from tempfile import TemporaryDirectory

import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel

import sdlesson
from sdlesson.diffusion import add_noise, decode, embed
from sdlesson.exercises import lesson_06 as checks
from sdlesson.experiments import sweep
from sdlesson.figures import bars, curves, grid, strip
from sdlesson.figures.finetuning import dreambooth_batch
from sdlesson.finetuning import History, TrainingSettings, estimate_memory, train
from sdlesson.images import to_pixels
from sdlesson.language import say
from sdlesson.metrics import diversity, image_similarity, mean, measured, pocket_probe, share
from sdlesson.pocket.evaluation.macs import SD15_UNET
from sdlesson.pocket.world import PLACE_WORDS, PLACES, subject
from sdlesson.prompts import unknown_words
from sdlesson.widgets import PhotoUpload, TrainingPanel

seed = 0

# %% [markdown] lang="en" short=true
# ## Four photos
#
# Our robot is called Plimo. The pocket model draws robots, but not this one: it was in no picture
# of its training, and these four photos are all that we have. What would have to change in the
# model?

# %% [markdown] lang="es" short=true
# ## Cuatro fotos
#
# Nuestro robot se llama Plimo. El modelo de bolsillo dibuja robots, pero no este: no salía en
# ninguna imagen de su entrenamiento, y solo tenemos estas cuatro fotos. ¿Qué tendría que cambiar en
# el modelo?

# %%
pocket = sdlesson.load_pipeline("pocket")
pocket.set_progress_bar_config(disable=True)

photos = subject.subject_photos(4)
strip(photos)

# %% [markdown] lang="en"
# *Fine-tuning* takes a finished model and goes on training it, on pictures of your own.
# **DreamBooth** ([Ruiz et al. 2023](https://arxiv.org/abs/2208.12242)) does so with three to five
# photos of one thing, and ties that thing to a word.

# %% [markdown] lang="es"
# El *ajuste fino* toma un modelo terminado y sigue entrenándolo con imágenes tuyas. **DreamBooth**
# ([Ruiz et al. 2023](https://arxiv.org/abs/2208.12242)) lo hace con entre tres y cinco fotos de una
# sola cosa, y ata esa cosa a una palabra.

# %% [markdown] lang="en"
# ## A word that means nothing
#
# Which word? Here are three, each before the *class noun*, which says what kind of thing it is
# (*robot*). Nothing is trained yet. What will each row show?

# %% [markdown] lang="es"
# ## Una palabra que no significa nada
#
# ¿Qué palabra? Aquí van tres, delante del *nombre de la clase*, que dice qué clase de cosa es
# (*robot*). Los textos van en inglés porque así los escribe el entrenador, pensado también para SD
# 1.5. Todavía no se ha entrenado nada. ¿Qué mostrará cada fila?

# %%
names = ["sushi", "starfish", subject.SUBJECT_WORD]
named = sweep(pocket, [f"a {name} robot" for name in names], seed=range(2), guidance_scale=5)
named.grid(rows="prompt", columns="seed")

# %% [markdown] lang="en"
# The model knows *sushi*, so sushi gets in. It never read *starfish*, and yet a fish gets in with
# it. The last row shows robots and nothing else. Why? A model reads pieces of words, *tokens*:

# %% [markdown] lang="es"
# El modelo conoce *sushi*, y el sushi se cuela. *starfish* (estrella de mar) no lo leyó nunca y,
# aun así, con él se cuela un pez. La última fila solo muestra robots. ¿Por qué? El modelo lee
# trozos de palabras, *tokens*:

# %% tags=["nbval-check-output"]
for name in names:
    print(f"{name:>10}", pocket.tokenizer.tokenize(name))
unknown = [unknown.word for unknown in unknown_words("a starfish robot")]
print(say("unknown in", "desconocidas en"), "a starfish robot:", *unknown)

# %% [markdown] lang="en" part="goal"
# ### Exercise 1 · Rare to the last piece
#
# Keep the candidates of which no piece is a word that the model knows. `unknown_words(text)` lists
# the words it does not know; a piece may end with `</w>`, which is not part of the word.

# %% [markdown] lang="es" part="goal"
# ### Ejercicio 1 · Rara hasta el último trozo
#
# Quédate con las candidatas en las que ningún trozo es una palabra que el modelo conozca.
# `unknown_words(texto)` da las palabras que no conoce; un trozo puede acabar en `</w>`, que no
# forma parte de la palabra.


# %% part="stub"
def rare_words(candidates):
    """The candidates of which every piece is unknown to the model."""
    # es: Las candidatas cuyos trozos el modelo desconoce, todos.
    ...


# %% part="check"
checks.rare_words(rare_words, pocket.tokenizer.tokenize, subject.SUBJECT_WORD)


# %% part="solution"
def rare_words(candidates):
    """The candidates of which every piece is unknown to the model."""
    # es: Las candidatas cuyos trozos el modelo desconoce, todos.
    kept = []
    for word in candidates:
        pieces = [piece.removesuffix("</w>") for piece in pocket.tokenizer.tokenize(word)]
        if all(unknown_words(piece) for piece in pieces):
            kept.append(word)
    return kept


# %% part="wrong"
def rare_words(candidates):
    """Ask about whole words only."""
    # es: Pregunta solo por palabras enteras.
    return [word for word in candidates if unknown_words(word)]


# %% part="wrong"
def rare_words(candidates):
    """Ask about the pieces as they are, with their `</w>`."""
    # es: Pregunta por los trozos tal cual, con su `</w>`.
    tokenize = pocket.tokenizer.tokenize
    return [word for word in candidates if all(unknown_words(p) for p in tokenize(word))]


# %% part="wrong" half=true
def rare_words(candidates):
    """Be content with one unknown piece."""
    # es: Se contenta con un trozo desconocido.
    tokenize = pocket.tokenizer.tokenize
    return [
        w for w in candidates if any(unknown_words(p.removesuffix("</w>")) for p in tokenize(w))
    ]


# %% part="wrong"
def rare_words(candidates):
    """Take few pieces for rare ones."""
    # es: Toma pocos trozos por trozos raros.
    return [word for word in candidates if len(pocket.tokenizer.tokenize(word)) <= 3]


# %% [markdown] lang="en" part="noticed"
# **What you should have noticed.** A good name brings no meaning of its own that training would
# have to fight. Plimo's will be *zwx*. For SD 1.5 nobody has a list of known words: before you
# train, draw with yours. Even *sks*, which many recipes use, is a rifle.

# %% [markdown] lang="es" part="noticed"
# **Lo que deberías haber notado.** Un buen nombre no trae un significado contra el que luchar. El
# de Plimo será *zwx*. De SD 1.5 nadie tiene la lista de palabras conocidas: antes de entrenar,
# dibuja con la tuya. Hasta *sks*, que usan muchas recetas, es un fusil.

# %% [markdown] lang="en"
# ## One step by hand
#
# First, what does not change during the training is computed once and kept: the latents of the
# photos, and the embeddings of their texts. Why is that allowed?

# %% [markdown] lang="es"
# ## Un paso a mano
#
# Primero, lo que no cambia durante el entrenamiento se calcula una vez y se guarda: los latentes de
# las fotos y los embeddings de sus textos. ¿Por qué se puede?

# %%
texts = subject.subject_prompts(4)
with torch.no_grad():
    latents = pocket.vae.encode(to_pixels(photos)).latent_dist.mean
    latents = latents * pocket.vae.config.scaling_factor
    embeddings = embed(pocket, texts)

print(*texts, sep="\n")
print(latents.shape, embeddings.shape)

# %% [markdown] lang="en"
# Because the VAE and the text encoder stay as they are; only the U-Net learns. It learns as in its
# first training ([lesson 02](lesson:02)): we hide the photo under noise, the U-Net guesses the
# noise, and we correct it.

# %% [markdown] lang="es"
# Porque el VAE y el codificador de texto se quedan como están; solo aprende la U-Net. Aprende como
# en su primer entrenamiento ([lección 02](lesson:02)): tapamos la foto con ruido, la U-Net lo
# adivina y la corregimos.


# %%
def errors_at(unet, timestep):
    """Return the squared error of the noise that the U-Net predicts, for each photo."""
    # es: Devuelve el error cuadrático del ruido que predice la U-Net, para cada foto.
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(seed))
    timesteps = torch.full((len(latents),), timestep)
    noisy = add_noise(latents, noise, timesteps, pocket.scheduler.alphas_cumprod)
    noise_pred = unet(noisy, timesteps, encoder_hidden_states=embeddings).sample
    return ((noise_pred - noise) ** 2).mean((1, 2, 3)), noisy  # (4,), (4, 4, 16, 16)


labels, hidden = [], []
with torch.no_grad():
    for timestep in [20, 300, 700]:
        errors, noisy = errors_at(pocket.unet, timestep)
        labels.append(f"{timestep}: {errors.mean():.3f}")
        hidden += decode(pocket, noisy[:1])
strip(hidden, labels)

# %% [markdown] lang="en"
# Under each picture: its timestep, and the mean error of the four photos there. It is large where
# there is little noise to find, and small where there is hardly anything but noise. Now one step of
# the optimizer, on a copy:

# %% [markdown] lang="es"
# Debajo de cada imagen: su instante (*timestep*) y el error medio de las cuatro fotos en él. Es
# grande donde hay poco ruido que encontrar y pequeño donde casi todo es ruido. Ahora, un paso del
# optimizador, sobre una copia:

# %%
learner = deepcopy(pocket.unet).requires_grad_(True)
optimizer = torch.optim.AdamW(learner.parameters(), lr=1e-4)

loss = errors_at(learner, 300)[0].mean()
loss.backward()  # which way would each weight lower the loss?
# es: ¿hacia dónde bajaría la pérdida cada peso?
optimizer.step()  # a small step that way, for all of them
# es: un pasito hacia ahí, para todos
after = errors_at(learner, 300)[0].mean()

print(f"{sum(weights.numel() for weights in learner.parameters()):,}", say("weights", "pesos"))
print(say("loss", "pérdida"), f"{loss:.4f} → {after:.4f}")

# %% part="claim"
assert bool(after < loss), "one step lowers the loss on its own batch"

# %% [markdown] lang="en"
# That is all DreamBooth does. What follows is this step a hundred times or more, each with fresh
# noise at a random level.

# %% [markdown] lang="es"
# Eso es todo lo que hace DreamBooth. Lo que sigue es este paso cien veces o más, cada una con otro
# ruido y otro nivel, elegidos al azar.

# %% [markdown] lang="en" part="discuss"
# Suppose you teach it your mug, and all your photos show it on the same table. What will the model
# learn as *zwx*, and how would you notice?
#
# ---
#
# Mug and table together: nothing in the photos says which of the two the word means. Ask for the
# mug elsewhere: if the table comes along, take photos in other places, and name these in the texts.

# %% [markdown] lang="es" part="discuss"
# Supón que le enseñas tu taza y que en todas las fotos está sobre la misma mesa. ¿Qué aprenderá el
# modelo como *zwx* y cómo lo notarías?
#
# ---
#
# La taza y la mesa juntas: nada en las fotos dice a cuál de las dos se refiere la palabra. Pide la
# taza en otro sitio: si viene la mesa, haz fotos en otros lugares y nómbralos en los textos.

# %% [markdown] lang="en"
# ## Will it fit?
#
# Training needs more memory than drawing: for each weight also its gradient and two averages that
# AdamW keeps, and what the layers compute on the way (*activations*). How much is that for the
# pocket model?

# %% [markdown] lang="es"
# ## ¿Cabrá?
#
# Entrenar ocupa más que dibujar: por cada peso, además, su gradiente y dos medias que guarda AdamW;
# y lo que las capas calculan por el camino (*activaciones*). ¿Cuánto es eso en el modelo de
# bolsillo?

# %%
thing = f"a {subject.SUBJECT_WORD} robot"
settings = TrainingSettings(
    word=subject.SUBJECT_WORD,
    class_noun="robot",
    rank=None,  # train all of the U-Net; a number would make a LoRA, lesson 07
    # es: entrena toda la U-Net; con un número sería una LoRA, lección 07
    prior="none",
    steps=120,
    sample_prompts=(f"{thing} on Mars",),
    sample_every=40,
)
print(estimate_memory(pocket, settings, height=128, width=128))

# %% [markdown] lang="en"
# (Less than the sum: gradients come as activations go.) The same for Stable Diffusion 1.5 at 512
# pixels, on a model of its shape without weights. Colab's T4 has 15 GB. Which of these will fit?

# %% [markdown] lang="es"
# (Menos que la suma: los gradientes llegan cuando las activaciones se van.) Lo mismo para Stable
# Diffusion 1.5 a 512 píxeles, con un modelo de su forma pero sin pesos. La T4 de Colab tiene 15 GB.
# ¿Cuáles de estos cabrán?

# %%
with torch.device("meta"):  # shapes without numbers: nothing to download, no memory to fill
    # es: formas sin números: nada que descargar ni memoria que llenar
    unet = UNet2DConditionModel.from_config(SD15_UNET).half()
big = StableDiffusionPipeline(**pocket.components | {"unet": unet})

one = replace(settings, batch_size=1, gradient_checkpointing=True)
for name, tried in {
    say("full, four photos a step", "completo, cuatro fotos por paso"): settings,
    say("full, one, checkpointing", "completo, una, checkpointing"): one,
    say("LoRA, one, checkpointing", "LoRA, una, checkpointing"): replace(one, rank=4),
}.items():
    print(f"{name}: {estimate_memory(big, tried, height=512, width=512)}")

# %% part="claim"
whole, checkpointed, lora = (
    estimate_memory(big, tried, height=512, width=512).total / 2**30
    for tried in (settings, one, replace(one, rank=4))
)
assert whole > 15 > checkpointed > lora, "all but the first fit a T4"

# %% [markdown] lang="en"
# All but the first. `train` counts before it starts, refuses what cannot fit, and names the setting
# that would. *Checkpointing* computes activations twice instead of keeping them; on a CUDA GPU,
# `use_8bit_adam` keeps the optimizer in a quarter of its space.

# %% [markdown] lang="es"
# Todos menos el primero. `train` hace la cuenta antes de empezar, rechaza lo que no cabe y dice con
# qué ajuste cabría. Con *checkpointing*, las activaciones se calculan dos veces en vez de
# guardarse; en una GPU con CUDA, `use_8bit_adam` deja el optimizador en la cuarta parte.

# %% [markdown] lang="en"
# ## Train, stop, go on
#
# First, pictures from before the training: Plimo and any robot in eight places, always from the
# same noise. Four of these places are in no photo, but the course can paint Plimo there too, so
# there are references to compare with: here on Mars, in the forest and in space.

# %% [markdown] lang="es"
# ## Entrenar, parar, seguir
#
# Primero, imágenes de antes de entrenar: Plimo y un robot cualquiera en ocho lugares, siempre con
# el mismo ruido. Cuatro de esos lugares no salen en ninguna foto, pero el curso sabe pintar allí a
# Plimo, así que hay referencias con las que comparar: aquí, Marte, el bosque y el espacio.

# %%
where = [PLACE_WORDS["en"][place][0] for place in PLACES]
references = [subject.subject_photo(place, seed=100) for place in PLACES]


def eight_and_eight(pipe):
    """Draw Plimo in eight places, and any robot in the same."""
    # es: Dibuja a Plimo en ocho lugares, y un robot cualquiera en los mismos.
    prompts = [f"{name} {place}" for name in (thing, "a robot") for place in where]
    drawn = sweep(pipe, prompts, seed=seed, guidance_scale=5, report=lambda note: None)
    return drawn.images[:8], drawn.images[8:]


plimos, robots = {}, {}  # by the number of steps
# es: por número de pasos
plimos[0], robots[0] = eight_and_eight(pocket)
grid(references[:6:2] + plimos[0][:6:2], columns=3)

# %% [markdown] lang="en"
# Above, what we want; below, what the untrained model makes of *a zwx robot*.
#
# `train` repeats the step, and keeps its state in a folder. Here it stops itself after 40 of 120
# steps, as the notebook's stop button would. What is lost?

# %% [markdown] lang="es"
# Arriba, lo que queremos; abajo, lo que el modelo sin entrenar entiende por *a zwx robot*.
#
# `train` repite el paso y guarda su estado en una carpeta. Aquí se para tras 40 de 120 pasos, como
# haría el botón de parada del cuaderno. ¿Qué se pierde?

# %%
storage = TemporaryDirectory()  # on Colab, a folder in Drive would outlive the machine
# es: en Colab, una carpeta de Drive duraría más que la máquina
folder = storage.name
panel = TrainingPanel()


def stop_after_40(step):
    """Show each step, and after the fortieth do what the stop button does."""
    # es: Muestra cada paso y, tras el cuadragésimo, hace lo que el botón de parada.
    panel(step)
    if step.index + 1 == 40:
        raise KeyboardInterrupt


train(pocket, photos, settings, f"{folder}/alone", prompts=texts, callback=stop_after_40)
plimos[40], robots[40] = eight_and_eight(pocket)

# %% [markdown] lang="en"
# Nothing. The same call goes on from there, and reaches the very weights of a run that was never
# stopped. (You may raise `steps` first; other settings must stay.)

# %% [markdown] lang="es"
# Nada. La misma llamada sigue desde ahí y llega a los mismos pesos que si nunca se hubiera parado.
# (Antes puedes aumentar `steps`; los demás ajustes no cambian.)

# %%
training = train(pocket, photos, settings, f"{folder}/alone", prompts=texts, callback=panel)
plimos[120], robots[120] = eight_and_eight(pocket)

# %% part="claim"
assert training.finished, "the second call goes on to the end"
assert len(training.history.steps) == 120, "no step is done twice"

# %% [markdown] lang="en" short=true
# ## Has it learnt Plimo?
#
# The curve is a mean over many steps, for the loss of a single one jumps: each draws its own noise
# levels. So split it by level. How much of the error of the first 40 steps is left in the last 40?

# %% [markdown] lang="es" short=true
# ## ¿Ha aprendido a Plimo?
#
# La curva es una media de muchos pasos, porque de uno a otro la pérdida da saltos: cada paso sortea
# sus niveles de ruido. Así que sepárala por niveles. Del error de los 40 primeros pasos, ¿cuánto
# queda en los 40 últimos?

# %%
steps = training.history.steps
first, last = History(steps[:40]).by_timestep(5), History(steps[-40:]).by_timestep(5)

left = [after.value / before.value for before, after in zip(first, last, strict=True)]

for level, part in enumerate(left):
    start = 200 * level
    print(say("timestep", "instante"), f"{start:>3} … {start + 199}: {part:.0%}")

# %% part="claim"
assert max(left[1:4]) < 0.8, "the error fell at every level in the middle"

# %% [markdown] lang="en"
# The error fell. But these are errors on four photos, and four photos can be learnt by heart. The
# test is where Plimo never was: other places and styles.

# %% [markdown] lang="es"
# El error ha bajado. Pero es el error en cuatro fotos, y cuatro fotos se pueden aprender de
# memoria. La prueba está donde Plimo nunca estuvo: en otros lugares y otros estilos.

# %%
styles = ["in the style of Monet", "pencil sketch", "pixel art", "at night"]
styled = sweep(
    pocket, [f"{thing} on Mars, {style}" for style in styles], seed=seed, guidance_scale=5
)
grid(plimos[120][::2] + styled.images, columns=4)

# %% [markdown] lang="en"
# One big eye, on Mars, in paint, in pixels: nobody showed it that. (Pencil has no red.) In numbers:
# the probe reads places and styles, and CLIP says how similar the pictures are to the references,
# and these to each other: more cannot be had.

# %% [markdown] lang="es"
# Un solo ojo grande, en Marte, al óleo, en píxeles: eso no se lo ha enseñado nadie. (A lápiz no hay
# rojo.) En números: la sonda lee lugares y estilos, y CLIP dice cuánto se parecen las imágenes a
# las referencias, y estas entre sí: más no se puede pedir.


# %%
def likeness(images):
    """How like the references pictures are."""
    # es: Cuánto se parecen las imágenes a las referencias.
    return mean(image_similarity(images, references))


read = pocket_probe().read(plimos[120])
asked = zip(pocket_probe().read(styled.images), ["monet", "pencil", "pixel", "night"], strict=True)
in_style = share(reading.style == style for reading, style in asked)
right = share(reading.place == place for reading, place in zip(read, PLACES, strict=True))
print(say("similarity before:", "parecido antes:"), likeness(plimos[0]))
print(say("after:", "después:"), likeness(plimos[120]))
print(
    say("of the references to each other:", "de las referencias entre sí:"),
    f"{1 - diversity(references):.3g}",
)
print(say("places right:", "lugares correctos:"), right)
print(say("styles right:", "estilos correctos:"), in_style)

# %% part="claim"
assert likeness(plimos[120]).value > likeness(plimos[0]).value + 0.05, "Plimo has been learnt"
assert right.value > 0.7, "places have stayed"
assert in_style.value > 0.7, "and styles"

# %% [markdown] lang="en"
# ## What it cost
#
# Plimo is one robot among many. **Predict:** what does the model draw now for *a robot*, any robot?
# Above, before the training; below, after it; each column starts from the same noise:

# %% [markdown] lang="es"
# ## Lo que ha costado
#
# Plimo es un robot entre muchos. **Haz tu predicción:** ¿qué dibuja ahora el modelo si le pides un
# robot cualquiera (*a robot*)? Arriba, antes de entrenar; abajo, después; cada columna, con un
# mismo ruido:

# %%
grid(robots[0][:6:2] + robots[120][:6:2], columns=3)

# %% [markdown] lang="en"
# Every robot has something of Plimo now. This is **language drift**: *robot* stood in each of our
# texts, so its meaning was changed too. How similar to Plimo do both become during the training?

# %% [markdown] lang="es"
# Ahora todos los robots tienen algo de Plimo. Es la **deriva del lenguaje**: *robot* estaba en cada
# uno de nuestros textos, así que su significado también cambió. ¿Cuánto se parece cada uno a Plimo
# a lo largo del entrenamiento?

# %%
curves(
    list(plimos),
    {
        thing: [likeness(images) for images in plimos.values()],
        "a robot": [likeness(images) for images in robots.values()],
    },
    x_label=say("steps", "pasos"),
    y_label=say("similarity to Plimo", "parecido con Plimo"),
    title=say("What was taught, and what was dragged along", "Lo enseñado y lo arrastrado"),
)

# %% part="claim"
assert likeness(robots[120]).value > likeness(robots[0]).value + 0.05, "any robot has moved"

# %% [markdown] lang="en"
# Both end above where they began: nothing told the model that only *zwx* is Plimo. And with more
# steps? Here is the same training taken much further, and judged on many pictures. What rises, and
# what falls?

# %% [markdown] lang="es"
# Los dos acaban por encima de donde empezaron: nada le dijo al modelo que solo *zwx* es Plimo. ¿Y
# con más pasos? Aquí está el mismo entrenamiento, llevado mucho más lejos y juzgado con muchas
# imágenes. ¿Qué sube y qué baja?


# %%
def overfitting(model, title):
    """Draw what a training reached and what it lost, step by step."""
    # es: Dibuja qué alcanzó un entrenamiento y qué perdió, paso a paso.
    rows = [row for row in table.rows if row["model"] == model]
    columns = ["closed", "style", "class_right"]
    return curves(
        [row["steps"] for row in rows],
        {table.heading(name): [row[name] for row in rows] for name in columns},
        x_label=table.heading("steps"),
        y_label=table.caption.split(";")[0],
        title=title,
        percent=True,
    )


table = measured("dreambooth_steps")
overfitting("full, no prior", say("Without a prior", "Sin conocimiento previo"))

# %%
full = {row["steps"]: row for row in table.rows if row["model"] == "full, no prior"}
for steps in [0, 100, 400]:
    print(say("steps", "pasos"), f"{steps:>3}", end=" · ")
    print(say("diversity", "diversidad"), f"{full[steps]['diversity'].value:.2f}")

# %% part="claim"
assert full[400]["closed"].value < full[100]["closed"].value + 0.1, "Plimo comes no closer"
assert full[400]["style"].value > 0.9, "styles stay"
assert full[400]["class_right"].value < 0.6, "any robot is soon Plimo"
assert full[400]["diversity"].value < full[0]["diversity"].value / 2, "pictures grow alike"

# %% [markdown] lang="en"
# *The gap* goes from any robot to the references; the *bare class* is *a robot*, without our word.
# From a hundred steps on Plimo comes no closer, and pictures of one place grow alike; styles stay,
# but any robot is Plimo. The photos are learnt, not the thing: **overfitting**. Where would you
# stop?

# %% [markdown] lang="es"
# *La distancia* va de un robot cualquiera a las referencias; la *clase sola* es *a robot*, sin
# nuestra palabra. A partir de cien pasos Plimo no se acerca y las imágenes de un lugar acaban casi
# iguales; los estilos siguen, pero cualquier robot es Plimo. Ha aprendido estas fotos, no la cosa:
# **sobreajuste**. ¿Dónde pararías?

# %% [markdown] lang="en" part="goal"
# ### Exercise 2 · Read the curve
#
# `kept` says how well everything else is kept: for instance, how often the style is right. It may
# fall by at most `give_up` from its first value. Of the steps that stay within that, return the one
# with the highest `fidelity`.

# %% [markdown] lang="es" part="goal"
# ### Ejercicio 2 · Lee la curva
#
# `kept` dice cuánto se conserva lo demás: por ejemplo, cuántas veces acierta el estilo. Aceptas que
# baje como mucho `give_up` desde su primer valor. De los pasos que lo cumplen, devuelve el de mayor
# fidelidad (`fidelity`).


# %% part="stub"
def best_step(steps, fidelity, kept, give_up):
    """The step with the highest fidelity of those where `kept` lost at most `give_up`."""
    # es: El paso de mayor fidelidad de aquellos en que `kept` perdió como mucho `give_up`.
    ...


# %% part="check"
checks.best_step(best_step)


# %% part="solution"
def best_step(steps, fidelity, kept, give_up):
    """The step with the highest fidelity of those where `kept` lost at most `give_up`."""
    # es: El paso de mayor fidelidad de aquellos en que `kept` perdió como mucho `give_up`.
    allowed = [i for i, value in enumerate(kept) if kept[0] - value <= give_up]
    return steps[max(allowed, key=lambda i: fidelity[i])]


# %% part="wrong"
def best_step(steps, fidelity, kept, give_up):
    """Look at fidelity alone."""
    # es: Mira solo la fidelidad.
    return steps[fidelity.index(max(fidelity))]


# %% part="wrong" half=true
def best_step(steps, fidelity, kept, give_up):
    """Take the last step that keeps to it."""
    # es: Toma el último paso que lo cumple.
    return [step for step, value in zip(steps, kept, strict=True) if kept[0] - value <= give_up][-1]


# %% part="wrong"
def best_step(steps, fidelity, kept, give_up):
    """Stop at the first step that does not keep to it."""
    # es: Se detiene en el primer paso que no lo cumple.
    for i, value in enumerate(kept):
        if kept[0] - value > give_up:
            return steps[i - 1]
    return steps[-1]


# %% part="wrong"
def best_step(steps, fidelity, kept, give_up):
    """Weigh both alike, and forget what may be given up."""
    # es: Da a las dos el mismo peso y olvida lo que se acepta perder.
    return max(zip(fidelity, kept, steps, strict=True), key=lambda row: row[0] + row[1])[2]


# %% part="wrong"
def best_step(steps, fidelity, kept, give_up):
    """Return the position of the step."""
    # es: Devuelve la posición del paso.
    allowed = [i for i, value in enumerate(kept) if kept[0] - value <= give_up]
    return max(allowed, key=lambda i: fidelity[i])


# %% [markdown] lang="en" part="noticed"
# **What you should have noticed.** No curve says where to stop until you say what you can give up,
# and the loss tells you nothing about it. So draw on the way: the new thing, and what should stay.
# Try your function on the columns of `table`.

# %% [markdown] lang="es" part="noticed"
# **Lo que deberías haber notado.** Ninguna curva dice dónde parar hasta que decides qué puedes
# perder, y la pérdida no te dice nada de eso. Así que dibuja por el camino: lo nuevo y lo que debe
# quedarse. Prueba tu función con las columnas de `table`.

# %% [markdown] lang="en" part="discuss"
# Suppose the loss still falls at step 400. Why is that not a reason to go on?
#
# ---
#
# It is measured on the photos that are being learnt, so learning them by heart lowers it too.
# Whether Plimo can be drawn elsewhere, and whether styles and robots stay, shows only in new
# pictures.

# %% [markdown] lang="es" part="discuss"
# Supón que la pérdida sigue bajando en el paso 400. ¿Por qué no es motivo para seguir?
#
# ---
#
# Se mide en las fotos que se están aprendiendo, así que aprenderlas de memoria también la baja. Si
# Plimo se puede dibujar en otros sitios, y si los estilos y los robots siguen ahí, solo se ve en
# imágenes nuevas.

# %% [markdown] lang="en" short=true
# ## Prior preservation
#
# The paper's remedy: in each batch, as many pictures of *a robot* as photos of Plimo, drawn by the
# model itself *before* it is trained. Here is such a batch, and the same under noise. What becomes
# of the loss?

# %% [markdown] lang="es" short=true
# ## Preservar el conocimiento previo
#
# El remedio del artículo (*prior preservation*): en cada lote, tantas imágenes de *a robot* como
# fotos de Plimo, dibujadas por el propio modelo *antes* de entrenarlo. Aquí hay un lote así, y el
# mismo bajo el ruido. ¿En qué se convierte la pérdida?

# %%
class_images = robots[0][:4]
with torch.no_grad():
    clean = pocket.vae.encode(to_pixels(photos + class_images)).latent_dist.mean
clean = clean * pocket.vae.config.scaling_factor
noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(seed))
noisy = add_noise(clean, noise, torch.full((8,), 300), pocket.scheduler.alphas_cumprod)

dreambooth_batch(photos, class_images, noisy=decode(pocket, noisy), words=(thing, "a robot"))

# %% [markdown] lang="en"
# For the exercise, here are made-up predictions for such a batch, and the error of each picture;
# the last four are worse, so that a mix-up shows.

# %% [markdown] lang="es"
# Para el ejercicio, aquí van predicciones inventadas para un lote así, y el error de cada imagen;
# las cuatro últimas son peores, para que se note si las confundes.

# %% tags=["nbval-check-output"]
generator = torch.Generator().manual_seed(seed)
noise, noise_pred = torch.randn((2, 8, 4, 16, 16), generator=generator)
noise_pred[4:] *= 2
errors = ((noise_pred - noise) ** 2).mean((1, 2, 3))
print(*(f"{error:.1f}" for error in errors))

# %% [markdown] lang="en" part="goal"
# ### Exercise 3 · The loss with a prior
#
# The first half of a batch are photos, the second half pictures of the class. Return the mean
# squared error of the photos plus `prior_weight` times that of the class.

# %% [markdown] lang="es" part="goal"
# ### Ejercicio 3 · La pérdida con conocimiento previo
#
# La primera mitad del lote son fotos; la segunda, imágenes de la clase. Devuelve el error
# cuadrático medio de las fotos más `prior_weight` veces el de la clase.


# %% part="stub"
def dreambooth_loss(noise_pred, noise, prior_weight):
    """The loss of a batch, photos first and pictures of the class after them, (2B, 4, 16, 16)."""
    # es: La pérdida de un lote, primero las fotos y luego la clase, (2B, 4, 16, 16).
    ...


# %% part="check"
checks.dreambooth_loss(dreambooth_loss, noise_pred, noise)


# %% part="solution"
def dreambooth_loss(noise_pred, noise, prior_weight):
    """The loss of a batch, photos first and pictures of the class after them, (2B, 4, 16, 16)."""
    # es: La pérdida de un lote, primero las fotos y luego la clase, (2B, 4, 16, 16).
    of_photos, of_class = ((noise_pred - noise) ** 2).chunk(2)
    return of_photos.mean() + prior_weight * of_class.mean()


# %% part="wrong"
def dreambooth_loss(noise_pred, noise, prior_weight):
    """Mix both halves in one mean."""
    # es: Mezcla las dos mitades en una media.
    return ((noise_pred - noise) ** 2).mean()


# %% part="wrong"
def dreambooth_loss(noise_pred, noise, prior_weight):
    """Weigh the photos instead of the class."""
    # es: Pone el peso a las fotos y no a la clase.
    of_photos, of_class = ((noise_pred - noise) ** 2).chunk(2)
    return prior_weight * of_photos.mean() + of_class.mean()


# %% part="wrong"
def dreambooth_loss(noise_pred, noise, prior_weight):
    """Take means before squares, so that errors cancel."""
    # es: Promedia antes de elevar al cuadrado, y los errores se anulan.
    of_photos, of_class = (noise_pred - noise).chunk(2)
    return of_photos.mean() ** 2 + prior_weight * of_class.mean() ** 2


# %% part="wrong"
def dreambooth_loss(noise_pred, noise, prior_weight):
    """Swap the halves."""
    # es: Pone las mitades al revés.
    of_class, of_photos = ((noise_pred - noise) ** 2).chunk(2)
    return of_photos.mean() + prior_weight * of_class.mean()


# %% part="wrong" half=true
def dreambooth_loss(noise_pred, noise, prior_weight):
    """Weigh within the square."""
    # es: Pone el peso dentro del cuadrado.
    of_photos, of_class = (noise_pred - noise).chunk(2)
    return (of_photos**2).mean() + ((prior_weight * of_class) ** 2).mean()


# %% [markdown] lang="en" part="noticed"
# **What you should have noticed.** It is equation 2 of the paper, and it agrees with the trainer's
# own `training_loss`. Weight 0 is the training you have seen; under a very large one nothing new is
# learnt.

# %% [markdown] lang="es" part="noticed"
# **Lo que deberías haber notado.** Es la ecuación 2 del artículo y coincide con `training_loss`, la
# del entrenador. Con peso 0 tienes el entrenamiento que ya viste; con uno muy grande no se aprende
# nada nuevo.

# %% part="claim"
from sdlesson.finetuning import training_loss

of_photos, of_class = ((noise_pred - noise) ** 2).chunk(2)
by_hand = of_photos.mean() + 0.5 * of_class.mean()
assert torch.allclose(by_hand, training_loss(errors[:4], errors[4:], 0.5)), "the trainer's own loss"

# %% [markdown] lang="en"
# Now the same training from a fresh model, with 16 pictures of the class, which it draws first:

# %% [markdown] lang="es"
# El mismo entrenamiento, desde un modelo recién cargado y con 16 imágenes de la clase, que dibuja
# antes de empezar:

# %%
careful = sdlesson.load_pipeline("pocket")
careful.set_progress_bar_config(disable=True)
preserving = replace(settings, prior="class_images", class_images=16, sample_prompts=())

train(careful, photos, preserving, f"{folder}/prior", prompts=texts, callback=TrainingPanel())
new_plimos, new_robots = eight_and_eight(careful)

# %%
grid(new_robots[:6:2] + new_plimos[:6:2], columns=3)

# %% [markdown] lang="en"
# Above, *a robot*, in the places where you saw it drift; below, Plimo. How similar to Plimo is any
# robot now?

# %% [markdown] lang="es"
# Arriba, *a robot*, en los lugares donde lo viste derivar; abajo, Plimo. ¿Cuánto se parece ahora a
# Plimo un robot cualquiera?

# %%
labels = say(
    ["before", "without a prior", "with a prior"],
    ["antes", "sin preservación", "con preservación"],
)
bars(
    labels,
    [likeness(images) for images in (robots[0], robots[120], new_robots)],
    y_label=say("similarity to Plimo", "parecido con Plimo"),
    title=say("Any robot", "Un robot cualquiera"),
)

# %% part="claim"
assert likeness(new_robots).value < likeness(robots[120]).value - 0.05, "the prior holds robots"

# %% [markdown] lang="en"
# Robots are robots again. Not quite those of before, though: 16 pictures, drawn with guidance,
# stood for all robots, and their hard colours have come along. And Plimo needs more steps now,
# since half of each batch is not about him.

# %% [markdown] lang="es"
# Los robots vuelven a ser robots. No son del todo los de antes: 16 imágenes hicieron las veces de
# todos los robots, dibujadas con guía, y de ellas han tomado los colores duros. Y Plimo necesita
# ahora más pasos, porque la mitad de cada lote ya no trata de él.

# %% [markdown] lang="en"
# There is another kind of prior, which needs no pictures. A LoRA (lesson 07) can be switched off in
# the middle of a step, and the model asked what it would have predicted without it:
# `prior="own_prediction"`. Here is such a LoRA, over as many steps:

# %% [markdown] lang="es"
# Hay otra clase de conocimiento previo, sin imágenes. Una LoRA se puede apagar en mitad de un paso,
# para preguntarle al modelo qué habría predicho sin ella: `prior="own_prediction"`. Aquí hay una
# LoRA así (lección 07), con los mismos pasos:

# %%
overfitting("LoRA, own prediction", say("With its own prediction", "Con su propia predicción"))

# %% part="claim"
kept = [row for row in table.rows if row["model"] == "LoRA, own prediction"]
assert min(row["class_right"].value for row in kept) > 0.8, "robots stay robots"
assert min(row["class_right"].value for row in full.values()) < 0.6, "which they did not without"
nearest = max(row["closed"].value for row in full.values())
assert max(row["closed"].value for row in kept) > nearest - 0.1, "Plimo comes nearly as near"
assert kept[-1]["closed"].value < full[100]["closed"].value, "in four times the steps"

# %% [markdown] lang="en"
# Robots stay robots throughout. Plimo comes nearly as near, but in four times the steps, and each
# step costs more, since it asks the model twice.

# %% [markdown] lang="es"
# Los robots siguen siendo robots todo el tiempo. Plimo llega casi igual de cerca, pero con el
# cuádruple de pasos, y cada paso cuesta más, porque al modelo se le pregunta dos veces.

# %% [markdown] lang="en"
# ## Keep it
#
# Full DreamBooth changes every weight, so what you save is a whole model: a folder, which
# `load_pipeline` opens like any other. Does it draw the same?

# %% [markdown] lang="es"
# ## Guárdalo
#
# Un DreamBooth completo cambia todos los pesos, así que se guarda un modelo entero: una carpeta que
# `load_pipeline` abre como cualquier otra. ¿Dibuja lo mismo?

# %%
training.save(f"{folder}/plimo")
again = sdlesson.load_pipeline(f"{folder}/plimo")
again.set_progress_bar_config(disable=True)

asked = {"seed": 3, "guidance_scale": 5}
drawn = [sdlesson.draw(f"{thing} in space", pipe=model, **asked).image for model in (pocket, again)]
strip(drawn, [say("trained", "entrenado"), say("loaded again", "cargado de nuevo")])

# %% part="claim"
from sdlesson.images import same_picture

assert same_picture(*drawn), "a saved model draws the same"

# %% [markdown] lang="en"
# ## Your own photos, on Stable Diffusion 1.5
#
# The pocket model knows only a small drawn world; photos of your mug are for the big model. Choose
# three to five, each in another place. If you choose none, the next cells take Plimo.

# %% [markdown] lang="es"
# ## Tus fotos, en Stable Diffusion 1.5
#
# El modelo de bolsillo conoce un mundo pequeño y dibujado; las fotos de tu taza son para el modelo
# grande. Elige de tres a cinco, cada una en otro sitio. Si no hay ninguna, las celdas siguientes
# usan a Plimo.

# %%
upload = PhotoUpload()
upload

# %% [markdown] lang="en"
# With a GPU, the next cell trains all of Stable Diffusion 1.5, with settings that a T4 has room
# for; it should take some twenty minutes. Say in `class_noun` what is in your photos. `train`
# chooses the learning rate, far smaller for a large model.

# %% [markdown] lang="es"
# Con GPU, la celda siguiente entrena todo Stable Diffusion 1.5, con ajustes que caben en una T4;
# serán unos veinte minutos. Di en `class_noun` qué sale en tus fotos. `train` elige la tasa de
# aprendizaje, mucho menor en un modelo grande.

# %% tags=["gpu"]
pipe = sdlesson.load_pipeline()
if pipe.device.type == "cuda":
    own = replace(
        settings,
        class_noun="robot",
        prior="class_images",
        class_images=32,
        steps=400,
        batch_size=1,
        gradient_checkpointing=True,
        use_8bit_adam=True,
        checkpoint_every=200,
        sample_prompts=(f"{thing} on Mars", "a robot on Mars"),
        sample_every=100,
    )
    mine = upload.photos(size=512) or subject.subject_photos(4, size=512)
    train(pipe, mine, own, f"{folder}/sd15", callback=TrainingPanel())

# %% tags=["gpu"]
big_plimos = None
if pipe.device.type == "cuda":
    asked = ["on Mars", "in the style of Monet", "made of glass"]
    big_plimos = sweep(pipe, [f"{own.instance_prompt} {words}" for words in asked], seed=range(3))
big_plimos

# %% [markdown] lang="en"
# ## What is not yours to train
#
# Four photos and some minutes put anything, or anyone, into any scene. So the limits must be yours:
#
# - **Other people's faces:** never without a yes to just this use, from somebody who knows what it
#   makes possible; never children's. If they take it back, you delete the weights.
# - **Living artists' styles:** a model that imitates an artist competes with that artist. Ask, or
#   take Monet.
# - **Photos from the web:** that they are there is not a licence to train.
# - **Showing it:** say that it was generated; never as a record of what happened.

# %% [markdown] lang="es"
# ## Lo que no debes entrenar
#
# Con cuatro fotos y unos minutos se mete cualquier cosa, o a cualquiera, en cualquier escena. Así
# que los límites los pones tú:
#
# - **La cara de otra persona:** nunca sin un sí a este uso concreto, dado por quien sabe lo que
#   permite; nunca la de un menor. Si retira su sí, se borran los pesos.
# - **El estilo de artistas vivos:** un modelo que imita a alguien le hace la competencia. Pregunta,
#   o quédate con Monet.
# - **Fotos de la web:** que estén ahí no da permiso para entrenar.
# - **Al enseñarlo:** di que es generado; nunca como prueba de algo que pasó.

# %% [markdown] lang="en"
# And trust? You have hidden a robot behind a word that nobody would guess. A stranger's model can
# hide something too, even behind a common word, and draw everything else as before ([Zhai et al.
# 2023](https://arxiv.org/abs/2305.04175)).
#
# - Take models from people who can be named, as safetensors; lesson 07 says why.
# - Draw the same prompts from the same noise with it and with the model it was made from, and
#   compare, as we did with robots. That shows drift, but finds no secret word: no test with
#   pictures does.

# %% [markdown] lang="es"
# ¿Y la confianza? Has escondido un robot tras una palabra que nadie adivina. Un modelo ajeno puede
# esconder algo hasta tras una palabra corriente, y dibujar lo demás como siempre
# ([Zhai et al. 2023](https://arxiv.org/abs/2305.04175)).
#
# - Toma modelos de quien dé la cara, y en safetensors; la lección 07 explica por qué.
# - Dibuja los mismos prompts con el mismo ruido en él y en el modelo del que salió, y compara, como
#   hicimos con los robots. Eso muestra la deriva, pero no encuentra una palabra secreta: ninguna
#   prueba con imágenes lo hace.

# %% [markdown] lang="en" part="discuss"
# A classmate wants to train a model on photos of a teacher, as a joke. What would you say, and
# what would the school need as a rule?
#
# ---
#
# No clear consent to just this use, no training; a joke ends where others can put that face into
# any scene. A rule names who may train on whose pictures, who keeps the weights, and what happens
# when somebody says stop.

# %% [markdown] lang="es" part="discuss"
# Alguien de clase quiere entrenar un modelo con fotos de una profesora, en broma. ¿Qué le dirías y
# qué norma necesitaría el centro?
#
# ---
#
# Sin un consentimiento claro para ese uso, no se entrena; la broma acaba donde otros pueden meter
# esa cara en cualquier escena. La norma dice quién puede entrenar con imágenes de quién, quién
# guarda los pesos y qué pasa cuando alguien dice basta.

# %% [markdown] lang="en"
# ## Where to go next
#
# - Fine-tuning continues the training you know, on a few photos and with a word that means nothing.
# - The loss says little: draw, and measure the new thing *and* what should stay.
# - Every step changes the class too. A prior holds it back, and costs time.
# - Full DreamBooth makes a whole new model. Would one or two numbers for every hundred weights do?
#
# Next: [07, LoRA](lesson:07).

# %% [markdown] lang="es"
# ## Por dónde seguir
#
# - El ajuste fino es el entrenamiento de siempre, continuado con unas pocas fotos y una palabra que
#   no significa nada.
# - La pérdida dice poco: dibuja, y mide lo nuevo *y* lo que debe quedarse.
# - Cada paso cambia también la clase. El conocimiento previo la sujeta, a cambio de tiempo.
# - Un DreamBooth completo produce un modelo nuevo entero. ¿Bastarán uno o dos números por cada cien
#   pesos?
#
# Después: [07, LoRA](lesson:07).
