# ---
# jupyter:
#   lesson:
#     names:
#       en: 11_a_bot_in_public
#       es: 11_un_bot_en_publico
#     colab_lacks:
#       - "python-telegram-bot>=22,<23"
#       - "pydantic-settings>=2.10,<3"
#       - "structlog>=25,<27"
#     minutes: 60
#     after: ["10"]
#     knows: {en: "Python functions", es: "funciones de Python"}
#     needs:
#       en: "any computer, with or without GPU · no account, no phone, no Redis · nothing to
#        download"
#       es: "cualquier equipo, con o sin GPU · sin cuenta, sin teléfono, sin Redis · nada que
#        descargar"
# ---

# %% [markdown] lang="en"
# # A bot in public
#
# In this lesson you will
# - kill a bot while it draws, and see that it keeps its promises all the same,
# - put limits, rules and a secret between it and the world, and know what they cannot do,
# - work out how far two workers, or a thousand, would carry it, and what you may log.

# %% [markdown] lang="es"
# # Un bot en público
#
# En esta lección vas a
# - matar un bot mientras dibuja y ver que, aun así, cumple lo prometido,
# - poner límites, reglas y un secreto entre él y el mundo, y saber qué no pueden hacer,
# - calcular hasta dónde llegaría con dos trabajadores, o con mil, y qué puedes registrar.

# %% part="setup"
import heapq
import io
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import httpx

import sdlesson
from sdlesson import bot_service as service
from sdlesson.bot import PipelineGenerator, Request
from sdlesson.bot_api import BotApiServer
from sdlesson.bot_service.health import answering
from sdlesson.exercises import lesson_11 as checks
from sdlesson.figures import curves, strip
from sdlesson.language import say
from sdlesson.metrics import measured

server = BotApiServer().start()  # the stand-in for Telegram, as in lesson 10
# es: el sustituto de Telegram, como en la lección 10

# %% [markdown] lang="en" short=true
# ## A promise that outlives the bot
#
# The bot of [lesson 10](lesson:10) keeps its queue in memory: when it dies, whoever waits will wait
# for ever. A public bot *will* die: a power cut, a full memory, a mistake of ours. So this one
# writes each request down before it says yes. We start it as a process of its own.

# %% [markdown] lang="es" short=true
# ## Una promesa que sobrevive al bot
#
# El bot de la [lección 10](lesson:10) guarda su cola en memoria: si muere, quien espera esperará
# para siempre. Un bot público *va a* morir: un apagón, la memoria llena, un error nuestro. Por
# eso este anota cada petición antes de aceptarla. Lo arrancamos como proceso propio.

# %%
folder = Path(tempfile.mkdtemp())
database = f"sqlite:///{folder.as_posix()}/bot.db"

settings = {"TOKEN": server.token, "API_URL": server.base_url, "METRICS_PORT": "0"}
settings["DATABASE_URL"] = database
variables = {f"SDLESSON_BOT_{name}": value for name, value in settings.items()}
first = subprocess.Popen(
    [sys.executable, "-m", "sdlesson.bot_service"],
    env=os.environ | variables,
    stderr=(folder / "first.log").open("w"),
)

# %% [markdown] lang="en"
# This is how an operator starts it too: settings in the environment, so that no secret stands in
# the code. While it loads, three helpers. One lets a person in, who agrees to what the bot keeps;
# one waits for a picture.

# %% [markdown] lang="es"
# Así lo arranca también quien lo opera: los ajustes van en el entorno, para que ningún secreto esté
# en el código. Mientras carga, tres funciones de ayuda. Una deja entrar a alguien, que acepta lo
# que el bot guarda; otra espera una imagen.


# %%
def newcomer(name):
    """Let somebody in, who agrees to what the bot keeps."""
    # es: Deja entrar a alguien, que acepta lo que el bot guarda.
    person = server.user(name, language_code=say("en", "es"))
    start = person.says("/start")
    welcome = person.waits_for(lambda seen: "reply_markup" in seen, after=start, timeout_s=120)
    person.presses(welcome, welcome["reply_markup"]["inline_keyboard"][0][0]["text"])
    person.waits_for("/help", after=welcome, timeout_s=60)
    return person


def picture_of(person, wish):
    """Wait for the picture of a wish, and return the message that it comes in."""
    # es: Espera la imagen de un deseo y devuelve el mensaje en el que llega.
    return person.waits_for(lambda seen: seen.get("caption", "").startswith(wish), timeout_s=60)


# %% [markdown] lang="en"
# The third reads the *record*: a table of *jobs*, each with its state. Where it is given a
# condition, it waits until that holds.

# %% [markdown] lang="es"
# La tercera lee el *libro de pedidos*: una tabla de *trabajos*, cada uno con su estado. Si se le da
# una condición, espera hasta que se cumpla.

# %%
store = service.Store(database)


def on_record(person, is_settled=lambda found: True):
    """A person's requests and their states, the oldest first, once that is settled."""
    # es: Las peticiones de alguien y sus estados, desde la más antigua, cuando esté resuelto.
    for _ in range(6000):  # for a minute at most
        # es: durante un minuto como mucho
        jobs = store.jobs.history(person.id)[::-1]
        found = [(job.request.prompt, job.state) for job in jobs]
        if is_settled(found):
            break
        time.sleep(0.01)
    return [(prompt, str(state)) for prompt, state in found]


def all_over(found):
    """Whether every request has come to its end."""
    # es: Si cada petición ha llegado a su fin.
    return all(state.is_end for _, state in found)


# %% [markdown] lang="en"
# Ana asks for a robot, which takes fifty steps, and for a fox. As soon as the record says that the
# robot is being drawn, we kill the process with `kill -9`: it can neither finish, nor tidy up, nor
# say a word. What will the record say then?

# %% [markdown] lang="es"
# Ana pide un robot, que lleva cincuenta pasos, y un zorro. En cuanto el libro diga que el robot se
# está dibujando, matamos el proceso con `kill -9`: no puede ni terminar, ni recoger, ni decir nada.
# ¿Qué dirá entonces el libro?

# %%
ana = newcomer("Ana")
robot, fox = say("a robot on Mars", "un robot en Marte"), say("a fox", "un zorro")
ana.says(f"{robot} {say('--steps', '--pasos')} 50")
ana.says(fox)
on_record(ana, lambda found: [state for _, state in found] == ["running", "accepted"])

