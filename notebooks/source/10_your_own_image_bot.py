# ---
# jupyter:
#   lesson:
#     names:
#       en: 10_your_own_image_bot
#       es: 10_tu_propio_bot_de_imagenes
#     colab_lacks: ["python-telegram-bot>=22,<23"]
#     widgets: true
#     minutes: 60
#     after: ["00", "01"]
#     knows: {en: "Python functions", es: "funciones de Python"}
#     needs:
#       en: "any computer, with or without GPU · no account, no phone · 2.7 GB to download with a
#        GPU, nothing without one"
#       es: "cualquier equipo, con o sin GPU · sin cuenta, sin teléfono · 2.7 GB de descarga con
#        GPU, nada sin ella"
# ---

# %% [markdown] lang="en"
# # Your own image bot
#
# In this lesson you will
# - run a Telegram bot in three ways, and see which one leaves your notebook free,
# - talk to a bot that draws, and build what keeps it polite and fair,
# - know what a public bot owes its users, and where to run it for real.

# %% [markdown] lang="es"
# # Tu propio bot de imágenes
#
# En esta lección vas a
# - poner en marcha un bot de Telegram de tres maneras y ver cuál deja libre tu cuaderno,
# - hablar con un bot que dibuja y construir lo que lo hace cortés y justo,
# - saber qué les debe un bot público a sus usuarios y dónde ejecutarlo de verdad.

# %% part="setup"
import asyncio
import random
import sys
import threading
import time

import httpx
import nest_asyncio
from telegram.ext import Application, CommandHandler, MessageHandler, filters

import sdlesson
from sdlesson.bot import Bot, FairQueue, Job, Request, draw_for, find_token
from sdlesson.bot.requests import Defaults, RequestError, parse_request
from sdlesson.bot_api import BotApiServer
from sdlesson.exercises import lesson_10 as checks
from sdlesson.figures import bars, enlarged, strip
from sdlesson.language import say
from sdlesson.metrics import measured
from sdlesson.widgets import BotPanel, ChatPanel

seed = 0

# %% [markdown] lang="en"
# ## A bot asks
#
# A Telegram bot is a program that asks, over and over: *is there anything for me?* Each question
# and each answer is a web request. Here a stand-in on this machine listens, as strict as Telegram,
# so you need neither account nor phone. Below, one part of the address is blanked out. Which, and
# why?

# %% [markdown] lang="es"
# ## Un bot pregunta
#
# Un bot de Telegram es un programa que pregunta una y otra vez: *¿hay algo para mí?* Cada pregunta
# y cada respuesta es una petición web. Aquí escucha un sustituto en este equipo, igual de estricto:
# no hacen falta cuenta ni teléfono. Abajo hemos tapado una parte de la dirección. ¿Cuál y por qué?

# %%
server = BotApiServer().start()
address = f"{server.base_url}{server.token}/getMe"
print(address.replace(server.token, "<TOKEN>"))
httpx.get(address, trust_env=False).json()["result"]["username"]

# %% [markdown] lang="en"
# The *token*, a bot's password, is part of every address. So a log that keeps addresses keeps the
# token, and whoever has the token *is* the bot. The course's bot takes it out of each log line.

# %% [markdown] lang="es"
# El *token*, la contraseña del bot, forma parte de cada dirección. Así que todo registro que guarde
# direcciones guarda el token, y quien tenga el token *es* el bot. El bot del curso lo borra de cada
# línea de su registro.

# %% [markdown] lang="en" short=true
# ## One handler, three ways to run it
#
# A *handler* is a function that is called for each message. An `async` function lets others take
# their turn wherever it says `await`. The *event loop* hands out the turns; a notebook has one
# already.

# %% [markdown] lang="es" short=true
# ## Un manejador, tres maneras de ejecutarlo
#
# Un *manejador* (handler) es una función a la que se llama con cada mensaje. Una función `async`
# cede el turno a otras allí donde dice `await`. Los turnos los reparte el *bucle de eventos*, y un
# cuaderno ya tiene uno.


# %%
async def greet(update, context):
    """Answer whoever wrote."""
    # es: Contesta a quien escribió.
    name = update.effective_user.first_name
    await update.effective_message.reply_text(say(f"Hello, {name}!", f"¡Hola, {name}!"))


def greeter():
    """Make a bot with one handler, which talks to our server."""
    # es: Crea un bot con un manejador, que habla con nuestro servidor.
    builder = Application.builder().token(server.token).base_url(server.base_url)
    application = builder.build()
    application.add_handler(MessageHandler(filters.TEXT, greet))
    return application


# %% [markdown] lang="en"
# Ana is a user of the stand-in. She writes three times while a cell is busy, as it is when it
# draws. **Way 1:** start the parts of the bot in the notebook's own loop. How many answers will
# come before the cell is done?

# %% [markdown] lang="es"
# Ana es usuaria del sustituto. Escribe tres veces mientras una celda está ocupada, como cuando
# dibuja. **Manera 1:** arrancar las partes del bot en el bucle del propio cuaderno. ¿Cuántas
# respuestas llegarán antes de que acabe la celda?

