# ---
# jupyter:
#   lesson:
#     names:
#       en: 10_your_own_image_bot
#       es: 10_tu_propio_bot_de_imagenes
#     colab_lacks: ["python-telegram-bot>=22,<23"]
#     widgets: true
# ---

# %% [markdown] lang="en"
# # Your own image bot
#
# In this lesson you will
# - run a Telegram bot in three ways, and see which one leaves your notebook free,
# - talk to a bot that draws, and build what keeps it polite and fair,
# - know what a public bot owes its users, and where to run it for real.
#
# **60 minutes · any computer, with or without GPU · no account, no phone · 2.7 GB to download with
# a GPU, nothing without one**

# %% [markdown] lang="es"
# # Tu propio bot de imágenes
#
# En esta lección vas a
# - poner en marcha un bot de Telegram de tres maneras y ver cuál deja libre tu cuaderno,
# - hablar con un bot que dibuja y construir lo que lo hace cortés y justo,
# - saber qué les debe un bot público a sus usuarios y dónde ejecutarlo de verdad.
#
# **60 minutos · cualquier equipo, con o sin GPU · sin cuenta, sin teléfono · 2,7 GB de descarga con
# GPU, nada sin ella**

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
from sdlesson import exercises
from sdlesson.bot import Bot, FairQueue, Job, Request, draw_for, find_token
from sdlesson.bot.requests import Defaults, RequestError, parse_request
from sdlesson.bot_api import BotApiServer
from sdlesson.figures import bars, strip
from sdlesson.language import say
from sdlesson.metrics import measured
from sdlesson.widgets import BotPanel, ChatPanel

seed = 0

# %% [markdown] lang="en"
# ## A bot asks
#
# A Telegram bot is a program that asks, over and over: *is there anything for me?* Each question
# and each answer is a web request. Here, no Telegram listens but a stand-in on this machine, as
# strict as Telegram, so you need neither account nor phone. What do you notice in the address?

# %% [markdown] lang="es"
# ## Un bot pregunta
#
# Un bot de Telegram es un programa que pregunta una y otra vez: *¿hay algo para mí?* Cada pregunta
# y cada respuesta es una petición web. Aquí no escucha Telegram, sino un sustituto en esta máquina,
# igual de estricto: no hacen falta ni cuenta ni teléfono. ¿Qué te llama la atención en la
# dirección?

# %%
server = BotApiServer().start()
address = f"{server.base_url}{server.token}/getMe"
print(address)
httpx.get(address, trust_env=False).json()

# %% [markdown] lang="en"
# The *token*, a bot's password, is in every address. So whatever logs addresses logs the token, and
# whoever has the token *is* the bot. This one opens nothing but the stand-in; the course's bot
# takes real ones out of every log line.

# %% [markdown] lang="es"
# El *token*, la contraseña del bot, va en todas las direcciones. Así que lo que registra
# direcciones registra el token, y quien tiene el token *es* el bot. Este solo abre el sustituto;
# los de verdad, el bot del curso los borra de cada línea del registro.

# %% [markdown] lang="en"
# ## One handler, three ways to run it
#
# A *handler* is a function that is called for each message. `async` lets others take turns
# wherever it says `await`. The *event loop* hands out the turns; a notebook has one already.

# %% [markdown] lang="es"
# ## Un manejador, tres maneras de ejecutarlo
#
# Un *manejador* (handler) es una función a la que se llama con cada mensaje. `async` deja pasar a
# otros donde pone `await`. Los turnos los reparte el *bucle de eventos*, y un cuaderno ya tiene
# uno.


# %%
async def greet(update, context):
    """Answer whoever wrote."""
    name = update.effective_user.first_name
    await update.effective_message.reply_text(say(f"Hello, {name}!", f"¡Hola, {name}!"))


def greeter():
    """Make a bot with one handler, which talks to our server."""
    builder = Application.builder().token(server.token).base_url(server.base_url)
    application = builder.build()
    application.add_handler(MessageHandler(filters.TEXT, greet))
    return application