first.kill()  # on Linux and macOS: kill -9
# es: en Linux y macOS: kill -9
first.wait()  # minus the number of the signal
# es: menos el número de la señal

# %% part="claim"
assert first.returncode != 0, "the process did not end by itself"

# %% tags=["nbval-check-output"]
on_record(ana)

# %% part="claim"
assert on_record(ana) == [(robot, "running"), (fox, "accepted")], "killed in mid-job"

# %% [markdown] lang="en"
# Nobody is there any more, and the record still holds both. The rule that makes it trustworthy:
# **write down first, then act**. A job is on record *before* its user hears that it waits, *before*
# it is drawn, *before* its picture leaves.

# %% [markdown] lang="es"
# Ya no queda nadie, y el libro conserva las dos. La regla que lo hace fiable: **primero
# anotar, luego actuar**. Un trabajo está anotado *antes* de que quien lo pidió sepa que espera,
# *antes* de dibujarse y *antes* de que salga su imagen.

# %% [markdown] lang="en" part="goal"
# ### Exercise 1 · After the kill
#
# A new process finds jobs *accepted*, *running*, *sending* and *sent*. Which does it draw, of which
# does it only tell the user, and with which does it do nothing? No picture may come twice, nobody
# may be left without a word, and a request that the bot died of must not kill it again.

# %% [markdown] lang="es" part="goal"
# ### Ejercicio 1 · Después de matarlo
#
# Un proceso nuevo encuentra trabajos *accepted*, *running*, *sending* y *sent*. ¿Cuáles dibuja, de
# cuáles solo avisa y con cuáles no hace nada? Ninguna imagen debe llegar dos veces, nadie debe
# quedarse sin noticia, y una petición que mató al bot no debe matarlo otra vez.


# %% part="stub"
def after_kill(state):
    """Return "draw", "tell" or "nothing" for a job that was left in this state."""
    # es: Devuelve "draw" (dibujar), "tell" (avisar) o "nothing" (nada) para ese estado.
    ...


# %% part="check"
checks.after_kill(after_kill)


# %% part="solution"
def after_kill(state):
    """Return "draw", "tell" or "nothing" for a job that was left in this state."""
    # es: Devuelve "draw" (dibujar), "tell" (avisar) o "nothing" (nada) para ese estado.
    if state == "accepted":  # not begun, so nothing can happen twice
        # es: sin empezar: nada puede ocurrir dos veces
        return "draw"
    if state in ("running", "sending"):  # it may be what the bot died of; it may have arrived
        # es: quizá lo mató; quizá llegó
        return "tell"
    return "nothing"


# %% part="wrong"
def after_kill(state):
    """Draw again whatever was not finished."""
    # es: Vuelve a dibujar todo lo que no se terminó.
    return "nothing" if state == "sent" else "draw"


# %% part="wrong" half=true
def after_kill(state):
    """Begin what was running again."""
    # es: Vuelve a empezar lo que estaba en marcha.
    return {"accepted": "draw", "running": "draw", "sending": "tell"}.get(state, "nothing")


# %% part="wrong"
def after_kill(state):
    """Keep quiet about what broke off."""
    # es: Calla lo que quedó a medias.
    return "draw" if state == "accepted" else "nothing"


# %% part="wrong"
def after_kill(state):
    """Only tell, and draw nothing."""
    # es: Solo avisa y no dibuja nada.
    return "nothing" if state == "sent" else "tell"


# %% [markdown] lang="en" part="noticed"
# **What you should have noticed.** Four words on record decide everything. Databases, banks and
# mail servers recover like this: from what was written *before* the act, each knows what may have
# happened.

# %% [markdown] lang="es" part="noticed"
# **Lo que deberías haber notado.** Cuatro palabras anotadas lo deciden todo. Así se recuperan las
# bases de datos, los bancos y los servidores de correo: por lo escrito *antes* de actuar saben qué
# pudo pasar.

# %% [markdown] lang="en"
# Now a second process takes over the same database: this notebook, so that we can look inside.
# `Parts` says what a service is made of: what draws, what remembers, what refuses, what counts. The
# log and the metrics are for the end of the lesson.

# %% [markdown] lang="es"
# Ahora un segundo proceso se hace cargo de la misma base de datos: este cuaderno, para poder mirar
# dentro. `Parts` dice de qué se compone un servicio: qué dibuja, qué recuerda, qué rechaza, qué
# cuenta. El registro y las métricas son para el final de la lección.

# %%
log, metrics = io.StringIO(), service.Metrics()
service.write_log(stream=log)

limits = service.Limits(burst=2, per_minute=2, daily=3)
moderation = service.Moderation(service.read_words())
parts = service.Parts(
    server.token,
    PipelineGenerator(sdlesson.load_pipeline("pocket")),
    store,
    base_url=server.base_url,
    limits=limits,
    moderation=moderation,
    events=metrics,
)
run = service.ServiceRun(parts).start()

# %%
fox_seen = picture_of(ana, fox)
told = ana.waits_for(say("broke off", "Me interrumpí"), timeout_s=60)
print(told["text"])
on_record(ana, all_over)

# %% [markdown] lang="en"
# The fox comes by itself. Of the robot Ana is *told*; it has not cost her anything of her quota,
# and there is a button. Whether it is worth a second try, she decides.

# %% [markdown] lang="es"
# El zorro llega solo. Del robot se *avisa* a Ana; no le ha gastado cuota y hay un botón. Si vale la
# pena repetirlo, lo decide ella.

# %%
ana.presses(told, say("↻ Draw it again", "↻ Dibujarla otra vez"))
robot_seen = picture_of(ana, robot)
strip([server.picture(fox_seen), server.picture(robot_seen)], [fox, robot])

# %% part="claim"
assert server.picture(fox_seen) != server.picture(robot_seen), "two pictures, not one twice"

# %%
ended = on_record(ana, all_over)
asked = ana.says("/history")
print(ana.waits_for(say("latest", "últimas"), after=asked, timeout_s=60)["text"])

# %% tags=["nbval-check-output"]
captions = [seen["caption"] for seen in ana.messages if "caption" in seen]
[(wish, sum(caption.startswith(wish) for caption in captions)) for wish in (robot, fox)]

# %% part="claim"
assert ended == [(robot, "interrupted"), (fox, "sent"), (robot, "sent")], "one end for each"
assert len(captions) == 2, "exactly one picture of each"
assert store.jobs.drawn_today(ana.id) == 2, "what broke off is not paid for"