# %%
ana = server.user("Ana", language_code=say("en", "es"))


def answers_meanwhile():
    """Let Ana write three times while this cell is busy; count the answers that come meanwhile."""
    # es: Ana escribe tres veces con esta celda ocupada; cuenta las respuestas que llegan mientras.
    before = len(ana.messages)
    for greeting in [say("Hi!", "¡Hola!"), "...", say("Anybody?", "¿Hay alguien?")]:
        ana.says(greeting)
        time.sleep(0.7)  # the cell works, and gives no turn to anybody
        # es: la celda trabaja y no cede el turno a nadie
    return len(ana.messages) - before - 3


application = greeter()
await application.initialize()
await application.updater.start_polling()
await application.start()
answered = {say("awaited", "con await"): answers_meanwhile()}

await asyncio.sleep(1)  # a turn for the others, at last
# es: por fin, un turno para los demás
print(ana.messages[-1]["text"])
for stop in (application.updater.stop, application.stop, application.shutdown):
    await stop()

# %% [markdown] lang="en"
# None: there is one loop, with one turn at a time, and the busy cell kept it.
#
# **Way 2:** `nest_asyncio` lets a bot that wants the loop for itself run inside a cell. This one
# stops itself after two seconds. What can other cells do until then?

# %% [markdown] lang="es"
# Ninguna: hay un solo bucle, con un turno cada vez, y la celda ocupada no lo soltó.
#
# **Manera 2:** `nest_asyncio` deja que un bot que quiere el bucle para sí se ejecute dentro de una
# celda. Este se detiene solo a los dos segundos. ¿Qué pueden hacer mientras las demás celdas?

# %%
if sys.version_info < (3, 14):  # on which nest_asyncio, no longer looked after, breaks
    # es: con la que nest_asyncio, que ya nadie mantiene, falla
    nest_asyncio.apply()
    application = greeter()
    asyncio.get_event_loop().call_later(2, application.stop_running)
    ana.says(say("And now?", "¿Y ahora?"))
    started = time.monotonic()
    application.run_polling(close_loop=False, stop_signals=None)
    print(ana.messages[-1]["text"], f"{time.monotonic() - started:.0f} s")

# %% [markdown] lang="en"
# It answers, and holds the cell until somebody stops it; a real bot would run for days. Nothing
# else can be run meanwhile.
#
# **Way 3:** a thread with a loop of its own.

# %% [markdown] lang="es"
# Responde, pero retiene la celda hasta que alguien lo para, y un bot de verdad funciona durante
# días. Mientras tanto no se puede ejecutar nada más.
#
# **Manera 3:** un hilo con un bucle propio.

# %%
loop, application = asyncio.new_event_loop(), greeter()


def serve():
    """Run the bot on a loop that nobody else uses."""
    # es: Ejecuta el bot en un bucle que nadie más usa.
    asyncio.set_event_loop(loop)
    application.run_polling(close_loop=False, stop_signals=None)


thread = threading.Thread(target=serve, daemon=True)
thread.start()
answered[say("in a thread", "en un hilo")] = answers_meanwhile()
loop.call_soon_threadsafe(application.stop_running)  # from one loop to another: only like this
# es: de un bucle a otro, solo así
thread.join()

# %%
bars(
    list(answered),
    list(answered.values()),
    y_label=say("answers while a cell works", "respuestas mientras otra celda trabaja"),
    title=say("Three messages to a busy notebook", "Tres mensajes a un cuaderno ocupado"),
)

# %% part="claim"
assert list(answered.values()) == [0, 3], "only in a thread do answers come while a cell works"

# %% [markdown] lang="en"
# All three. That is how the course's bot runs, and all that ours has of it so far. What else does a
# bot need once a picture takes seconds and fifty people want one?

# %% [markdown] lang="es"
# Las tres. Así funciona el bot del curso, y por ahora solo en eso se le parece el nuestro. ¿Qué más
# necesita un bot cuando una imagen tarda segundos y la quieren cincuenta personas?

# %% [markdown] lang="en" part="discuss"
# Your bot must answer *stop* even while it draws. Which of the three ways can do that, and what
# has to happen inside the drawing?
#
# ---
#
# Only the thread: the other two share one loop with the work. And the drawing itself has to look
# up between steps, since nobody can interrupt it from outside; so *stop* takes effect at the next
# step.

# %% [markdown] lang="es" part="discuss"
# Tu bot debe atender *para* incluso mientras dibuja. ¿Cuál de las tres maneras puede hacerlo y qué
# tiene que pasar dentro del dibujo?
#
# ---
#
# Solo el hilo: las otras dos comparten un bucle con el trabajo. Y el propio dibujo tiene que
# atender entre paso y paso, porque nadie puede interrumpirlo desde fuera; así, *para* surte efecto
# en el paso siguiente.