# %% [markdown] lang="en"
# Ana is a user of the stand-in. She writes three times while a cell is busy, as it is when it
# draws. **Way 1:** start the parts of the bot in the notebook's own loop. How many answers will
# come before the cell is done?

# %% [markdown] lang="es"
# Ana usa el sustituto. Escribe tres veces mientras una celda está ocupada, como cuando dibuja.
# **Manera 1:** arrancar las partes del bot en el bucle del propio cuaderno. ¿Cuántas respuestas
# llegarán antes de que acabe la celda?

# %%
ana = server.user("Ana", language_code=say("en", "es"))


def answers_meanwhile():
    """Let Ana write three times while this cell is busy; count the answers that come meanwhile."""
    before = len(ana.messages)
    for greeting in [say("Hi!", "¡Hola!"), "...", say("Anybody?", "¿Hay alguien?")]:
        ana.says(greeting)
        time.sleep(0.7)  # the cell works, and gives no turn to anybody
    return len(ana.messages) - before - 3


application = greeter()
await application.initialize()
await application.updater.start_polling()
await application.start()
answered = {say("awaited", "con await"): answers_meanwhile()}

await asyncio.sleep(1)  # a turn for the others, at last
print(ana.messages[-1]["text"])
for stop in (application.updater.stop, application.stop, application.shutdown):
    await stop()

# %% [markdown] lang="en"
# None: one loop, one turn at a time, and the busy cell kept it. Only when it waited did the bot get
# through.
#
# **Way 2:** `nest_asyncio` lets a bot that wants the loop for itself run inside a cell. This one
# stops itself after two seconds. What can other cells do until then?

# %% [markdown] lang="es"
# Ninguna: un bucle, un turno cada vez, y se lo quedó la celda ocupada. El bot solo pasó cuando ella
# esperó.
#
# **Manera 2:** `nest_asyncio` deja que un bot que quiere el bucle para sí se ejecute dentro de una
# celda. Este se detiene solo a los dos segundos. ¿Qué pueden hacer mientras las demás celdas?

# %%
if sys.version_info < (3, 14):  # on which nest_asyncio, no longer looked after, breaks
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
# Responde, y retiene la celda hasta que alguien lo para; un bot de verdad estaría días. Mientras
# tanto no se puede ejecutar nada más.
#
# **Manera 3:** un hilo con un bucle propio.

# %%
loop, application = asyncio.new_event_loop(), greeter()


def serve():
    """Run the bot on a loop that nobody else uses."""
    asyncio.set_event_loop(loop)
    application.run_polling(close_loop=False, stop_signals=None)


thread = threading.Thread(target=serve, daemon=True)
thread.start()
answered[say("in a thread", "en un hilo")] = answers_meanwhile()
loop.call_soon_threadsafe(application.stop_running)  # from one loop to another: only like this
thread.join()

# %%
bars(
    list(answered),
    list(answered.values()),
    y_label=say("answers while a cell works", "respuestas mientras otra celda trabaja"),
    title=say("Three messages to a busy notebook", "Tres mensajes a un cuaderno ocupado"),
)

# %% tags=["nbval-check-output"]
print(*answered.values())

# %% [markdown] lang="en"
# All three. That is how the course's bot runs, and it is all it has in common with ours so far.
# What else does it need, once a picture takes seconds and fifty people want one?

# %% [markdown] lang="es"
# Las tres. Así funciona el bot del curso, y de momento no se parece en más al nuestro. ¿Qué más
# necesita cuando una imagen tarda segundos y la quieren cincuenta personas?

# %% [markdown] lang="en"
# ## A bot that draws
#
# `start` returns at once, and the cell can be run again: a new bot replaces the old one, for two
# with one token would take each other's messages.

# %% [markdown] lang="es"
# ## Un bot que dibuja
#
# `start` vuelve enseguida, y la celda se puede repetir: el bot nuevo sustituye al viejo, porque dos
# con el mismo token se quitarían los mensajes.

# %%
pipe = sdlesson.load_pipeline()
bot = Bot(pipe, server=server)
bot.start()
BotPanel(bot.snapshot)