# %% [markdown] lang="en"
# One picture of each. The course's tests do this at fifty random moments under load, and find every
# request drawn once, or its user told. With `/forget` Ana deletes all of it, but for how many she
# had today.

# %% [markdown] lang="es"
# Una imagen de cada. Las pruebas del curso lo hacen en cincuenta momentos al azar y con carga, y
# encuentran cada petición dibujada una vez, o avisada. Con `/forget`, Ana lo borra todo, salvo
# cuántas lleva hoy.

# %% [markdown] lang="en" part="discuss"
# A job was *sending* when the bot died. Why is "it may have arrived" the best that anybody can say?
#
# ---
#
# Between sending and hearing *I have it* there is a gap in which a death leaves both possible. You
# can promise *at most once* (never resend) or *at least once* (resend, perhaps twice); *exactly
# once* needs a receiver that recognises a repetition. Telegram's does not.

# %% [markdown] lang="es" part="discuss"
# Un trabajo estaba en *sending* cuando murió el bot. ¿Por qué «quizá haya llegado» es lo mejor que
# se puede decir?
#
# ---
#
# Entre enviar y oír *lo tengo* hay un hueco en el que, si mueres, ambas cosas son posibles. Puedes
# prometer *como mucho una vez* (no reenviar) o *al menos una vez* (reenviar, quizá dos); *justo una
# vez* exige que quien recibe reconozca la repetición. Telegram no lo hace.

# %% [markdown] lang="en" short=true
# ## How much for each
#
# Pictures cost time and money, so nobody may order without end. Each user has a *token bucket*, as
# in lesson 10, and a daily *quota*. Here the bucket does not make anybody wait in silence: it
# refuses, and says when to ask again. Bruno is impatient:

# %% [markdown] lang="es" short=true
# ## Cuánto para cada cual
#
# Las imágenes cuestan tiempo y dinero: nadie puede pedir sin fin. Cada persona tiene un *cubo de
# fichas*, como en la lección 10, y una *cuota* diaria. Aquí el cubo no hace esperar en silencio:
# rechaza y dice cuándo volver a pedir. Bruno es impaciente:

# %%
bruno = newcomer("Bruno")
for text in (say("a cat", "un gato"), say("a dog", "un perro"), say("a boat", "un barco")):
    asked = bruno.says(text)
print(bruno.waits_for(say("Ask again", "Vuelve a pedir"), after=asked, timeout_s=60)["text"])

# %% part="claim"
assert store.jobs.drawn_today(bruno.id) == 2, "two were taken, the third was not"

# %% [markdown] lang="en"
# Two at once, then two a minute. Suppose that somebody wants twelve pictures and asks again exactly
# when told to. When is each request taken, for a bucket of 1, of 2 and of 5?

# %% [markdown] lang="es"
# Dos a la vez y luego dos por minuto. Supón que alguien quiere doce imágenes y vuelve a pedir
# justo cuando se lo dicen. ¿Cuándo se acepta cada petición, con un cubo de 1, de 2 y de 5?


# %%
def taken_at(requests, limits):
    """When each request is taken, in seconds, of somebody who asks again when told to."""
    # es: Cuándo se acepta cada petición, en segundos, de quien vuelve a pedir cuando se le dice.
    now, bucket, taken = 0.0, service.full_bucket(limits, 0.0), []
    while len(taken) < requests:
        try:
            bucket = bucket.take(limits, now)
            taken.append(now)
        except service.LimitError as error:
            now += error.wait_s + 0.001  # a moment later, or rounding could refuse it again
            # es: un momento después, por el redondeo
    return taken


waits = {burst: taken_at(12, service.Limits(burst, per_minute=2)) for burst in (1, 2, 5)}
curves(
    range(1, 13),
    {say(f"burst {burst}", f"ráfaga {burst}"): wait for burst, wait in waits.items()},
    x_label=say("request", "petición"),
    y_label=say("taken after so many seconds", "aceptada a los segundos"),
    title=say("Twelve pictures, two a minute", "Doce imágenes, dos por minuto"),
)

# %% part="claim"
formula = {b: [max(0, n - b) * 60 / 2 for n in range(1, 13)] for b in waits}
gaps = [abs(x - y) for b in waits for x, y in zip(waits[b], formula[b], strict=True)]
assert max(gaps) < 0.1, "the buckets wait as the formula says"

# %% [markdown] lang="en"
# With a burst of $b$ and $r$ a minute, the $n$-th of many requests is taken after
#
# $$w_n = \max(0,\ n - b) \cdot \frac{60}{r} \text{ seconds}$$
#
# The burst shifts the line, the rate is its slope. Both protect *other users*. The quota protects
# your bill, until midnight in UTC:

# %% [markdown] lang="es"
# Con una ráfaga de $b$ y $r$ por minuto, la $n$-ésima de muchas peticiones se acepta al cabo de
#
# $$w_n = \max(0,\ n - b) \cdot \frac{60}{r} \text{ segundos}$$
#
# La ráfaga desplaza la línea; el ritmo es su pendiente. Ambos protegen a *los demás*. La cuota
# protege tu factura, hasta la medianoche en UTC:

# %% tags=["nbval-check-output"]
evening = datetime(2026, 11, 28, 21, 30, tzinfo=UTC).timestamp()
for drawn in (2, 3):
    try:
        service.check_quota(drawn, limits, evening)
        print(drawn, say("drawn: one more, please", "dibujadas: adelante con otra"))
    except service.LimitError as error:
        print(drawn, say("drawn: wait hours:", "dibujadas: espera, horas:"), error.wait_s / 3600)

# %% part="claim"
waits_s = []
try:
    service.check_quota(3, limits, evening)
except service.LimitError as error:
    waits_s.append(error.wait_s)
assert waits_s == [2.5 * 3600], "the fourth of a day waits until midnight, in UTC"

# %% [markdown] lang="en" part="goal"
# ### Exercise 2 · The most that it can cost
#
# How many requests can one user get through within `seconds` of one day, beginning with a full
# bucket? Whoever pays multiplies this by the number of users and by the price of a picture.

# %% [markdown] lang="es" part="goal"
# ### Ejercicio 2 · Lo máximo que puede costar
#
# ¿Cuántas peticiones consigue como mucho una persona en `seconds` segundos de un mismo día, si
# empieza con el cubo lleno? Quien paga multiplica esto por las personas y por el precio de una
# imagen.