# %% [markdown] lang="en" short=true
# ## A bot that draws
#
# `start` returns at once, and the cell can be run again: the new bot replaces the old one, whose
# panel then says *Stopped*, because two bots with one token would take each other's messages.

# %% [markdown] lang="es" short=true
# ## Un bot que dibuja
#
# `start` vuelve enseguida, y la celda se puede repetir: el bot nuevo sustituye al viejo, cuyo panel
# pasa a *Detenido*, porque dos con el mismo token se quitarían los mensajes.

# %%
pipe = sdlesson.load_pipeline()
bot = Bot(pipe, server=server)
bot.start()
BotPanel(bot.snapshot)

# %% [markdown] lang="en"
# Talk to it as Ana, here or on its chat page. It asks for consent first; then write what to draw,
# send a photo with a caption, press the buttons. The cells below write as Ana too, so this chat
# fills as you run them.

# %% [markdown] lang="es"
# Habla con él como Ana, aquí o en su página de chat. Primero te pide permiso; después, escribe qué
# dibujar, manda una foto con texto al pie, pulsa los botones. Las celdas de abajo también escriben
# como Ana, así que este chat se va llenando.

# %%
chat = ChatPanel(server)
chat.person.value = "Ana"
chat


# %%
def agree(person):
    """Write /start for a person, and agree to what the bot says it keeps."""
    # es: Escribe /start en nombre de alguien y acepta lo que el bot dice que guarda.
    start = person.says("/start")
    welcome = person.waits_for(lambda message: "reply_markup" in message, after=start)
    person.presses(welcome, welcome["reply_markup"]["inline_keyboard"][0][0]["text"])
    return welcome["text"]


def picture_for(person, text):
    """Ask for a picture for a person, and wait for the message that it comes in."""
    # es: Pide una imagen en nombre de alguien y espera el mensaje en el que llega.
    asked = person.says(text)
    return person.waits_for(say("seed", "semilla"), after=asked, timeout_s=120)


print(agree(ana))

# %%
message = say(
    "/draw a robot on the beach --steps 30 --seed 7",
    "/draw un robot en la playa --pasos 30 --semilla 7",
)
shown = picture_for(ana, message)
print(shown["caption"])
enlarged(server.picture(shown))

# %% [markdown] lang="en"
# The caption holds all that is needed to draw the picture again. What becomes of your message on
# its way to the model? First, a `Request`, with every setting checked:

# %% [markdown] lang="es"
# El pie lleva todo lo que hace falta para volver a dibujar la imagen. ¿En qué se convierte tu
# petición por el camino? Primero, en un `Request`, con cada ajuste comprobado:

# %% tags=["nbval-check-output"]
messages = [
    say("a cat —steps 30 --no hat --cfg 9", "un gato —pasos 30 --sin sombrero --cfg 9"),
    say("--steps 1e9 a robot", "--pasos 1e9 un robot"),
    say("a robot --colour red", "un robot --color rojo"),
]
for text in messages:
    try:
        print(parse_request(text, Defaults()))
    except RequestError as error:
        print(error.reason, error.values)

# %% part="claim"
read = parse_request(messages[0], Defaults())
assert (read.num_inference_steps, read.guidance_scale) == (30, 9), "a dash and a guessed name"
assert read.negative_prompt in ("hat", "sombrero"), "what follows --no is kept out"

# %% [markdown] lang="en"
# Phones turn two hyphens into a dash, and people guess names, such as *cfg* for guidance: both are
# read. What cannot be drawn has a reason, which the bot explains in the language of each user:

# %% [markdown] lang="es"
# Los teléfonos convierten dos guiones en una raya y la gente adivina nombres, como *cfg* por guía:
# ambas cosas se entienden. Lo que no se puede dibujar tiene un motivo, que el bot explica en el
# idioma de cada persona:

# %%
bruno, chloe = server.user("Bruno", "es-AR"), server.user("Chloe", "en")
for person in (bruno, chloe):
    agree(person)
    asked = person.says("--steps 1e9 robot")
    print(person.waits_for("50", after=asked)["text"])

# %% [markdown] lang="en"
# The whole bot consists of handlers like ours in front of a queue. Here are words for one more, to
# be picked by chance, and a function that lets four people try it.

# %% [markdown] lang="es"
# Todo el bot consiste en manejadores como el nuestro delante de una cola. Aquí tienes palabras para
# uno más, que se eligen al azar, y una función con la que lo prueban cuatro personas.


# %%
subjects = say(
    ["a fox", "a robot", "a penguin", "a teddy bear", "an octopus", "a snowman", "a rocket"],
    ["un zorro", "un robot", "un pingüino", "un oso de peluche", "un pulpo", "un cohete"],
)
places = say(
    ["on the beach", "in the forest", "in the snow", "on Mars", "in space", "in the city"],
    ["en la playa", "en el bosque", "en la nieve", "en Marte", "en el espacio", "en la ciudad"],
)


async def always_robots(update, context):
    """Draw a robot on Mars, whoever asks and whatever for."""
    # es: Dibuja un robot en Marte, lo pida quien lo pida.
    await draw_for(update, context, say("a robot on Mars", "un robot en Marte"))