# %% [markdown] lang="en"
# Talk to it, here or on its chat page. It asks for consent first; then write what to draw, send a
# photo with a caption, press the buttons. The cells below go on as Ana.

# %% [markdown] lang="es"
# Habla con él, aquí o en su página de chat. Primero te pide permiso; después, escribe qué dibujar,
# manda una foto con texto al pie, pulsa los botones. Las celdas de abajo siguen con Ana.

# %%
ChatPanel(server)


# %%
def agree(person):
    """Write /start for a person, and agree to what the bot says it keeps."""
    start = person.says("/start")
    welcome = person.waits_for(lambda message: "reply_markup" in message, after=start)
    person.presses(welcome, welcome["reply_markup"]["inline_keyboard"][0][0]["text"])
    return welcome["text"]


def picture_for(person, text):
    """Write a wish for a person, and wait for the message with the picture."""
    wish = person.says(text)
    return person.waits_for(say("seed", "semilla"), after=wish, timeout_s=120)


print(agree(ana))

# %%
wish = say(
    "/draw a robot on the beach --steps 30 --seed 7",
    "/draw un robot en la playa --pasos 30 --semilla 7",
)
shown = picture_for(ana, wish)
print(shown["caption"])
server.picture(shown)

# %% [markdown] lang="en"
# The caption holds all that is needed to draw it again. What is your wish on its way? First, a
# checked `Request`:

# %% [markdown] lang="es"
# El pie lleva todo lo que hace falta para volver a dibujarla. ¿Qué es tu deseo por el camino?
# Primero, una petición comprobada, un `Request`:

# %% tags=["nbval-check-output"]
for text in ["a cat —steps 30 --no hat --cfg 9", "--steps 1e9 a robot", "a robot --colour red"]:
    try:
        print(parse_request(text, Defaults()))
    except RequestError as error:
        print(error.reason, error.values)

# %% [markdown] lang="en"
# Phones turn two hyphens into a dash, and people guess names; so both are read. What cannot be
# drawn has a reason, and the bot words it in its user's language:

# %% [markdown] lang="es"
# Los teléfonos convierten dos guiones en una raya y la gente adivina nombres: se leen ambas cosas.
# Lo que no se puede dibujar tiene un motivo, que el bot dice en la lengua de cada cual:

# %%
bruno, chloe = server.user("Bruno", "es-AR"), server.user("Chloe", "en")
for person in (bruno, chloe):
    agree(person)
    asked = person.says("--steps 1e9 robot")
    print(person.waits_for("50", after=asked)["text"])

# %% [markdown] lang="en"
# The whole bot is handlers like yours in front of a queue. Here are words for one more, and a
# helper that lets four people try it.

# %% [markdown] lang="es"
# El bot entero son manejadores como el tuyo delante de una cola. Aquí hay palabras para uno más y
# una ayuda para que lo prueben cuatro personas.


# %%
subjects = ["a fox", "a robot", "a penguin", "a teddy bear", "an octopus", "a snowman", "a rocket"]
places = ["on the beach", "in the forest", "in the snow", "on Mars", "in space", "in the city"]
together = {f"{subject} {place}" for subject in subjects for place in places}


async def always_robots(update, context):
    """Draw a robot on Mars, whoever asks and whatever for."""
    await draw_for(update, context, "a robot on Mars")


def prompts_drawn(handler):
    """Let four people ask a bot with this handler for /surprise; return what it drew."""
    bot = Bot(pipe, server=server, handlers=[CommandHandler("surprise", handler)]).start()
    for number in range(4):
        person = server.user(f"Dani {number}")
        agree(person)
        person.says("/surprise")
    time.sleep(4)  # by now it has ordered what it orders
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
# text)` draws a text for whoever sent the update; like everything that takes time, it is awaited.

# %% [markdown] lang="es" part="goal"
# ### Ejercicio 1 · Un manejador: /surprise
#
# Escribe un manejador que dibuje un sujeto en un lugar, ambos elegidos al azar. `draw_for(update,
# context, texto)` dibuja un texto para quien mandó el mensaje; como todo lo que tarda, se espera
# con `await`.