# %% part="stub"
def at_most(seconds, burst, per_minute, daily):
    """Return the largest number of requests that are taken."""
    # es: Devuelve el mayor número de peticiones que se aceptan.
    ...


# %% part="check"
checks.at_most(at_most)


# %% part="solution"
def at_most(seconds, burst, per_minute, daily):
    """Return the largest number of requests that are taken."""
    # es: Devuelve el mayor número de peticiones que se aceptan.
    from_bucket = int(burst + seconds * per_minute / 60)  # only whole tokens count
    # es: solo cuentan las fichas enteras
    return min(daily, from_bucket)


# %% part="wrong"
def at_most(seconds, burst, per_minute, daily):
    """Forget the full bucket at the beginning."""
    # es: Olvida que el cubo empieza lleno.
    return min(daily, int(seconds * per_minute / 60))


# %% part="wrong"
def at_most(seconds, burst, per_minute, daily):
    """Forget the quota."""
    # es: Olvida la cuota.
    return int(burst + seconds * per_minute / 60)


# %% part="wrong" half=true
def at_most(seconds, burst, per_minute, daily):
    """Take most of a token for a whole one."""
    # es: Toma por entera una ficha a la que le falta poco.
    return min(daily, round(burst + seconds * per_minute / 60))


# %% part="wrong"
def at_most(seconds, burst, per_minute, daily):
    """Count a minute's rate every second."""
    # es: Cuenta en cada segundo lo de un minuto.
    return min(daily, int(burst + seconds * per_minute))


# %% [markdown] lang="en" part="noticed"
# **What you should have noticed.** At first the burst counts, then the rate, for a day the quota
# alone. Where these numbers are kept matters too: here with the jobs, in one
# *transaction* (all of it or nothing), so that a kill neither forgets nor charges twice.

# %% [markdown] lang="es" part="noticed"
# **Lo que deberías haber notado.** Al principio cuenta la ráfaga; luego, el ritmo; en un día, solo
# la cuota. También importa dónde se guardan: aquí, junto a los trabajos, en una *transacción*
# (todo o nada); así, aunque maten al bot, ni se olvida ni se cobra dos veces.

# %% [markdown] lang="en" part="discuss"
# Your class of thirty shares one bot, and each has 50 pictures a day. Is that fair? What would you
# do about the student who makes three accounts?
#
# ---
#
# Equal quotas are not equal needs, but they are easy to explain. Accounts are cheap, so limits for
# each user do not stop who has many: an allow-list, a login of the school, or a limit for all
# together does. Every such step costs honest users something.

# %% [markdown] lang="es" part="discuss"
# Tu clase de treinta comparte un bot y cada cual tiene 50 imágenes al día. ¿Es justo? ¿Qué harías
# con quien se crea tres cuentas?
#
# ---
#
# Cuotas iguales no son necesidades iguales, pero son fáciles de explicar. Hacerse cuentas es
# barato: un límite por persona no frena a quien tiene varias; sí lo hacen una lista de admitidos,
# la cuenta del centro o un límite común. Cada medida le cuesta algo a quien es honrado.

# %% [markdown] lang="en" short=true
# ## What it does not draw
#
# *Moderation* begins with a list of words. Below, a naive filter looks for them anywhere in the
# text, and the bot's for whole words as people read them: without accents, dots or invisible
# characters, digits as letters. Which of the seven does each of them get wrong?

# %% [markdown] lang="es" short=true
# ## Lo que no dibuja
#
# La *moderación* empieza con una lista de palabras. Abajo, un filtro ingenuo las busca en cualquier
# parte del texto, y el del bot, como palabras enteras y tal como se leen: sin acentos, puntos ni
# caracteres invisibles, con cifras por letras. ¿En cuáles de los siete falla cada uno?

# %% tags=["nbval-check-output"]
words = ["nude", "desnudo", "sex", "sexo", "ano"]
rules = service.Moderation(words)
wishes = ["n.u.d.e", "d3snudo", "n\u200bude", "año nuevo", "Sussex", "un piano", "no clothes on"]

verdicts = [
    (next((word for word in words if word in wish.lower()), ""), rules.blocked_word(wish))
    for wish in wishes
]
print(say("wish             naive      the bot's", "deseo            ingenuo    el del bot"))
for wish, (naive, ours) in zip(wishes, verdicts, strict=True):
    shown = wish if wish.isprintable() else ascii(wish)
    print(f"{shown:16} {naive or '-':10} {ours or '-'}")

# %% part="claim"
assert [ours for _, ours in verdicts[:3]] == ["nude", "desnudo", "nude"], "disguises are found"
assert not any(ours for _, ours in verdicts[3:]), "innocent words pass, and so does the last wish"
naive = [word for word, _ in verdicts]
assert naive == ["", "", "", "", "sex", "ano", ""], "the naive filter errs five times"

# %% [markdown] lang="en"
# The naive filter misses every disguise, and refuses a county of England and a piano. The rules get
# six right. *año* stays, since *ñ* is a letter and no accent. The seventh shows what **no list can
# do**: it knows words, not what they mean.

# %% [markdown] lang="es"
# Al ingenuo se le escapan todos los disfraces y rechaza un condado inglés y un piano. Las reglas
# aciertan seis. *año* pasa, porque la *ñ* es una letra y no un acento. La séptima («sin ropa»)
# muestra lo que **ninguna lista puede**: sabe palabras, no significados.

# %%
chloe = newcomer("Chloe")
asked = chloe.says(say("a n.u.d.e robot", "un robot d.e.s.n.u.d.o"))
told = chloe.waits_for(say("list of words", "lista de palabras"), after=asked, timeout_s=60)
print(told["text"])

# %% [markdown] lang="en"
# It says what it refuses and why, and does not charge it. The second gate looks at the *picture*:
# the safety checker. The pocket model's flags broccoli, as [lesson 01](lesson:01) showed; no list
# forbids that.

# %% [markdown] lang="es"
# Dice qué rechaza y por qué, y no lo cobra. La segunda puerta mira la *imagen*: es el filtro de
# seguridad. El del modelo de bolsillo marca el brócoli, como viste en la [lección 01](lesson:01);
# ninguna lista lo prohíbe.

