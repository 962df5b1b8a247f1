"""What is said to people who log in, or should, in both languages, as HTML."""

from __future__ import annotations

from sdlesson.bot_service.access import Standing
from sdlesson.language import Text

COMMANDS = {
    "login": Text("log in with a code", "iniciar sesión con un código"),
    "logout": Text("log out again", "cerrar la sesión"),
}

# To whoever asks for something and may not.

LOG_IN = Text(
    "Please log in first: write me, in our own chat, the six digits that your authenticator app "
    "shows now. I delete your message at once.",
    "Primero inicia sesión: escríbeme, en nuestro chat, las seis cifras que muestra ahora tu "
    "aplicación de autenticación. Borro tu mensaje enseguida.",
)
NOT_ENROLLED = Text(
    "This bot is for people of the company, and you are not enrolled yet. Ask whoever runs it, and "
    "name your number: <code>{user}</code>. You will get a QR code for the authenticator app on "
    "your phone.",
    "Este bot es para la gente de la empresa y aún no estás de alta. Pídeselo a quien lo maneja e "
    "indica tu número: <code>{user}</code>. Te dará un código QR para la aplicación de "
    "autenticación de tu móvil.",
)
NOT_A_MEMBER = Text(
    "Your code was right, but the company's directory does not list you among those who may use "
    "this bot. If it should, ask whoever runs the bot; you need no new code afterwards.",
    "Tu código era correcto, pero en el directorio de la empresa no figuras entre quienes pueden "
    "usar este bot. Si es un error, habla con quien maneja el bot; después no necesitas otro "
    "código.",
)
DIRECTORY_AWAY = Text(
    "You are logged in, but I cannot reach the company's directory just now, so I take no requests "
    "from anybody whom it has to vouch for. Write again in a minute: I ask it anew, and you need "
    "no new code.",
    "Has iniciado sesión, pero ahora mismo no consigo consultar el directorio de la empresa, así "
    "que no acepto peticiones de quienes dependen de él. Escríbeme de nuevo dentro de un minuto: "
    "volveré a consultarlo y no necesitas otro código.",
)
TURNED_AWAY = {
    Standing.LOGGED_OUT: LOG_IN,
    Standing.NOT_ENROLLED: NOT_ENROLLED,
    Standing.NOT_A_MEMBER: NOT_A_MEMBER,
    Standing.DIRECTORY_AWAY: DIRECTORY_AWAY,
}

# To whoever gives a code.

LOGGED_IN = Text(
    "You are logged in as {name} until {until} (UTC). Write me what to draw; /logout ends it "
    "earlier.",
    "Has iniciado sesión como {name} hasta el {until} (UTC). Escríbeme qué dibujar; con /logout la "
    "cierras antes.",
)
WRONG_CODE = Text(
    "That code is wrong, or was used before. Wait until the app shows the next one. You have "
    "{left} more tries; if they fail too, set the clock of your phone to automatic.",
    "Ese código no es correcto o ya se usó. Espera a que la aplicación muestre el siguiente. Te "
    "quedan {left} intentos; si tampoco valen, pon el reloj de tu móvil en automático.",
)
LAST_TRY = Text(
    "That code is wrong, or was used before. Wait until the app shows the next one. You have one "
    "more try; set the clock of your phone to automatic before it.",
    "Ese código no es correcto o ya se usó. Espera a que la aplicación muestre el siguiente. Te "
    "queda un intento; antes, pon el reloj de tu móvil en automático.",
)
LOCKED = Text(
    "Too many wrong codes, so I look at none for {minutes} min. If that was not you, tell whoever "
    "runs the bot: somebody else may have your Telegram.",
    "Demasiados códigos incorrectos: no miro ninguno más durante {minutes} min. Si no has sido tú, "
    "avisa a quien maneja el bot: puede que otra persona tenga acceso a tu Telegram.",
)
NO_CODE = Text(
    "A code is six digits, such as <code>/login 123456</code>. Never write me a password.",
    "Un código son seis cifras, por ejemplo <code>/login 123456</code>. Nunca me escribas una "
    "contraseña.",
)
WRITE_ALONE = Text(
    "Others read along here. Write the code to me alone, in our own chat.",
    "Aquí lo lee más gente. Escríbeme el código a solas, en nuestro chat.",
)
NO_LOGIN_NEEDED = Text(
    "You need no login: whoever runs this bot has let you in.",
    "No necesitas iniciar sesión: quien maneja este bot ya te ha dado acceso.",
)
LOGGED_OUT = Text(
    "You are logged out. What was waiting is still drawn.",
    "Has cerrado la sesión. Lo que estaba en espera aún se dibuja.",
)
WAS_NOT_IN = Text("You were not logged in.", "No habías iniciado sesión.")

FORGETS_LOGIN = Text(
    "\nIf you log in here with codes, you will have to be enrolled anew.",
    "\nSi inicias sesión aquí con códigos, habrá que darte de alta de nuevo.",
)

# What is kept, on top of what the service keeps of everybody.

KEPT = Text(
    "\nFor logins: your name in the company's directory and the key to your codes. With /forget "
    "they go too, and you have to be enrolled anew.",
    "\nPara iniciar sesión: tu nombre en el directorio de la empresa y la clave de tus códigos. "
    "Con /forget también se borran y hay que darte de alta de nuevo.",
)