# %% part="stub"
async def surprise(update, context):
    """Draw one of the subjects in one of the places, for whoever asks."""
    ...


# %% part="check"
exercises.check(
    lambda: prompts_drawn(surprise),
    lambda drawn: set(drawn) <= together and len(set(drawn)) > 1,
    hint=say(
        "random.choice picks one of a list, anew for each call; and await draw_for(...).",
        "random.choice elige de una lista, en cada llamada; y await draw_for(...).",
    ),
)


# %% part="solution"
async def surprise(update, context):
    """Draw one of the subjects in one of the places, for whoever asks."""
    text = f"{random.choice(subjects)} {random.choice(places)}"
    await draw_for(update, context, text)


# %% part="wrong"
async def surprise(update, context):
    """Choose the same each time."""
    chance = random.Random(seed)
    await draw_for(update, context, f"{chance.choice(subjects)} {chance.choice(places)}")


# %% part="wrong"
async def surprise(update, context):
    """Forget the place."""
    await draw_for(update, context, random.choice(subjects))


# %% part="wrong"
async def surprise(update, context):
    """Say it instead of drawing it."""
    await update.effective_message.reply_text(f"{random.choice(subjects)} {random.choice(places)}")


# %% [markdown] lang="en" part="noticed"
# **What you should have noticed.** A handler reads a message, calls one thing, and is done: the
# picture comes later, from elsewhere. That keeps it short, and everybody else's messages moving.

# %% [markdown] lang="es" part="noticed"
# **Lo que deberías haber notado.** Un manejador lee un mensaje, llama a una sola cosa y acaba: la
# imagen llega después, de otro sitio. Así es corto, y los mensajes de los demás no se detienen.

# %% [markdown] lang="en"
# ## How fast may it speak?
#
# Telegram takes about one message a second for a chat, and thirty for all chats together. A bot
# that sends more is answered 429 and has to wait. Ana now asks for help four times at once. When
# will the answers leave?

# %% [markdown] lang="es"
# ## ¿A qué ritmo puede hablar?
#
# Telegram admite cerca de un mensaje por segundo en un chat, y treinta entre todos. Al bot que
# manda más le contesta 429 y le toca esperar. Ana pide ahora ayuda cuatro veces seguidas. ¿Cuándo
# saldrán las respuestas?

# %%
bot.start()
time.sleep(1.5)  # rest, so that the count starts from nothing
started = time.monotonic()
for text in ["/help"] * 4:
    ana.says(text)


def helped():
    """When the bot sent Ana its help, in seconds after she asked."""
    calls = [call for call in server.requests if call.method == "sendMessage"]
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
# el cubo está lleno en el segundo 0? Lleva dos números: las fichas y cuándo las contaste.


# %% part="stub"
def departures(arrivals, per_s, size):
    """Return when each message leaves: a bucket of `size` tokens, which gains `per_s` a second."""
    ...


# %% part="check"
exercises.check(
    lambda: [
        *departures([0, 0, 0, 0, 9, 9, 9], per_s=1, size=2),
        *departures([0, 0.5, 1, 1], per_s=2, size=1),
        *departures([3, 3], per_s=0.25, size=1),
    ],
    [0, 0, 1, 2, 9, 9, 10, 0, 0.5, 1, 1.5, 3, 7],
    hint=say(
        "First gain (time since the last count) * per_s, up to size; then take one, or wait.",
        "Primero gana (tiempo desde la última cuenta) * per_s, sin pasar de size; luego gasta una.",
    ),
)


# %% part="solution"
def departures(arrivals, per_s, size):
    """Return when each message leaves: a bucket of `size` tokens, which gains `per_s` a second."""
    tokens, counted, leaving = size, 0, []
    for arrival in arrivals:
        now = max(arrival, counted)  # not before the one before it
        tokens = min(size, tokens + (now - counted) * per_s)
        wait = max(0, 1 - tokens) / per_s
        tokens, counted = tokens + wait * per_s - 1, now + wait
        leaving.append(counted)
    return leaving