def prompts_drawn(handler):
    """Let four people ask a bot with this handler for /surprise; return what it drew."""
    # es: Cuatro personas piden /surprise a un bot con este manejador; devuelve lo que dibujó.
    bot = Bot(pipe, server=server, handlers=[CommandHandler("surprise", handler)]).start()
    for number in range(4):
        person = server.user(f"Dani {number}", language_code=say("en", "es"))
        agree(person)
        person.says("/surprise")
    time.sleep(4)  # by now it has ordered what it orders
    # es: para entonces ya ha encargado lo que encarga
    while (now := bot.snapshot()).queued or now.drawing:
        time.sleep(0.1)
    return [prompt for picture, prompt in now.pictures]


# %%
print(*prompts_drawn(always_robots), sep="\n")
print(random.choice(subjects), random.choice(places))

# %% [markdown] lang="en" part="goal"
# ### Exercise 1 · A handler: /surprise
#
# Write a handler that draws a subject in a place, both chosen by chance. `draw_for(update, context,
# text)` draws a text for whoever wrote; like everything that takes time, it is awaited.

# %% [markdown] lang="es" part="goal"
# ### Ejercicio 1 · Un manejador: /surprise
#
# Escribe un manejador que dibuje un sujeto en un lugar, ambos elegidos al azar. `draw_for(update,
# context, texto)` dibuja un texto para quien mandó el mensaje; como todo lo que tarda, se espera
# con `await`.


# %% part="stub"
async def surprise(update, context):
    """Draw one of the subjects in one of the places, for whoever asks."""
    # es: Dibuja uno de los sujetos en uno de los lugares, para quien lo pida.
    ...


# %% part="check"
checks.surprise(lambda: prompts_drawn(surprise), subjects, places)


# %% part="solution"
async def surprise(update, context):
    """Draw one of the subjects in one of the places, for whoever asks."""
    # es: Dibuja uno de los sujetos en uno de los lugares, para quien lo pida.
    text = f"{random.choice(subjects)} {random.choice(places)}"
    await draw_for(update, context, text)


# %% part="wrong"
async def surprise(update, context):
    """Choose the same each time."""
    # es: Elige cada vez lo mismo.
    chance = random.Random(0)
    await draw_for(update, context, f"{chance.choice(subjects)} {chance.choice(places)}")


# %% part="wrong" half=true
async def surprise(update, context):
    """Forget the place."""
    # es: Olvida el lugar.
    await draw_for(update, context, random.choice(subjects))


# %% part="wrong"
async def surprise(update, context):
    """Say it instead of drawing it."""
    # es: Lo dice en vez de dibujarlo.
    await update.effective_message.reply_text(f"{random.choice(subjects)} {random.choice(places)}")


# %% part="wrong"
async def surprise(update, context):
    """Put the place before the subject."""
    # es: Pone el lugar antes que el sujeto.
    await draw_for(update, context, f"{random.choice(places)} {random.choice(subjects)}")


# %% [markdown] lang="en" part="noticed"
# **What you should have noticed.** A handler reads a message, calls one thing, and is done; the
# picture comes later, from another thread. So it stays short, and nobody else has to wait for it.

# %% [markdown] lang="es" part="noticed"
# **Lo que deberías haber notado.** Un manejador lee un mensaje, llama a una sola cosa y acaba: la
# imagen llega después, desde otro hilo. Así es corto y nadie más tiene que esperarlo.

# %% [markdown] lang="en"
# ## How fast may it speak?
#
# Telegram takes about one message a second for a chat, and thirty for all chats together. To a bot
# that sends more it answers 429 (*too many requests*), and the bot has to wait. Ana now asks for
# help four times in a row. When will the answers leave?

# %% [markdown] lang="es"
# ## ¿A qué ritmo puede hablar?
#
# Telegram admite más o menos un mensaje por segundo en cada chat, y treinta entre todos. A un bot
# que manda más le contesta 429 (*demasiadas peticiones*), y el bot tiene que esperar. Ana pide
# ahora ayuda cuatro veces seguidas. ¿Cuándo saldrán las respuestas?

# %%
bot.start()
time.sleep(1.5)  # rest, so that the count starts from nothing
# es: una pausa, para que la cuenta empiece de cero
started = time.monotonic()
for text in ["/help"] * 4:
    ana.says(text)


def helped():
    """When the bot sent Ana its help, in seconds after she asked."""
    # es: Cuándo mandó el bot la ayuda a Ana, en segundos desde que la pidió.
    calls = [call for call in server.calls if call.method == "sendMessage"]
    return [call.at - started for call in calls if call.chat_id == ana.id and call.at > started]


while len(helped()) < 4:
    time.sleep(0.1)
print(*(f"{seconds:.1f} s" for seconds in helped()))

# %% [markdown] lang="en"
# One a second, by a *token bucket*: it holds up to `size` tokens and gains `per_s` of them a
# second; each message takes one, or waits for the next. The bot has one bucket for each chat and
# one for all.

