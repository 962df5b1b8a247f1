"""Enrol people for logins, on the operator's machine, while the bot runs or not.

The secret leaves as an address that an authenticator app reads, alone on the standard output, so
that it can be piped into what makes a QR code of it; all else is said on the standard error.
"""

from __future__ import annotations

import sys

from sdlesson.bot_service.configuration import Configuration, load_configuration, reveal
from sdlesson.bot_service.directory import (
    Directory,
    DirectoryError,
    LdapDirectory,
    LdapSettings,
)
from sdlesson.bot_service.one_time_codes import enrolment_uri, new_salt, secret_of
from sdlesson.bot_service.store import Store
from sdlesson.language import say, set_language

DONE, FAILED, BAD_INPUT = 0, 1, 2


def enrol(number: int, name: str) -> int:
    """Enrol a user of Telegram under a name of the directory, in place of an earlier enrolment.

    Raises:
        ConfigurationError: The settings cannot be used.
        StoreError: The database is away.
    """
    configuration = _configuration()
    directory = make_directory(configuration)
    if directory is None:
        return _say_no_directory()
    try:
        member = directory.find(name)
    except DirectoryError as error:
        problem = say(
            f"Nobody is enrolled: {error}.",
            f"No se ha dado de alta a nadie: el directorio no responde bien ({error}).",
        )
        print(problem, file=sys.stderr)
        return FAILED
    if member is None or not member.may_use_bot:
        print(_is_no_member(name, is_there=member is not None), file=sys.stderr)
        return FAILED
    salt = new_salt()
    with Store(configuration.database_url.get_secret_value()) as store:
        store.logins.enrol(number, name, salt)
    done = say(
        f"{name} is enrolled for the user {number} of Telegram. Show the address below to nobody "
        "else: it is not kept, and whoever has it can make this user's codes. As a QR code: the "
        f"same command again with | qrencode -t ansiutf8, which makes a new one.",
        f"{name} está de alta para el usuario {number} de Telegram. No enseñes a nadie más la "
        "dirección de abajo: no se guarda, y quien la tenga puede generar los códigos de ese "
        "usuario. Como código QR: la misma orden con | qrencode -t ansiutf8, que genera otra "
        "nueva.",
    )
    print(done, file=sys.stderr, flush=True)
    print(enrolment_uri(secret_of(reveal(configuration.login_key), salt), name))
    return DONE


def unenrol(number: int) -> int:
    """End a user's enrolment and login, from the next message on.

    Raises:
        ConfigurationError: The settings cannot be used.
        StoreError: The database is away.
    """
    with Store(_configuration().database_url.get_secret_value()) as store:
        was_enrolled = store.logins.unenrol(number)
    if was_enrolled:
        print(say(f"{number} is enrolled no longer.", f"{number} ya no está de alta."))
    else:
        print(say(f"{number} was not enrolled.", f"{number} no estaba de alta."), file=sys.stderr)
    return DONE if was_enrolled else FAILED


def make_directory(configuration: Configuration) -> Directory | None:
    """Make what knows who is in the company; None where no directory is set."""
    if not configuration.ldap_url:
        return None
    return LdapDirectory(
        LdapSettings(
            configuration.ldap_url,
            configuration.ldap_base,
            configuration.ldap_user_filter,
            configuration.ldap_group,
            configuration.ldap_bind_dn,
            reveal(configuration.ldap_bind_password),
            configuration.ldap_start_tls,
            configuration.ldap_ca_file,
            configuration.ldap_timeout_s,
        )
    )


def _configuration() -> Configuration:
    configuration = load_configuration()
    set_language(configuration.language)
    return configuration


def _say_no_directory() -> int:
    sentence = say(
        "No directory is set, so nobody has to log in. Set ldap_url and what goes with it first; "
        "to let in single people, name their numbers in allowed_users.",
        "No hay directorio configurado, así que nadie tiene que iniciar sesión. Configura antes "
        "ldap_url y lo que lo acompaña; para dejar entrar a personas sueltas, pon sus números en "
        "allowed_users.",
    )
    print(sentence, file=sys.stderr)
    return BAD_INPUT


def _is_no_member(name: str, *, is_there: bool) -> str:
    if is_there:
        return say(
            f"{name} is in the directory, but not in ldap_group. Add them there, and enrol then.",
            f"{name} está en el directorio, pero no en ldap_group. Añádelo ahí y repite el alta.",
        )
    return say(
        f"The directory finds nobody by the name {name}; check its spelling and ldap_user_filter.",
        f"El directorio no encuentra a nadie con el nombre {name}; revisa cómo se escribe y "
        "ldap_user_filter.",
    )
