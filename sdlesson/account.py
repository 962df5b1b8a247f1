"""Who are you on the Hugging Face Hub? Find a token, ask whose it is, and never show it."""

import getpass
import os
import sys
from http import HTTPStatus
from typing import Any, NamedTuple

import huggingface_hub
from huggingface_hub import constants
from huggingface_hub.errors import HTTPError
from huggingface_hub.utils import build_hf_headers, get_session

from sdlesson.downloads import TOKENS_PAGE, can_be_sent, what_to_check
from sdlesson.files import has_file
from sdlesson.language import say
from sdlesson.runtime import in_colab

STATUS_PAGE = "https://status.huggingface.co"
LIMITS_PAGE = "https://huggingface.co/docs/hub/rate-limits"

# Where huggingface_hub looks for a token before its own file.
TOKEN_VARIABLES = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")


class FoundToken(NamedTuple):
    """A token, and what a sentence calls it."""

    token: str
    called: str

    def __repr__(self) -> str:
        return f"FoundToken(called={self.called!r})"


class Answer(NamedTuple):
    """What the Hub says to a token: whose it is, in a sentence, and whether it refuses it."""

    name: str | None
    sentence: str
    refused: bool = False


def login() -> str | None:
    """Log in at the Hugging Face Hub, for those who have an account there; no lesson needs one.

    The token is Colab's secret HF_TOKEN, or the environment's, or the one stored on this machine,
    or what you paste at a hidden prompt, which is stored once the Hub accepts it. One sentence
    says who you are, or what is wrong and the link that mends it.

    Returns:
        Your name on the Hub; None without a token, or with one that the Hub does not accept.
    """
    found = _from_colab() or _from_environment()
    if found:
        answer = ask_hub(found)
        if answer.name:  # the client reads this first: downloads send the token accepted here
            os.environ[TOKEN_VARIABLES[0]] = found.token
        print(answer.sentence)
        return answer.name
    stored = _from_store()
    if stored:
        answer = ask_hub(stored)
        print(answer.sentence)
        if not answer.refused:
            return answer.name
    return _log_in_by_hand()


def ask_hub(found: FoundToken) -> Answer:
    """Ask the Hub whose token this is; whatever fails becomes a sentence, never an error."""
    if not can_be_sent(found.token):
        return Answer(None, _not_a_token(found.called), refused=True)
    try:
        response = get_session().get(
            f"{constants.ENDPOINT}/api/whoami-v2",
            headers=build_hf_headers(token=found.token),
            timeout=constants.HF_HUB_ETAG_TIMEOUT,
        )
        if response.status_code == HTTPStatus.OK:
            account = response.json()
            return Answer(account["name"], _welcome(account))
    except Exception as error:  # of many classes: a proxy's, a certificate's, a network's own page
        return Answer(None, _no_answer(error))
    if response.status_code == HTTPStatus.UNAUTHORIZED:
        reason = response.headers.get("X-Error-Message", "") + response.text
        return Answer(None, _refusal(found.called, expired="expired" in reason), refused=True)
    return Answer(None, _trouble(response.status_code))


def colab_secret(name: str) -> str:
    """Read a secret of the notebook's owner in Colab; "" elsewhere, and where there is none."""
    if not in_colab():
        return ""
    try:
        from google.colab import userdata  # type: ignore[import-not-found]

        return clean_token(userdata.get(name))
    except Exception:  # absent, access denied, timed out: classes that only Colab has
        return ""