# %% [markdown] lang="es"
# Una por segundo, gracias a un *cubo de fichas* (token bucket): caben en él `size` fichas y gana
# `per_s` cada segundo; cada mensaje gasta una o espera a la siguiente. El bot tiene un cubo por
# chat y otro para todos.

# %% [markdown] lang="en" part="goal"
# ### Exercise 2 · The token bucket
#
# Messages want to leave at the seconds in `arrivals`, in this order. When does each leave, if the
# bucket is full at second 0? Keep two numbers: the tokens, and when you last counted them.

# %% [markdown] lang="es" part="goal"
# ### Ejercicio 2 · El cubo de fichas
#
# Los mensajes quieren salir en los segundos de `arrivals`, en ese orden. ¿Cuándo sale cada uno, si
# el cubo está lleno en el segundo 0? Lleva dos números: las fichas y cuándo las contaste por última
# vez.


# %% part="stub"
def departures(arrivals, per_s, size):
    """Return when each message leaves: a bucket of `size` tokens, which gains `per_s` a second."""
    # es: Devuelve cuándo sale cada mensaje: el cubo tiene `size` fichas y gana `per_s` por segundo.
    ...


# %% part="check"
checks.departures(departures)


# %% part="solution"
def departures(arrivals, per_s, size):
    """Return when each message leaves: a bucket of `size` tokens, which gains `per_s` a second."""
    # es: Devuelve cuándo sale cada mensaje: el cubo tiene `size` fichas y gana `per_s` por segundo.
    tokens, counted, leaving = size, 0, []
    for arrival in arrivals:
        now = max(arrival, counted)  # not before the one before it
        # es: no antes que el anterior
        tokens = min(size, tokens + (now - counted) * per_s)
        wait = max(0, 1 - tokens) / per_s
        tokens, counted = tokens + wait * per_s - 1, now + wait
        leaving.append(counted)
    return leaving


# %% part="wrong"
def departures(arrivals, per_s, size):
    """Space all messages alike, and let no burst through."""
    # es: Separa por igual todos los mensajes y no deja pasar ninguna ráfaga.
    leaving = [arrivals[0]]
    for arrival in arrivals[1:]:
        leaving.append(max(arrival, leaving[-1] + 1 / per_s))
    return leaving


# %% part="wrong" half=true
def departures(arrivals, per_s, size):
    """Let tokens pile up without end."""
    # es: Deja que las fichas se amontonen sin fin.
    tokens, counted, leaving = size, 0, []
    for arrival in arrivals:
        now = max(arrival, counted)
        tokens += (now - counted) * per_s
        wait = max(0, 1 - tokens) / per_s
        tokens, counted = tokens + wait * per_s - 1, now + wait
        leaving.append(counted)
    return leaving


# %% part="wrong"
def departures(arrivals, per_s, size):
    """Begin with an empty bucket."""
    # es: Empieza con el cubo vacío.
    tokens, counted, leaving = 0, 0, []
    for arrival in arrivals:
        now = max(arrival, counted)
        tokens = min(size, tokens + (now - counted) * per_s)
        wait = max(0, 1 - tokens) / per_s
        tokens, counted = tokens + wait * per_s - 1, now + wait
        leaving.append(counted)
    return leaving


# %% part="wrong"
def departures(arrivals, per_s, size):
    """Take per_s for the seconds that a token takes."""
    # es: Toma per_s por los segundos que tarda una ficha.
    tokens, counted, leaving = size, 0, []
    for arrival in arrivals:
        now = max(arrival, counted)
        tokens = min(size, tokens + (now - counted) * per_s)
        wait = max(0, 1 - tokens) * per_s
        tokens, counted = tokens + wait * per_s - 1, now + wait
        leaving.append(counted)
    return leaving


# %% [markdown] lang="en" part="noticed"
# **What you should have noticed.** A bucket lets a short burst through and holds the average. The
# same few lines limit how many pictures a user may order, how often your phone syncs, how many
# requests a web server takes.

# %% [markdown] lang="es" part="noticed"
# **Lo que deberías haber notado.** Un cubo deja pasar una ráfaga corta y mantiene la media. Las
# mismas líneas limitan cuántas imágenes pide un usuario, cada cuánto se sincroniza tu teléfono o
# cuántas peticiones admite un servidor.

# %% [markdown] lang="en" short=true
# ## Fair turns
#
# Ana orders six pictures; then Bruno and Chloe order one each. First come, first served: how many
# pictures does Chloe wait for?

# %% [markdown] lang="es" short=true
# ## Turnos justos
#
# Ana pide seis imágenes; luego, Bruno y Chloe, una cada uno. Por orden de llegada, ¿cuántas
# imágenes espera Chloe?

# %%
users = {1: "Ana", 2: "Bruno", 3: "Chloe"}
arrived = [1, 1, 1, 1, 1, 1, 2, 3]