# %% part="wrong"
def departures(arrivals, per_s, size):
    """Space all messages alike, and let no burst through."""
    leaving = [arrivals[0]]
    for arrival in arrivals[1:]:
        leaving.append(max(arrival, leaving[-1] + 1 / per_s))
    return leaving


# %% part="wrong"
def departures(arrivals, per_s, size):
    """Let tokens pile up without end."""
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
    tokens, counted, leaving = 0, 0, []
    for arrival in arrivals:
        now = max(arrival, counted)
        tokens = min(size, tokens + (now - counted) * per_s)
        wait = max(0, 1 - tokens) / per_s
        tokens, counted = tokens + wait * per_s - 1, now + wait
        leaving.append(counted)
    return leaving


# %% [markdown] lang="en" part="noticed"
# **What you should have noticed.** A bucket lets a short burst through and holds the average. The
# same eight lines limit how many pictures a user may order, how often your phone syncs, how many
# requests a web server takes.

# %% [markdown] lang="es" part="noticed"
# **Lo que deberías haber notado.** Un cubo deja pasar una ráfaga corta y mantiene la media. Las
# mismas ocho líneas limitan cuántas imágenes pide un usuario, cuánto sincroniza tu teléfono o
# cuántas peticiones admite un servidor.

# %% [markdown] lang="en"
# ## Fair turns
#
# Ana orders six pictures; then Bruno and Chloe order one each. First come, first served: how many
# pictures does Chloe wait for?

# %% [markdown] lang="es"
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
print(*(users[user] for user in arrived), "·", *(users[user] for user in in_turns))

# %%
bars(
    [*users.values(), *users.values()],
    [line.index(user) for line in (arrived, in_turns) for user in users],
    y_label=say("pictures before the first of one's own", "imágenes antes de la primera propia"),
    title=say("First come (left), in turns (right)", "Por llegada (izq.) y por turnos (der.)"),
)

# %% [markdown] lang="en"
# Seven, or two. In turns, nobody waits behind somebody else's backlog, and Ana's last picture comes
# no later than before. A queue must end somewhere too: the bot's takes three a user and a hundred
# in all, and says so.

# %% [markdown] lang="es"
# Siete, o dos. Por turnos, nadie espera detrás del montón de otra persona, y la última imagen de
# Ana no llega más tarde que antes. Y toda cola debe tener un final: la del bot admite tres por
# persona y cien en total, y lo dice.

# %% [markdown] lang="en" part="goal"
# ### Exercise 3 · A fair queue
#
# `arrived` lists whose each order is. Return the numbers of the orders as a fair queue would serve
# them: first everybody's first, in the order in which they came, then everybody's second, and so
# on.

# %% [markdown] lang="es" part="goal"
# ### Ejercicio 3 · Una cola justa
#
# `arrived` dice de quién es cada pedido. Devuelve los números de los pedidos como los serviría una
# cola justa: antes el primero de cada cual, según llegaron; luego, los segundos, y así.


# %% part="stub"
def fair_order(arrived):
    """Return the numbers of the orders, from 0, in fair turns between users."""
    ...


# %% part="check"
exercises.check(
    lambda: [
        *fair_order(["Ana", "Ana", "Ana", "Bruno", "Chloe"]),
        *fair_order(["Chloe", "Ana", "Ana", "Chloe", "Bruno", "Chloe"]),
        *fair_order(["Ana", "Ana"]),
    ],
    [0, 3, 4, 1, 2, 0, 1, 4, 3, 2, 5, 0, 1],
    hint=say(
        "How many orders has this user placed before? That number is the round it belongs to.",
        "¿Cuántos pedidos hizo antes esa persona? Ese número es la ronda que le toca.",
    ),
)


# %% part="solution"
def fair_order(arrived):
    """Return the numbers of the orders, from 0, in fair turns between users."""
    firsts = list(dict.fromkeys(arrived))  # users in the order of their first order

    def turn(number):
        user = arrived[number]
        return arrived[:number].count(user), firsts.index(user)

    return sorted(range(len(arrived)), key=turn)


# %% part="wrong"
def fair_order(arrived):
    """First come, first served."""
    return list(range(len(arrived)))