# %%
broccoli = say("broccoli on the beach --seed 0", "un brócoli en la playa --semilla 0")
asked = chloe.says(broccoli)
print(chloe.waits_for(say("checker", "filtro"), after=asked, timeout_s=60)["text"])

# %% part="claim"
assert not moderation.blocked_word(broccoli), "no word of it is on the list"
assert [state for _, state in on_record(chloe, all_over)] == ["flagged"], "it is withheld"

# %% [markdown] lang="en" part="discuss"
# The first gate reads the wish, the second looks at the picture. What gets past both, and who
# should find out?
#
# ---
#
# What is cruel without a listed word or a bare body: a real person mocked, a hateful symbol that
# the checker was not shown, an insult in a third language. Both also refuse what is fine. So there
# must be a way to complain, a person who reads it, and `/ban`.

# %% [markdown] lang="es" part="discuss"
# La primera puerta lee el deseo y la segunda mira la imagen. ¿Qué pasa por las dos y quién debería
# enterarse?
#
# ---
#
# Lo que hace daño sin palabra prohibida ni cuerpo desnudo: burlarse de alguien real, un símbolo de
# odio que el filtro no conoce, un insulto en otra lengua. Y las dos rechazan cosas correctas. Por
# eso hacen falta una vía para reclamar, una persona que lea y `/ban`.

# %% [markdown] lang="en" short=true
# ## Telegram knocks
#
# So far the bot asked for news. With a *webhook* it gives Telegram an address, and Telegram brings
# each update there at once. But an address on the web can be called by anybody. So Telegram says a
# *secret* with each update, and repeats an update until it hears 200.

# %% [markdown] lang="es" short=true
# ## Telegram llama a la puerta
#
# Hasta ahora el bot preguntaba si había algo. Con un *webhook* da una dirección a Telegram, que le
# lleva allí cada mensaje en el acto. Pero a una dirección de la web llama cualquiera. Por eso
# Telegram dice un *secreto* con cada mensaje. Y repite el mensaje hasta oír un 200.

# %%
run.stop()
secret = "only-telegram-knows-this"
webhook = service.WebhookSettings("https://bot.example/telegram", secret, port=0)
run = service.ServiceRun(replace(parts, webhook=webhook)).start()


def knock(update, secret):
    """Bring an update as Telegram does, and return the answer's status."""
    # es: Lleva un mensaje como Telegram y devuelve el código de la respuesta.
    address = f"http://127.0.0.1:{run.webhook.port}/telegram"
    headers = {"X-Telegram-Bot-Api-Secret-Token": secret}
    return httpx.post(address, json=update, headers=headers, trust_env=False).status_code


# %% [markdown] lang="en"
# Chloe orders one penguin. Her update comes three times: from somebody who guesses the secret, from
# Telegram, and from Telegram again, as if the first *200* had been lost. Which three numbers come
# back, and how many penguins?

# %% [markdown] lang="es"
# Chloe pide un pingüino. Su mensaje llega tres veces: de alguien que adivina el secreto, de
# Telegram y otra vez de Telegram, como si el primer *200* se hubiera perdido. ¿Qué tres números
# vuelven y cuántos pingüinos?

# %% tags=["nbval-check-output"]
penguin = say("a penguin in the snow", "un pingüino en la nieve")
chloe.says(penguin)
update = server.updates[-1]
[knock(update, "only-telegram-knows-that"), knock(update, secret), knock(update, secret)]

# %%
strip([server.picture(picture_of(chloe, penguin))], [penguin])

# %% part="claim"
assert knock(update, secret) == 200, "and again: it is known"
assert knock(update, "") == 403, "without a secret, nothing"
assert on_record(chloe, all_over).count((penguin, "sent")) == 1, "one penguin on record"
penguins = [one for one in chloe.messages if str(one.get("caption")).startswith(penguin)]
assert len(penguins) == 1, "one penguin in the chat"

# %% [markdown] lang="en"
# *403*, *200*, *200*, and one penguin: every update has a number, which goes into the record
# together with it. Adding a known number changes nothing (it is *idempotent*), so repeating is
# safe. And *200* leaves only when the update is on record: first write down, then answer.

# %% [markdown] lang="es"
# *403*, *200*, *200* y un pingüino: cada mensaje tiene un número, que se anota con él. Añadir un
# número conocido no cambia nada (es *idempotente*), y repetir no hace daño. Y el *200* sale solo
# cuando el mensaje está anotado: primero anotar, luego contestar.

# %% [markdown] lang="en"
# How is the secret compared? `==` may stop at the first character that differs. Then a guess that
# begins right takes a little longer, and time can be measured over the network. Here `leak(guess)`
# stands for that measurement: how many characters at the front are right.

# %% [markdown] lang="es"
# ¿Cómo se compara el secreto? `==` puede parar en el primer carácter distinto. Así, un intento que
# empieza bien tarda un poco más, y el tiempo se puede medir por la red. Aquí `leak(intento)`
# representa esa medida: cuántos caracteres del principio son correctos.


# %%
def leak(guess, secret="robot"):
    """How many characters a comparison finds right before it stops."""
    # es: Cuántos caracteres da por buenos una comparación antes de parar.
    for right, (ours, theirs) in enumerate(zip(guess, secret, strict=False)):
        if ours != theirs:
            return right
    return min(len(guess), len(secret))


print(leak("apple"), leak("right"), leak("robin"))
print(f"{26**5:,}", 26 * 5)

# %% [markdown] lang="en" part="goal"
# ### Exercise 3 · Break in
#
# With the leak, find a secret of `length` characters, each of them in `alphabet`. There are
# millions of secrets, but `length` times the size of the alphabet are questions enough.

# %% [markdown] lang="es" part="goal"
# ### Ejercicio 3 · Entra sin llave
#
# Con la fuga, encuentra un secreto de `length` caracteres, todos de `alphabet`. Hay millones de
# secretos, pero bastan `length` preguntas por cada carácter del alfabeto.


# %% part="stub"
def break_in(leak, alphabet, length):
    """Return the secret; `leak(guess)` tells how many characters at its front are right."""
    # es: Devuelve el secreto; `leak(intento)` dice cuántos caracteres del principio son correctos.
    ...


# %% part="check"
checks.break_in(break_in)


# %% part="solution"
def break_in(leak, alphabet, length):
    """Return the secret; `leak(guess)` tells how many characters at its front are right."""
    # es: Devuelve el secreto; `leak(intento)` dice cuántos caracteres del principio son correctos.
    known = ""
    while len(known) < length:
        known += next(letter for letter in alphabet if leak(known + letter) > len(known))
    return known