queue = FairQueue(max_per_user=6)
for user in arrived:
    queue.put(Job(user, Request(f"a picture for {users[user]}")))
in_turns = [job.user_id for job in queue.order()]
print(say("As they came: ", "Por llegada:"), *(users[user] for user in arrived))
print(say("In fair turns:", "Por turnos: "), *(users[user] for user in in_turns))

# %% part="claim"
assert (arrived.index(3), in_turns.index(3)) == (7, 2), "Chloe waits for seven, or for two"
assert len(in_turns) - 1 - in_turns[::-1].index(1) == 7, "Ana's last comes no later than the last"

# %%
bars(
    [*users.values(), *users.values()],
    [line.index(user) for line in (arrived, in_turns) for user in users],
    y_label=say("pictures before the first of one's own", "imágenes antes de la primera propia"),
    title=say("First come (left), in turns (right)", "Por llegada (izq.) y por turnos (der.)"),
)

# %% [markdown] lang="en"
# Seven, or two. In turns, nobody waits behind somebody else's pile, and all eight together take as
# long as before. A queue also needs a limit: the bot's takes three orders from each user and a
# hundred in all, and the bot says so when it is full.

# %% [markdown] lang="es"
# Siete, o dos. Por turnos, nadie espera detrás del montón de otra persona, y las ocho juntas tardan
# lo mismo que antes. Además, toda cola necesita un límite: la del bot admite tres pedidos por
# persona y cien en total, y avisa cuando está llena.

# %% [markdown] lang="en" part="goal"
# ### Exercise 3 · A fair queue
#
# `arrived` lists whose each order is. Return the numbers of the orders as a fair queue would serve
# them: first everybody's first, in the order in which they came, then everybody's second, and so
# on.

# %% [markdown] lang="es" part="goal"
# ### Ejercicio 3 · Una cola justa
#
# `arrived` dice de quién es cada pedido. Devuelve los números de los pedidos en el orden de una
# cola justa: antes el primero de cada persona, según llegaron; luego, los segundos, y así.


# %% part="stub"
def fair_order(arrived):
    """Return the numbers of the orders, from 0, in fair turns between users."""
    # es: Devuelve los números de los pedidos, desde 0, por turnos justos.
    ...


# %% part="check"
checks.fair_order(fair_order)


# %% part="solution"
def fair_order(arrived):
    """Return the numbers of the orders, from 0, in fair turns between users."""
    # es: Devuelve los números de los pedidos, desde 0, por turnos justos.
    firsts = list(dict.fromkeys(arrived))  # users in the order of their first order
    # es: usuarios, por su primer pedido

    def turn(number):
        user = arrived[number]
        return arrived[:number].count(user), firsts.index(user)

    return sorted(range(len(arrived)), key=turn)


# %% part="wrong"
def fair_order(arrived):
    """First come, first served."""
    # es: Por orden de llegada.
    return list(range(len(arrived)))


# %% part="wrong" half=true
def fair_order(arrived):
    """Take turns in the order of names."""
    # es: Por turnos, pero en el orden de los nombres.
    return sorted(range(len(arrived)), key=lambda n: (arrived[:n].count(arrived[n]), arrived[n]))


# %% part="wrong"
def fair_order(arrived):
    """Serve those first who order least."""
    # es: Atiende antes a quien menos pide.
    return sorted(range(len(arrived)), key=lambda n: arrived.count(arrived[n]))


# %% part="wrong"
def fair_order(arrived):
    """Serve each user's latest order first."""
    # es: De cada persona, atiende antes el último pedido.
    return sorted(range(len(arrived)), key=lambda n: arrived[n + 1 :].count(arrived[n]))


# %% part="wrong"
def fair_order(arrived):
    """Return names instead of numbers."""
    # es: Devuelve nombres en vez de números.
    firsts = list(dict.fromkeys(arrived))
    turns = sorted((arrived[:n].count(name), firsts.index(name)) for n, name in enumerate(arrived))
    return [firsts[person] for _, person in turns]


# %% [markdown] lang="en" part="noticed"
# **What you should have noticed.** Fairness is a choice of order, and costs nothing: the same
# pictures, the same time in all. Queues of print jobs, of players, of network packets are made fair
# like this.

# %% [markdown] lang="es" part="noticed"
# **Lo que deberías haber notado.** La justicia es elegir un orden, y no cuesta nada: las mismas
# imágenes, el mismo tiempo en total. Así se hacen justas las colas de impresión, las de jugadores o
# las de paquetes en una red.

# %% [markdown] lang="en" part="discuss"
# Is it fair that whoever orders one picture overtakes someone who ordered six an hour ago? Who
# could abuse these turns, and how?
#
# ---
#
# Turns are fair between *users*, not between orders; another rule (the shortest first, payment,
# age) would be fair to others. Whoever makes several accounts gets several turns: that is why
# quotas go with turns.

