"""What the service says about models, LoRAs and thumbs, in both languages, as HTML."""

from __future__ import annotations

from sdlesson.language import Text

COMMANDS = {  # of a bot in which there is something to choose
    "model": Text("which model draws for you", "qué modelo dibuja para ti"),
    "lora": Text("a style put on the model", "un estilo añadido al modelo"),
}

# /model

ONE_MODEL = Text(
    "This bot has one model, <b>{model}</b>, so there is nothing to choose.",
    "Este bot tiene un solo modelo, <b>{model}</b>, así que no hay nada que elegir.",
)
YOUR_MODEL = Text(
    "The model <b>{model}</b> draws for you{why}. Choose one below, or write "
    "<code>/model {example}</code>:",
    "Para ti dibuja el modelo <b>{model}</b>{why}. Elige abajo o escribe "
    "<code>/model {example}</code>:",
)
CHOSEN_BY_YOU = Text(", as you chose", ", como elegiste")
CHOSEN_BY_LOT = Text(", assigned by lot", ", por sorteo")
ONE_OF_MODELS = Text(
    "{model}: {size} × {size} pixels, LoRAs: {loras}",
    "{model}: {size} × {size} píxeles, LoRA: {loras}",
)
NONE = Text("none", "ninguno")
LET_BOT_CHOOSE = Text("Let the bot choose", "Que elija el bot")
MODEL_SET = Text(
    "From now on the model <b>{model}</b> draws for you.",
    "A partir de ahora dibuja para ti el modelo <b>{model}</b>.",
)
BOT_CHOOSES = Text(
    "From now on I choose the model; for you that is <b>{model}</b>.",
    "A partir de ahora elijo yo el modelo; para ti es <b>{model}</b>.",
)
LORA_LEFT = Text(
    "The LoRA {lora} is for another model, so you have none now.",
    "El LoRA {lora} es de otro modelo, así que ahora no tienes ninguno.",
)
NO_SUCH_MODEL = Text(
    "I have no model “{written}”. There are: {offered}. Write for example "
    "<code>/model {example}</code>.",
    "No tengo ningún modelo «{written}». Hay: {offered}. Escribe por ejemplo "
    "<code>/model {example}</code>.",
)
NO_LONGER = Text(
    "{gone} is no longer offered, so I draw this with {instead}. /model shows what there is.",
    "{gone} ya no se ofrece, así que esto lo dibujo con {instead}. En /model está lo que hay.",
)

# /lora

NO_LORAS = Text(
    "There is no LoRA for the model <b>{model}</b>.",
    "No hay ningún LoRA para el modelo <b>{model}</b>.",
)
YOUR_LORA = Text(
    "LoRA on the model {model}: <b>{lora}</b>. Choose one below, or write "
    "<code>/lora {example}</code>; <code>/lora none</code> takes it off.",
    "LoRA sobre el modelo {model}: <b>{lora}</b>. Elige abajo o escribe "
    "<code>/lora {example}</code>; <code>/lora ninguno</code> lo quita.",
)
NO_LORA = Text("Without a LoRA", "Sin LoRA")
LORA_SET = Text(
    "From now on I draw with the LoRA <b>{lora}</b> on the model {model}.",
    "A partir de ahora dibujo con el LoRA <b>{lora}</b> sobre el modelo {model}.",
)
LORA_OFF = Text("From now on I draw without a LoRA.", "A partir de ahora dibujo sin LoRA.")
LORA_OF_OTHER = Text(
    "The LoRA {lora} is for the model {other}, and {model} draws for you. Write "
    "<code>/model {other}</code> first.",
    "El LoRA {lora} es para el modelo {other}, y para ti dibuja {model}. Escribe antes "
    "<code>/model {other}</code>.",
)
NO_SUCH_LORA = Text(
    "There is no LoRA “{written}” for the model {model}. There are: {offered}.",
    "No hay ningún LoRA «{written}» para el modelo {model}. Hay: {offered}.",
)
GONE_CHOICE = Text(
    "That is no longer offered. /model shows what there is.",
    "Eso ya no se ofrece. En /model está lo que hay.",
)

# Thumbs.

VOTE_GONE = Text(
    "I no longer know that picture, so your thumb cannot count.",
    "Ya no conozco esa imagen, así que tu pulgar no puede contar.",
)
VOTE_AFTER_START = Text(
    "Write /start to me first: a thumb is kept, and I ask before I keep anything of you.",
    "Escríbeme antes /start: un pulgar se guarda, y pregunto antes de guardar algo tuyo.",
)

# /stats

BY_MODEL = Text(
    "\n\n<b>By model</b>, as far back as I keep requests ({days}):",
    "\n\n<b>Por modelo</b>, hasta donde guardo peticiones ({days}):",
)
BY_LOT = Text(
    "\n\n<b>A/B</b>, only users whose model was drawn by lot ({shares}):",
    "\n\n<b>A/B</b>, solo usuarios con el modelo por sorteo ({shares}):",
)
OUTCOME = Text(
    "\n<b>{model}</b>: {sent} sent, {flagged} withheld{flagged_share}, {failed} failed, "
    "asked again by a button {again}{seconds}\n{up} {ups} of {votes}{ups_share}",
    "\n<b>{model}</b>: {sent} enviadas, {flagged} retenidas{flagged_share}, {failed} fallidas, "
    "repetidas con un botón {again}{seconds}\n{up} {ups} de {votes}{ups_share}",
)
SECONDS = Text(", {seconds} s each", ", {seconds} s cada una")
INTERVAL = Text(" ({low} to {high}%)", " (del {low} al {high} %)")
SHARE = Text("{model} {share}%", "{model} {share} %")
NOTHING_YET = Text("\nnothing yet", "\ntodavía nada")
INTERVALS = Text(
    "\nIn brackets: 95% Wilson intervals; where two overlap widely, nothing is decided yet.",
    "\nEntre paréntesis: intervalos de Wilson del 95 %; si dos se solapan mucho, aún no hay nada "
    "decidido.",
)
