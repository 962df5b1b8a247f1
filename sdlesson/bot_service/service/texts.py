"""What the service says besides what the bot says, in both languages, as HTML."""

from __future__ import annotations

from sdlesson.language import Text

COMMANDS = {
    "history": Text("your latest requests", "tus últimas peticiones"),
    "privacy": Text("what I keep, and for how long", "qué guardo y durante cuánto tiempo"),
    "forget": Text("delete all I keep about you", "borrar todo lo que guardo de ti"),
}
ADMINS_COMMANDS = {
    "stats": Text("how much there is of everything", "cuánto hay de cada cosa"),
    "ban": Text("shut somebody out", "cerrarle el paso a alguien"),
    "unban": Text("let somebody in again", "volver a dejar pasar a alguien"),
}

# What the bot is; the bot's own words hold for one that forgets when it is stopped.

WELCOME = Text(
    "<b>I draw pictures from your words</b>, with the model {model}. Write me what you want to "
    "see, or send a photo and say in its caption what it should become.\n\n"
    "<b>What I keep</b>: your language and your settings until /forget; your requests, the photos "
    "in them and your thumbs for pictures, for {days}. Whoever runs this bot can see them, so "
    "leave out what is private. A safety checker looks at every picture, and I withhold what it "
    "flags. /privacy says more, and /forget deletes everything.\n\nIs that all right with you?",
    "<b>Dibujo imágenes a partir de tus palabras</b> con el modelo {model}. Escríbeme qué quieres "
    "ver, o mándame una foto y di al pie en qué debe convertirse.\n\n"
    "<b>Qué guardo</b>: tu idioma y tus ajustes hasta que uses /forget; tus peticiones, sus fotos "
    "y tus pulgares sobre las imágenes durante {days}. Quien maneja este bot puede ver todo eso, "
    "así que no pongas nada privado. Un filtro de seguridad revisa cada imagen, y no te mando las "
    "que marca. /privacy lo explica mejor y /forget lo borra todo.\n\n¿Te parece bien?",
)
ONE_DAY = Text("one day", "un día")
DAYS = Text("{count} days", "{count} días")

# After a restart.

BACK = Text(
    "I was restarted. What you had waiting is in the queue again: {count}.",
    "Me han reiniciado. Lo que tenías en espera vuelve a estar en la cola: {count}.",
)
KEPT_FOR_LATER = Text(
    "I am being restarted. This keeps its place, and I draw it when I am back: {prompt}",
    "Me están reiniciando. Esto conserva su sitio y lo dibujo cuando vuelva: {prompt}",
)
INTERRUPTED = Text(
    "I broke off while I was drawing this, and have not sent it: {prompt}\n"
    "It does not count as one of your pictures of today.",
    "Me interrumpí mientras dibujaba esto y no te lo he mandado: {prompt}\n"
    "No cuenta entre tus imágenes de hoy.",
)

# What is not taken.

TOO_OFTEN = Text(
    "That is faster than I can draw for everybody. Ask again in {seconds} s.",
    "Vas más deprisa de lo que puedo dibujar para todo el mundo. Vuelve a pedir en {seconds} s.",
)
QUOTA_USED = Text(
    "You have had your {limit} pictures of today. There are new ones from midnight (UTC), in "
    "{hours} h.",
    "Ya has pedido tus {limit} imágenes de hoy. Hay más a partir de medianoche (UTC), dentro de "
    "{hours} h.",
)
STORE_AWAY = Text(
    "I cannot take requests just now, since I could not write yours down. Try again in a few "
    "minutes.",
    "Ahora mismo no puedo aceptar peticiones, porque no he podido anotar la tuya. Prueba dentro de "
    "unos minutos.",
)
BLOCKED_WORD = Text(
    "I do not draw that: “{word}” is on the list of words that this bot does not take. This "
    "request does not count.",
    "Eso no lo dibujo: «{word}» está en la lista de palabras que este bot no admite. Esta petición "
    "no cuenta.",
)
BLOCKED_BY_MODEL = Text(
    "I do not draw that: this bot's moderation has refused it. If it erred, use other words. This "
    "request does not count.",
    "Eso no lo dibujo: la moderación de este bot lo ha rechazado. Si se equivoca, usa otras "
    "palabras. Esta petición no cuenta.",
)
MODERATION_AWAY = Text(
    "I cannot check requests just now, so I take none. Try again in a few minutes.",
    "Ahora mismo no puedo revisar peticiones, así que no acepto ninguna. Prueba dentro de unos "
    "minutos.",
)

# Access.