# %% part="wrong"
def fair_order(arrived):
    """Take turns in the order of names."""
    return sorted(range(len(arrived)), key=lambda n: (arrived[:n].count(arrived[n]), arrived[n]))


# %% part="wrong"
def fair_order(arrived):
    """Serve those first who order least."""
    return sorted(range(len(arrived)), key=lambda n: arrived.count(arrived[n]))


# %% part="wrong"
def fair_order(arrived):
    """Serve each user's latest order first."""
    return sorted(range(len(arrived)), key=lambda n: arrived[n + 1 :].count(arrived[n]))


# %% [markdown] lang="en" part="noticed"
# **What you should have noticed.** Fairness is a choice of order, and costs nothing: the same
# pictures, the same time in all. A queue of printers, of players, of packets is made fair like
# this.

# %% [markdown] lang="es" part="noticed"
# **Lo que deberías haber notado.** La justicia es elegir un orden, y no cuesta nada: las mismas
# imágenes, el mismo tiempo en total. Así se hacen justas las colas de impresoras, de jugadores o de
# paquetes.

# %% [markdown] lang="en"
# ## One worker
#
# All drawing is done by one thread, since a GPU does not draw two pictures faster by turns. But
# jobs that agree in steps and guidance can be drawn in one *batch*. What is that worth?

# %% [markdown] lang="es"
# ## Un solo trabajador
#
# Todo lo dibuja un único hilo, pues una GPU no dibuja dos imágenes antes por alternarlas. Pero los
# trabajos con los mismos pasos y guía caben en un *lote*. ¿Cuánto se gana?

# %%
measured("bot_batching")

# %% [markdown] lang="en"
# The pictures are the same ones: each has its own seed, so nobody's company changes it.
#
# Meanwhile the bot goes on listening. Ana orders three pictures of fifty steps and gives them up;
# Chloe wants them gone too. Whose command counts?

# %% [markdown] lang="es"
# Las imágenes son las mismas: cada una lleva su semilla, así que la compañía no la cambia.
#
# Mientras, el bot sigue escuchando. Ana pide tres imágenes de cincuenta pasos y renuncia a ellas;
# también Chloe quiere que desaparezcan. ¿A quién hace caso?

# %%
for prompt in (say("a house", "una casa"), say("a boat", "un barco"), say("a tree", "un árbol")):
    ordered = ana.says(f"{prompt} --steps 50")
refused = chloe.says("/cancel")
print("Chloe:", chloe.waits_for("pictures", after=refused)["text"])

ana.says("/cancel")
print("Ana:", ana.waits_for(say("Cancelled", "Cancelada"), after=ordered, timeout_s=60)["text"])

# %% [markdown] lang="en"
# Only her own: each job belongs to who ordered it, and a running one stops at its next step.
#
# ## When the line is bad
#
# The stand-in can also fail like the real one. First it answers 429; then it takes the picture, and
# its answer gets lost. Should the bot send it again?

# %% [markdown] lang="es"
# Solo a la dueña: cada trabajo es de quien lo pidió, y el que está en marcha se detiene en el paso
# siguiente.
#
# ## Cuando falla la línea
#
# El sustituto también sabe fallar como el de verdad. Primero contesta 429; luego recibe la imagen,
# pero su respuesta se pierde. ¿Debe el bot mandarla otra vez?

# %%
server.fail("sendPhoto", status=429, retry_after=2)
shown = picture_for(ana, say("a fox in the snow", "un zorro en la nieve"))

server.fail("sendPhoto", drop=True, after=True)
wish = ana.says(say("a fox on Mars", "un zorro en Marte"))
note = ana.waits_for(say("did not confirm", "no ha confirmado"), after=wish, timeout_s=60)
print(note["text"])

# %%
sent = [call for call in server.requests if call.method == "sendPhoto"]
foxes = [message for message in ana.messages if say("fox", "zorro") in message.get("caption", "")]
strip([server.picture(message) for message in foxes])

# %% tags=["nbval-check-output"]
print([call.status for call in sent][-3:], len(foxes))