# %% part="wrong"
def break_in(leak, alphabet, length):
    """Try each letter alone, never behind what is known."""
    # es: Prueba cada letra sola, nunca detrás de lo que ya se sabe.
    return "".join(next(letter for letter in alphabet if leak(letter) > 0) for _ in range(length))


# %% part="wrong"
def break_in(leak, alphabet, length):
    """Be content with as many right letters as before."""
    # es: Se contenta con tantas letras correctas como antes.
    known = ""
    while len(known) < length:
        known += next(letter for letter in alphabet if leak(known + letter) >= len(known))
    return known


# %% part="wrong" half=true
def break_in(leak, alphabet, length):
    """Stop one letter too early."""
    # es: Se detiene una letra antes de tiempo.
    known = ""
    while len(known) < length - 1:
        known += next(letter for letter in alphabet if leak(known + letter) > len(known))
    return known


# %% part="wrong"
def break_in(leak, alphabet, length):
    """Try every secret there is."""
    # es: Prueba todos los secretos que hay.
    import itertools

    for guess in itertools.product(alphabet, repeat=length):
        if leak("".join(guess)) == length:
            return "".join(guess)


# %% [markdown] lang="en" part="noticed"
# **What you should have noticed.** A leak turns $26^5$ tries into $26 \cdot 5$: the lock opens
# character by character. `hmac.compare_digest` always looks at all of them, so time tells nothing.
# Whoever compares passwords or tokens compares like that.

# %% [markdown] lang="es" part="noticed"
# **Lo que deberías haber notado.** Una fuga convierte $26^5$ intentos en $26 \cdot 5$: la
# cerradura se abre carácter a carácter. `hmac.compare_digest` los mira siempre todos, y el tiempo
# no dice nada. Quien compara contraseñas o tokens compara así.

# %% [markdown] lang="en" part="discuss"
# Why does the bot keep numbers of updates that it handled yesterday, but not what stood in them?
#
# ---
#
# To recognise a repetition the number is enough, and it says nothing about anybody. What people
# wrote is kept only as long as it is needed. Telegram repeats for about a day, so after two days
# the numbers go as well.

# %% [markdown] lang="es" part="discuss"
# ¿Por qué guarda el bot los números de los mensajes que atendió ayer, pero no lo que decían?
#
# ---
#
# Para reconocer una repetición basta el número, y no dice nada de nadie. Lo que la gente escribe se
# guarda solo mientras hace falta. Telegram repite durante más o menos un día; a los dos días se van
# también los números.

# %% [markdown] lang="en" short=true
# ## Two workers, or a thousand
#
# When one machine is too slow, others draw: *workers*. The bot alone talks to Telegram; it puts
# each batch into *Redis*, a small database in memory, and whichever worker is free takes it, by
# *Celery*. What does the second worker gain, and the thousandth?

# %% [markdown] lang="es" short=true
# ## Dos trabajadores, o mil
#
# Si una máquina va lenta, dibujan otras: los *trabajadores* (workers). Con Telegram habla solo el
# bot, que deja cada lote en *Redis*, una pequeña base de datos en memoria; el trabajador que esté
# libre lo toma mediante *Celery*. ¿Qué se gana con el segundo, y con el milésimo?

# %% [markdown] lang="en"
# Real workers take long to start, so here we *simulate* them, from two parts measured just now, on
# this machine: how long a picture took to draw and send, and what the bot itself does for each, one
# after another, to keep the record.

# %% [markdown] lang="es"
# Los de verdad tardan en arrancar; por eso aquí los *simulamos*, con dos partes medidas ahora mismo
# en este equipo: cuánto tardó una imagen en dibujarse y enviarse, y lo que hace el propio bot por
# cada una, una tras otra, para llevar el libro.

# %%
on_record(chloe, all_over)
penguin_job = store.jobs.history(chloe.id)[0]
draw_s = penguin_job.ended_at - penguin_job.started_at

scratch = service.Store(f"sqlite:///{folder.as_posix()}/scratch.db")
endless = service.Limits(burst=1000, per_minute=1000, daily=1000)
started = time.perf_counter()
for number in range(50):
    scratch.jobs.accept(service.NewJob(str(number), 1, 1, Request(penguin)), endless)
    for state in ("running", "sending", "sent"):
        scratch.jobs.move(str(number), service.StoredJobState(state))
bot_s = (time.perf_counter() - started) / 50
print(f"{draw_s:.2f} s, {1000 * bot_s:.1f} ms")


# %%
def simulate(workers, draw_s, bot_s, pictures=5000):
    """Pictures a second while many wait: the bot hands them out one after another."""
    # es: Imágenes por segundo cuando hay muchas en espera: el bot las reparte una tras otra.
    free_at, bot_free_at = [0.0] * workers, 0.0  # when each worker, and the bot, is free
    # es: cuándo queda libre cada trabajador, y el bot
    for _ in range(pictures):
        bot_free_at = max(bot_free_at, heapq.heappop(free_at)) + bot_s
        heapq.heappush(free_at, bot_free_at + draw_s)
    return pictures / max(free_at)


counts = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000]
rates = [simulate(count, draw_s, bot_s) for count in counts]
curves(
    counts,
    {say("simulated", "simulado"): rates},
    x_label=say("workers", "trabajadores"),
    y_label=say("pictures a second", "imágenes por segundo"),
    title=say("More workers, until the bot is slowest", "Más, hasta que el bot es el más lento"),
    log_x=True,
)

# %% part="claim"
assert rates[1] > 1.8 * rates[0], "the second worker nearly doubles it"
assert rates[-1] < 1.1 / bot_s, "no number of workers gets past the bot"
assert rates[-1] < 1.3 * rates[-2], "the last five hundred gain little"

# %% [markdown] lang="en"
# Two draw nearly twice as much, and at some number it ends: something is always done one after
# another, here the record. But that was simulated. What do two real workers gain, processes of
# their own on two cores, with a real Redis?

# %% [markdown] lang="es"
# Dos dibujan casi el doble, y en algún número se acaba: siempre hay algo que se hace uno tras otro;
# aquí, llevar el libro. Pero eso era simulado. ¿Qué ganan dos trabajadores de verdad, cada uno un
# proceso en su núcleo, con un Redis de verdad?