BANNED = Text(
    "Whoever runs this bot has shut you out of it.",
    "Quien maneja este bot no te deja usarlo.",
)
NOT_ALLOWED = Text(
    "This bot is not for everybody. Ask whoever runs it to let you in, and name your number: "
    "<code>{user}</code>.",
    "Este bot no es para todo el mundo. Pide a quien lo maneja que te deje entrar e indica tu "
    "número: <code>{user}</code>.",
)
ADMINS_ONLY = Text("That is for admins only.", "Eso es solo para administradores.")
WHOM = Text(
    "Name a user's number, such as <code>/{command} 123456789</code>.",
    "Indica el número de un usuario, por ejemplo <code>/{command} 123456789</code>.",
)
IS_BANNED = Text("{user} is shut out.", "{user} ya no puede usar el bot.")
IS_UNBANNED = Text("{user} may come in again.", "{user} puede volver a usar el bot.")
WAS_NOT_BANNED = Text("{user} was not shut out.", "{user} no tenía el paso cerrado.")
STATS = Text(
    "Users: {users}\nWaiting: {waiting}, being drawn: {running}\n\nSince the beginning:\n{counts}",
    "Usuarios: {users}\nEn espera: {waiting}, dibujándose: {running}\n\nDesde el principio:\n"
    "{counts}",
)

# What is kept.

PRIVACY = Text(
    "<b>What I keep about you</b>\n"
    "Your number on Telegram, your language and settings, and the model you chose, until "
    "/forget.\n"
    "Your requests, with the photos behind your buttons, which model drew them, and your thumbs "
    "for pictures, for {days}.\n"
    "The latest pictures that were asked for with a seed, in memory only, so that whoever asks for "
    "exactly the same need not wait. /forget drops those drawn for you, a restart all of them. I "
    "keep no other pictures; Telegram does.\n"
    "Each message until I have answered it.\n\n"
    "/history shows your requests. /forget deletes everything at once, except how many pictures "
    "you had today (until midnight, UTC) and whether you are shut out.\n"
    "Whoever runs this bot can read all of this.",
    "<b>Qué guardo de ti</b>\n"
    "Tu número de Telegram, tu idioma, tus ajustes y el modelo que elegiste, hasta que uses "
    "/forget.\n"
    "Tus peticiones, con las fotos de tus botones, qué modelo las dibujó y tus pulgares sobre las "
    "imágenes, durante {days}.\n"
    "Las últimas imágenes pedidas con semilla, solo en memoria, para que quien pida exactamente lo "
    "mismo no tenga que esperar. /forget borra las que dibujé para ti, y un reinicio, todas. No "
    "guardo más imágenes; Telegram sí.\n"
    "Cada mensaje, hasta que lo contesto.\n\n"
    "/history muestra tus peticiones. /forget lo borra todo de inmediato, salvo cuántas imágenes "
    "llevas hoy (hasta medianoche, hora UTC) y si tienes el paso cerrado.\n"
    "Quien maneja este bot puede leer todo esto.",
)
MODERATED = Text(
    "\nWhat you ask for is also read by the moderation service at {host}, which is not told whose "
    "it is.",
    "\nLo que pides también lo lee el servicio de moderación de {host}, que no sabe de quién es.",
)
HISTORY = Text("Your latest requests:", "Tus últimas peticiones:")
NO_HISTORY = Text(
    "I have no requests of yours on record.", "No tengo anotada ninguna petición tuya."
)
NO_HISTORY_HERE = Text(
    "I have nothing on record that you asked for here. /history in our own chat shows everything.",
    "No tengo anotado nada que hayas pedido aquí. En nuestro chat, /history lo muestra todo.",
)
SURE_TO_FORGET = Text(
    "Shall I delete all that I keep about you? Your buttons will stop working, and pictures on the "
    "way will not come, unless I am sending them already.",
    "¿Borro todo lo que guardo de ti? Tus botones dejarán de funcionar y las imágenes en camino no "
    "llegarán, salvo las que ya esté mandando.",
)
FORGET = Text("Delete it all", "Bórralo todo")
FORGOTTEN = Text(
    "Done: I keep nothing about you any more. What is in this chat, you can delete yourself.",
    "Hecho: ya no guardo nada de ti. Lo que hay en este chat lo puedes borrar tú.",
)
FORGOTTEN_BUT_ONE = Text(
    "Done: I keep nothing about you any more. A picture was just being sent and may still arrive. "
    "What is in this chat, you can delete yourself.",
    "Hecho: ya no guardo nada de ti. Justo estaba mandando una imagen, que aún puede llegar. Lo "
    "que hay en este chat lo puedes borrar tú.",
)

STATES = {
    "accepted": Text("waits", "en espera"),
    "running": Text("being drawn", "dibujándose"),
    "sending": Text("on its way", "en camino"),
    "sent": Text("sent", "enviada"),
    "refused": Text("not taken by the chat", "no admitida en el chat"),
    "flagged": Text("withheld", "retenida"),
    "cancelled": Text("cancelled", "cancelada"),
    "failed": Text("failed", "fallida"),
    "interrupted": Text("interrupted", "interrumpida"),
    "unconfirmed": Text("perhaps arrived", "quizá entregada"),
}