def ask_hidden(question: str) -> str:
    """Ask for a token without showing it; "" where nobody is there to answer."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    in_terminal = sys.stdin is not None and sys.stdin.isatty()
    if not (in_terminal or hasattr(shell, "kernel")):
        return ""
    try:
        return getpass.getpass(question)  # through its module, where a kernel puts its own
    except (EOFError, NotImplementedError):  # the latter in a kernel that runs by itself
        return ""


def _from_colab() -> FoundToken | None:
    token = colab_secret(TOKEN_VARIABLES[0])
    called = say("the token in Colab's secret HF_TOKEN", "el token del secreto HF_TOKEN de Colab")
    return FoundToken(token, called) if token else None


def _from_environment() -> FoundToken | None:
    for name in TOKEN_VARIABLES:
        if token := clean_token(os.environ.get(name)):
            called = say(f"the token in the variable {name}", f"el token de la variable {name}")
            return FoundToken(token, called)
    return None


def _from_store() -> FoundToken | None:
    if not has_file(constants.HF_TOKEN_PATH):  # or the client would ask Colab once more
        return None
    token = clean_token(huggingface_hub.get_token())
    return FoundToken(token, say("the stored token", "el token guardado")) if token else None


def _log_in_by_hand() -> str | None:
    token = clean_token(_ask_reader())
    if not token:
        print(say("No account is needed here.", "Aquí no hace falta cuenta."))
        return None
    answer = ask_hub(FoundToken(token, say("what you pasted", "lo que has pegado")))
    print(answer.sentence)
    if answer.name:
        _store(token)
    return answer.name


def _ask_reader() -> str:
    return ask_hidden(
        say(
            f"Paste a token from {TOKENS_PAGE}, or press Enter to go on without one: ",
            f"Pega un token de {TOKENS_PAGE} o pulsa Intro para seguir sin él: ",
        )
    )


def _store(token: str) -> None:
    try:
        huggingface_hub.login(token=token)
    except (HTTPError, OSError, ValueError):
        os.environ[TOKEN_VARIABLES[0]] = token
        print(
            say(
                "The token could not be stored: it holds until Python stops.",
                "No se ha podido guardar el token: vale hasta que Python se cierre.",
            )
        )


def clean_token(text: str | None) -> str:
    """Strip what comes along when a token is copied: white space, and quotes around it."""
    return (text or "").strip().strip("\"'").strip()


def _welcome(account: dict[str, Any]) -> str:
    kinds = {
        "read": say("a read token", "un token de lectura"),
        "write": say("a write token", "un token de escritura"),
        "fineGrained": say("a fine-grained token", "un token de permisos detallados"),
    }
    token = (account.get("auth") or {}).get("accessToken") or {}
    kind = kinds.get(token.get("role", ""), say("a token", "un token"))
    return say(
        f"You are {account['name']} on the Hugging Face Hub, with {kind}.",
        f"Eres {account['name']} en el Hub de Hugging Face, con {kind}.",
    )


def _not_a_token(called: str) -> str:
    return say(
        f"The Hub was not asked, because {called} is no token: copy one from {TOKENS_PAGE}",
        f"No se ha preguntado al Hub, porque {called} no es un token: copia uno de {TOKENS_PAGE}",
    )


def _refusal(called: str, *, expired: bool) -> str:
    if expired:
        return say(
            f"The Hub refuses {called}, which has expired: make a new one at {TOKENS_PAGE}",
            f"El Hub rechaza {called}, que ha caducado: crea otro en {TOKENS_PAGE}",
        )
    return say(
        f"The Hub refuses {called}, which is mistyped or revoked: make a new one at {TOKENS_PAGE}",
        f"El Hub rechaza {called}, mal copiado o revocado: crea otro en {TOKENS_PAGE}",
    )


def _no_answer(error: Exception) -> str:
    if type(error).__name__.endswith("Timeout"):
        seconds = constants.HF_HUB_ETAG_TIMEOUT
        return say(
            f"The Hub did not answer within {seconds} seconds: try again later, or see "
            f"{STATUS_PAGE}",
            f"El Hub no ha respondido en {seconds} segundos: prueba más tarde o mira {STATUS_PAGE}",
        )
    english, spanish = what_to_check(error)
    return say(
        f"The Hub cannot be reached: {english}, or see {STATUS_PAGE}",
        f"No se llega al Hub: {spanish} o mira {STATUS_PAGE}",
    )


def _trouble(status: int) -> str:
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return say(
            f"The Hub was asked too often: wait a few minutes; its limits are at {LIMITS_PAGE}",
            f"Demasiadas preguntas al Hub: espera unos minutos; sus límites, en {LIMITS_PAGE}",
        )
    return say(
        f"The Hub answers with the error {status}: try again later, or see {STATUS_PAGE}",
        f"El Hub responde con el error {status}: prueba más tarde o mira {STATUS_PAGE}",
    )