# %% [markdown] lang="en"
# After the 429 it waited as told, and the second try arrived. The lost answer it did not repeat:
# the picture may be there (it is!), and twice would be worse than a word about it.
#
# And the token?

# %% [markdown] lang="es"
# Tras el 429 esperó lo que le dijeron, y el segundo intento llegó. La respuesta perdida no la
# repitió: puede que la imagen esté (¡está!), y mandarla dos veces sería peor que avisar.
#
# ¿Y el token?

# %% tags=["nbval-check-output"]
secret = server.token
print(any(secret in line for line in bot.log), secret in repr(bot), len(bot.log) > 10)

# %% [markdown] lang="en"
# In none of its log lines.
#
# ## On your phone
#
# In Telegram, write `/newbot` to [@BotFather](https://t.me/botfather); it asks for a name and gives
# you a token. Put it into Colab's secret `TELEGRAM_BOT_TOKEN` (the key on the left edge) or the
# environment, never into a cell. Then write `True`:

# %% [markdown] lang="es"
# En ninguna de sus líneas de registro.
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
# ## Where it may run
#
# Free Colab is for work in the notebook: its rules exclude web services, and the machine goes when
# you do. For your class, while you watch, it is fine. A bot that stays needs a computer that stays:
#
# ```
# sdlesson bot
# ```
#
# It reads the token from the environment, and stops gracefully when told to.

# %% [markdown] lang="es"
# ## Dónde puede estar
#
# El Colab gratuito es para trabajar en el cuaderno: sus normas excluyen los servicios web, y la
# máquina se va cuando te vas. Para tu clase, mientras miras, sirve. Un bot que se queda necesita un
# ordenador que se quede:
#
# ```
# sdlesson bot
# ```
#
# Lee el token del entorno y se detiene con orden cuando se lo piden.

# %% [markdown] lang="en"
# ## What a public bot owes its users
#
# - **To say what it is:** a program; what it keeps, for how long, who sees it. Ask before, and
#   delete when asked.
# - **To watch what it draws:** a checker on every picture, rules for prompts, and a person who
#   reads complaints.
# - **Nobody's face, nobody's body:** the limits of lesson 06 hold for photos that strangers send.
# - **To be honest about failure:** a short word and a number that finds the log line; never
#   silence, never a traceback.
# - **To cost what you can pay:** a quota a day for each user, before the bill says so.

# %% [markdown] lang="es"
# ## Lo que un bot público debe a sus usuarios
#
# - **Decir qué es:** un programa; qué guarda, cuánto tiempo y quién lo ve. Pregunta antes, y borra
#   cuando te lo pidan.
# - **Vigilar lo que dibuja:** un filtro en cada imagen, reglas para los prompts y una persona que
#   lea las quejas.
# - **Ni la cara ni el cuerpo de nadie:** los límites de la lección 06 valen para las fotos que
#   mandan desconocidos.
# - **Ser honesto al fallar:** unas palabras y un número que lleve a la línea del registro; nunca el
#   silencio, nunca un error de Python.
# - **Costar lo que puedas pagar:** una cuota diaria por persona, antes de que lo diga la factura.

# %%
bot.stop()
server.stop()
bot

# %% [markdown] lang="en"
# ## Where to go next
#
# - A bot asks, in a thread with a loop of its own; a handler reads, calls one thing, and is done.
# - One worker draws; a fair queue decides who is next; a token bucket decides when to speak.
# - What may have arrived is never sent twice, and the token is never written down.
#
# You have reached the end of the road that began with an astronaut on a horse. Now it is your turn:
# take one lesson's numbers, and better them.

# %% [markdown] lang="es"
# ## Por dónde seguir
#
# - Un bot pregunta, en un hilo con su propio bucle; un manejador lee, llama a una cosa y acaba.
# - Dibuja un solo trabajador; una cola justa decide a quién le toca; un cubo de fichas, cuándo se
#   habla.
# - Lo que quizá llegó no se manda dos veces, y el token no se escribe en ninguna parte.
#
# Has llegado al final del camino que empezó con un astronauta a caballo. Ahora te toca a ti: toma
# los números de una lección y mejóralos.