# %% [markdown] lang="es" part="discuss"
# ¿Es justo que quien pide una imagen adelante a quien pidió seis hace una hora? ¿Quién podría
# abusar de estos turnos y cómo?
#
# ---
#
# Los turnos son justos entre *personas*, no entre pedidos; otra regla (primero lo corto, pagar, la
# antigüedad) sería justa para otros. Quien se haga varias cuentas tendrá varios turnos: por eso,
# además de turnos, hay cuotas.

# %% [markdown] lang="en"
# ## One worker
#
# One thread does all the drawing: switching between two pictures, a GPU is done no sooner. But jobs
# with the same steps and guidance can be drawn in one *batch*. What is that worth?

# %% [markdown] lang="es"
# ## Un solo trabajador
#
# Todo lo dibuja un único hilo: una GPU no acaba antes dos imágenes por ir alternándolas. Pero los
# trabajos con los mismos pasos y la misma guía se pueden dibujar en un *lote*. ¿Cuánto se gana?

# %%
measured("bot_batching")

# %% [markdown] lang="en"
# The pictures are the same as when drawn alone: each has its own seed, so its neighbours in the
# batch do not change it.
#
# Meanwhile the bot goes on listening. Ana orders three pictures of fifty steps and gives them up;
# Chloe wants them gone too. Whose command counts?

# %% [markdown] lang="es"
# Las imágenes son las mismas que si se dibujan solas: cada una tiene su semilla y sus vecinas de
# lote no la cambian.
#
# Mientras, el bot sigue escuchando. Ana pide tres imágenes de cincuenta pasos y renuncia a ellas;
# también Chloe quiere que desaparezcan. ¿A quién le hace caso el bot?

# %%
for prompt in (say("a house", "una casa"), say("a boat", "un barco"), say("a tree", "un árbol")):
    ordered = ana.says(f"{prompt} --steps 50")
refused = chloe.says("/cancel")
print("Chloe:", chloe.waits_for("pictures", after=refused)["text"])

ana.says("/cancel")
print("Ana:", ana.waits_for(say("Cancelled", "Cancelada"), after=ordered, timeout_s=60)["text"])

# %% [markdown] lang="en"
# Only Ana's: each job belongs to whoever ordered it, and one that is being drawn stops at its next
# step.
#
# ## When the connection fails
#
# The stand-in can also fail like the real one. First it answers 429; then it takes the picture, and
# its answer gets lost. Should the bot send it again?

# %% [markdown] lang="es"
# Solo a Ana: cada trabajo es de quien lo pidió, y el que se está dibujando se detiene en el paso
# siguiente.
#
# ## Cuando falla la conexión
#
# El sustituto también sabe fallar como el de verdad. Primero contesta 429; luego recibe la imagen,
# pero su respuesta se pierde. ¿Debe el bot mandarla otra vez?

# %%
server.fail("sendPhoto", status=429, retry_after=2)
shown = picture_for(ana, say("a fox in the snow", "un zorro en la nieve"))

server.fail("sendPhoto", drop=True, after=True)
asked = ana.says(say("a fox on Mars", "un zorro en Marte"))
note = ana.waits_for(say("did not confirm", "no ha confirmado"), after=asked, timeout_s=60)
print(note["text"])

# %%
sent = [call for call in server.calls if call.method == "sendPhoto"]
foxes = [message for message in ana.messages if say("fox", "zorro") in message.get("caption", "")]
strip([server.picture(message) for message in foxes])

# %% tags=["nbval-check-output"]
print([call.status for call in sent][-3:], len(foxes))

# %% part="claim"
assert [call.status for call in sent][-3:] == [429, 200, 0], "it tried again after the 429 only"
assert len(foxes) == 2, "both pictures are there, once each"

# %% [markdown] lang="en"
# After the 429 it waited as told, and the second try arrived (200). After the lost answer (0) it
# sent nothing again: the picture may be there (it is!), and twice would be worse than a word about
# it.
#
# And the token?

# %% [markdown] lang="es"
# Tras el 429 esperó lo que le dijeron, y el segundo intento llegó (200). Tras la respuesta perdida
# (0) no repitió el envío: puede que la imagen esté (¡está!), y mandarla dos veces sería peor que
# avisar.
#
# ¿Y el token?

# %%
told = [line for line in [*bot.log, repr(bot)] if server.token in line]
print(
    len(bot.log), say("log lines, with the token:", "líneas de registro, con el token:"), len(told)
)

# %% part="claim"
assert len(bot.log) > 10, "there is a log"
assert not told, "it holds no token"

# %% [markdown] lang="en"
# It is in none of the log lines.
#
# ## On your phone
#
# In Telegram, write `/newbot` to [@BotFather](https://t.me/botfather); it asks for a name and gives
# you a token. Put it into Colab's secret `TELEGRAM_BOT_TOKEN` (the key on the left edge) or the
# environment, never into a cell. Then write `True`:

# %% [markdown] lang="es"
# No está en ninguna línea del registro.
#
# ## En tu teléfono
#
# En Telegram, escribe `/newbot` a [@BotFather](https://t.me/botfather); te pide un nombre y te da
# un token. Guárdalo en el secreto `TELEGRAM_BOT_TOKEN` de Colab (la llave del borde izquierdo) o en
# el entorno, nunca en una celda. Después, escribe `True`:

# %%
i_have_a_token = False

if i_have_a_token and (token := find_token()):
    bot = Bot(pipe, token=token).start()

# %% [markdown] lang="en"
# ## Where to host it
#
# Free Colab is for work in the notebook: its rules exclude web services, and its machine goes when
# you do. For your class, while you watch, it is fine. A bot that stays needs a computer that stays
# on:
#
# ```
# sdlesson bot
# ```
#
# It reads the token from the environment, and stops gracefully when told to.

# %% [markdown] lang="es"
# ## Dónde alojarlo
#
# El Colab gratuito es para trabajar en el cuaderno: sus normas excluyen los servicios web, y la
# máquina desaparece cuando te vas. Para tu clase, mientras estás delante, sirve. Un bot permanente
# necesita un equipo siempre encendido:
#
# ```
# sdlesson bot
# ```
#
# Lee el token del entorno y se detiene de forma ordenada cuando se lo pides.

# %% [markdown] lang="en"
# ## What a public bot owes its users
#
# - **To say what it is:** a program; what it keeps, for how long, who sees it. Ask first, and
#   delete when asked.
# - **To watch what it draws:** a checker on every picture, rules for prompts, and a person who
#   reads complaints.
# - **To leave faces and bodies alone:** the limits of lesson 06 hold for photos that strangers
#   send.
# - **To be honest about failure:** a short sentence and a number that finds the log line; never
#   silence, never a traceback.
# - **To cost no more than you can pay:** a daily quota for each user, before the bill forces one.

# %% [markdown] lang="es"
# ## Lo que un bot público debe a sus usuarios
#
# - **Decir qué es:** un programa; qué guarda, cuánto tiempo y quién lo ve. Pregunta antes, y borra
#   cuando te lo pidan.
# - **Vigilar lo que dibuja:** un filtro en cada imagen, reglas para los prompts y una persona que
#   lea las quejas.
# - **Respetar la cara y el cuerpo de cada cual:** los límites de la lección 06 valen para las fotos
#   que mandan desconocidos.
# - **Ser honesto al fallar:** unas palabras y un número que lleve a la línea del registro; nunca el
#   silencio, nunca un error de Python.
# - **No costar más de lo que puedas pagar:** una cuota diaria por persona, antes de que la imponga
#   la factura.

# %% [markdown] lang="en"
# The bot is still running: go back to the chat and try it. When you have had enough, write `True`
# and run this cell. (*Run all* leaves it running.)

# %% [markdown] lang="es"
# El bot sigue en marcha: vuelve al chat y pruébalo. Cuando tengas bastante, escribe `True` y
# ejecuta esta celda. (*Ejecutar todo* lo deja en marcha.)

# %%
i_am_done = False

if i_am_done:
    bot.stop()
    server.stop()
BotPanel(bot.snapshot)

# %% part="claim"
assert bot.snapshot().running, "Run all leaves the bot running"

# %% [markdown] lang="en" part="discuss"
# Somebody asks your bot for a picture of a teacher of your school. What should it do, and what can
# it not do?
#
# ---
#
# Refuse, say why in a friendly sentence, and let the person complain. It cannot know who is in a
# photo or what a name means; so rules, a report button and a human are needed, and a log that
# keeps no more than it must.

# %% [markdown] lang="es" part="discuss"
# Alguien pide a tu bot una imagen de una profesora de tu centro. ¿Qué debe hacer y qué no puede
# hacer?
#
# ---
#
# Negarse, explicar por qué en una frase amable y permitir que la persona reclame. No puede saber
# quién sale en una foto ni qué significa un nombre; por eso hacen falta reglas, un botón para
# denunciar y una persona, y un registro que no guarde más de lo necesario.

# %% [markdown] lang="en"
# ## Where to go next
#
# - A bot asks for news, in a thread with its own loop; a handler reads, calls one thing, and is
#   done.
# - One worker draws; a fair queue decides who is next; a token bucket decides when to speak.
# - What may have arrived is never sent twice, and the token is never written down.
#
# Would you let strangers use it, day and night? [Lesson 11](lesson:11) kills it, floods it and
# knocks at its door with a wrong secret, and shows what it takes to keep its promises all the same.

# %% [markdown] lang="es"
# ## Por dónde seguir
#
# - Un bot pregunta si hay algo, en un hilo con su propio bucle; un manejador lee, llama a una cosa
#   y acaba.
# - Dibuja un solo trabajador; una cola justa decide a quién le toca; un cubo de fichas, cuándo se
#   habla.
# - Lo que quizá llegó no se manda dos veces, y el token no se escribe en ninguna parte.
#
# ¿Dejarías que lo usaran desconocidos, de día y de noche? La [lección 11](lesson:11) lo mata, lo
# inunda, llama a su puerta con un secreto falso y muestra qué hace falta para que aun así cumpla lo
# prometido.