# %%
found = {row["what"]: row["value"] for row in measured("bot_workers").rows}
gain, queue_ms = found["two against one, times"], found["queue, ms a batch"]
print(say("two against one, times:", "dos frente a uno, veces:"), gain)
print(say("the queue's own time, ms:", "lo que tarda la cola en sí, ms:"), queue_ms)

# %% part="claim"
assert gain.low > 1.5, "two real workers draw much more than one"
assert queue_ms.high < 20, "the queue costs milliseconds"

# %% [markdown] lang="en"
# Nearly twice as much as well: beside a picture's time, the queue's is small.

# %% [markdown] lang="es"
# También casi el doble: al lado de lo que tarda una imagen, la cola apenas pesa.

# %% [markdown] lang="en" part="goal"
# ### Exercise 4 · The bottleneck
#
# Find the formula behind the curve: pictures a *minute* from the number of workers, the seconds to
# draw one, and the seconds that the bot needs for each, one after another.

# %% [markdown] lang="es" part="goal"
# ### Ejercicio 4 · El cuello de botella
#
# Encuentra la fórmula de la curva: imágenes por *minuto* según los trabajadores, los segundos para
# dibujar una y los segundos que el bot necesita para cada una, una tras otra.


# %% part="stub"
def pictures_a_minute(workers, draw_s, bot_s):
    """Return how many pictures are done in a minute while enough wait."""
    # es: Devuelve cuántas imágenes salen por minuto si hay bastantes en espera.
    ...


# %% part="check"
checks.pictures_a_minute(pictures_a_minute)


# %% part="solution"
def pictures_a_minute(workers, draw_s, bot_s):
    """Return how many pictures are done in a minute while enough wait."""
    # es: Devuelve cuántas imágenes salen por minuto si hay bastantes en espera.
    all_workers = workers / (draw_s + bot_s)  # each has a picture after so many seconds
    # es: cada uno da una imagen en esos segundos
    bot = 1 / bot_s  # and more than this it cannot hand out
    # es: y más no puede repartir
    return 60 * min(all_workers, bot)


# %% part="wrong" half=true
def pictures_a_minute(workers, draw_s, bot_s):
    """Forget that the bot can do only so much."""
    # es: Olvida que el bot tiene un límite.
    return 60 * workers / (draw_s + bot_s)


# %% part="wrong"
def pictures_a_minute(workers, draw_s, bot_s):
    """Forget the minute."""
    # es: Olvida que se pregunta por minuto.
    return min(workers / (draw_s + bot_s), 1 / bot_s)


# %% part="wrong"
def pictures_a_minute(workers, draw_s, bot_s):
    """Forget that a worker waits for the bot, too."""
    # es: Olvida que un trabajador también espera al bot.
    return 60 * min(workers / draw_s, 1 / bot_s)


# %% part="wrong"
def pictures_a_minute(workers, draw_s, bot_s):
    """Add the times of all."""
    # es: Suma los tiempos de todos.
    return 60 / (draw_s / workers + bot_s)


# %% [markdown] lang="en" part="noticed"
# **What you should have noticed.** The smaller of two numbers decides. Making the other larger
# costs money and changes nothing. So measure first, then buy.

# %% [markdown] lang="es" part="noticed"
# **Lo que deberías haber notado.** Decide el menor de dos números. Aumentar el otro cuesta dinero y
# no cambia nada. Así que mide primero y compra después.

# %% part="claim"
for count, rate in zip(counts, rates, strict=True):
    expected = min(count / (draw_s + bot_s), 1 / bot_s)
    assert abs(rate - expected) < 0.35 * expected, "the simulation follows the formula"

# %% [markdown] lang="en"
# A worker can be killed as well. It says every second that it lives; after ten seconds of silence
# the bot asks again, as *attempt 2*, with the same seed. A worker that was only frozen finds that
# another attempt counts, and stops. With Redis installed, see it for yourself:
#
# ```
# redis-server --save "" &
# export SDLESSON_BOT_METRICS_PORT=0 SDLESSON_BOT_GENERATOR=celery
# python -m sdlesson.bot_service.workers &
# python -m sdlesson.bot_service.workers &
# TELEGRAM_BOT_TOKEN=... python -m sdlesson.bot_service
# ```

# %% [markdown] lang="es"
# También un trabajador puede morir. Cada segundo dice que vive; a los diez de silencio, el bot lo
# pide de nuevo, como *intento 2* y con la misma semilla. Si solo se había congelado, ve que ya
# cuenta otro intento y se detiene. Con Redis instalado, compruébalo:
#
# ```
# redis-server --save "" &
# export SDLESSON_BOT_METRICS_PORT=0 SDLESSON_BOT_GENERATOR=celery
# python -m sdlesson.bot_service.workers &
# python -m sdlesson.bot_service.workers &
# TELEGRAM_BOT_TOKEN=... python -m sdlesson.bot_service
# ```

# %% [markdown] lang="en" part="discuss"
# Ten seconds of silence, and a worker counts as dead. What goes wrong with one second, and what
# with ten minutes?
#
# ---
#
# With one second, every hiccup of the network counts as a death: batches are drawn twice and one
# result thrown away. With ten minutes, whoever waited for a dead worker waits ten minutes. No
# number is right; one says which mistake you prefer.

# %% [markdown] lang="es" part="discuss"
# Diez segundos de silencio y un trabajador se da por muerto. ¿Qué falla con un segundo y qué con
# diez minutos?
#
# ---
#
# Con un segundo, cada tropiezo de la red cuenta como muerte: se dibuja dos veces y se tira un
# resultado. Con diez minutos, quien esperaba a un muerto espera diez minutos. Ningún número es el
# correcto: con él eliges qué error prefieres.

# %% [markdown] lang="en" short=true
# ## See it, without looking at anybody
#
# You will not sit beside this bot. So it writes a *structured log*, a JSON object a line, and
# counts. Both outlive the moment, so neither may tell who asked for what. The whole life of Chloe's
# penguin, found by its number:

# %% [markdown] lang="es" short=true
# ## Verlo sin mirar a nadie
#
# No vas a estar al lado de este bot. Por eso escribe un *registro estructurado*, un objeto JSON por
# línea, y cuenta. Ambos perduran, así que ninguno debe decir quién pidió qué. La vida entera del
# pingüino de Chloe, buscada por su número:

# %%
lines = [line for line in log.getvalue().splitlines() if penguin_job.id in line]
print(*lines, sep="\n")

# %% part="claim"
assert len(lines) >= 3, "it waits, is drawn, and ends"
everything = log.getvalue()
assert len(everything.splitlines()) > 10, "there is a log"
for told in ("Chloe", "Bruno", str(chloe.id), str(ana.id), penguin, robot, server.token, secret):
    assert told not in everything, "the log names nobody, quotes nothing and holds no secret"

# %% [markdown] lang="en"
# A user is called `user#` and six characters, until the next start only; then they are others. No
# prompt, no name, no token. What is counted stands at an address that Prometheus asks every few
# seconds, to draw curves and wake you up:

# %% [markdown] lang="es"
# A cada persona se la llama `user#` y seis caracteres, solo hasta el próximo arranque; luego son
# otros. Ni prompt, ni nombre, ni token. Lo que se cuenta está en una dirección a la que Prometheus
# pregunta cada pocos segundos, para dibujar curvas y despertarte:

# %%
with answering("127.0.0.1", 0, metrics.registry, lambda: "", lambda: "") as port:
    page = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text
counted = dict(line.rsplit(" ", 1) for line in page.splitlines() if line[0] != "#")
for name, value in counted.items():
    if name.startswith("sdlesson_") and "_total" in name:
        print(f"{value:>4}  {name}")

# %% part="claim"
assert float(counted['sdlesson_requests_refused_total{reason="rate"}']) == 1, "Bruno, once"
assert float(counted['sdlesson_requests_refused_total{reason="moderation"}']) == 1, "Chloe, once"
assert float(counted['sdlesson_jobs_ended_total{state="flagged"}']) == 1, "the broccoli"
assert float(counted['sdlesson_jobs_ended_total{state="sent"}']) >= 3, "fox, robot, penguin"

# %% [markdown] lang="en"
# Bruno's impatience, Chloe's robot, the broccoli: all there, and none of them recognisable. A
# metric shows *that* something is wrong, the log shows *where*.

# %% [markdown] lang="es"
# La impaciencia de Bruno, el robot de Chloe, el brócoli: todo está, y nada permite reconocerlos.
# Una métrica muestra *que* algo va mal; el registro, *dónde*.

# %% [markdown] lang="en" part="discuss"
# "To find mistakes faster, let us log the prompts." What do you answer?
#
# ---
#
# Logs are copied, searched, sent to others and kept for years, and a prompt can say who somebody
# loves or fears. The number of a request finds it in the record, where /forget reaches it and a
# date deletes it. In a log, neither does.

# %% [markdown] lang="es" part="discuss"
# «Para encontrar antes los fallos, registremos los prompts.» ¿Qué contestas?
#
# ---
#
# Los registros se copian, se buscan, se envían y se guardan durante años, y un prompt puede decir a
# quién quiere o teme alguien. Con su número, la petición se encuentra en la base de datos, donde
# llega /forget y hay fecha de borrado. En un registro de líneas, no.

# %% [markdown] lang="en"
# ## For real
#
# The folder `deploy/` has it all as files: bot, two workers, Redis, certificate, metrics, backups.
# Its [guide](https://github.com/sdlesson/sdlesson/blob/main/deploy/GUIDE.md) leads from an empty
# machine to a bot that survives a reboot, in half an hour. Its containers have not run anywhere
# yet; it says so, too.

# %% [markdown] lang="es"
# ## De verdad
#
# La carpeta `deploy/` lo tiene todo en archivos: bot, dos trabajadores, Redis, certificado,
# métricas, copias. Su [guía](https://github.com/sdlesson/sdlesson/blob/main/deploy/GUIA.md) lleva
# de una máquina vacía a un bot que sobrevive a un reinicio, en media hora. Sus contenedores aún no
# se han ejecutado en ningún sitio; también lo dice.

# %% [markdown] lang="en"
# - **What it costs:** some 4 to 7 € a month for the pocket model on a small server; about 1 $ an
#   hour for a GPU that draws Stable Diffusion 1.5, so start it before class and stop it after. Seen
#   in November 2026.
# - **What can go wrong:** the disk fills, the certificate lapses, a token leaks (`/revoke` at
#   @BotFather), a backup that nobody ever restored does not restore.
# - **Who answers for it:** you do. Say who you are in the bot's description (`/setdescription` at
#   @BotFather), and read what people complain of.

# %% [markdown] lang="es"
# - **Cuánto cuesta:** de 4 a 7 € al mes para el modelo de bolsillo en un servidor pequeño; cerca de
#   1 $ por hora para una GPU que dibuje Stable Diffusion 1.5: enciéndela antes de clase y apágala
#   después. Visto en noviembre de 2026.
# - **Qué puede fallar:** se llena el disco, caduca el certificado, se filtra un token (`/revoke` en
#   @BotFather), una copia de seguridad que nadie probó no se deja restaurar.
# - **Quién responde:** tú. Di quién eres en la descripción del bot (`/setdescription` en
#   @BotFather) y lee de qué se queja la gente.

# %%
run.stop()
store.close()
server.stop()

# %% [markdown] lang="en"
# ## Where to go next
#
# - Write down first, then act: then a death loses nothing and repeats nothing.
# - Limits, rules and secrets say no, in a sentence, and are counted; none of them understands.
# - What may come twice has a number; a secret is compared in the same time always.
# - Measure the bottleneck before you buy machines, and log numbers instead of people.
#
# The code is in `sdlesson/bot_service/`: begin with `limits.py` and `store/jobs.py`. You have
# reached the end of the road that began with an astronaut on a horse. Now it is your turn: pick
# something that a lesson measured, and do better.

# %% [markdown] lang="es"
# ## Por dónde seguir
#
# - Primero anotar, luego actuar: así, una muerte ni pierde ni repite nada.
# - Límites, reglas y secretos dicen que no, con una frase, y se cuentan; ninguno comprende.
# - Lo que puede llegar dos veces lleva un número; comparar un secreto tarda siempre igual.
# - Mide el cuello de botella antes de comprar máquinas, y registra números en lugar de personas.
#
# El código está en `sdlesson/bot_service/`: empieza por `limits.py` y `store/jobs.py`. Has llegado
# al final del camino que empezó con un astronauta a caballo. Ahora te toca a ti: elige algo que
# haya medido una lección y mejóralo.
