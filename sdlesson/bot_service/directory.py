"""Who somebody is in the company, and whether that one may use the bot: a seam, and LDAP behind it.

The directory is asked about a name that the operator has given to a user of Telegram, never about
what a stranger writes. It has three answers: a member, nobody, and none at all (`DirectoryError`),
which lets nobody in and throws nobody out.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ldap3 import BASE, NONE, SUBTREE, Connection, Server, Tls
from ldap3.core import exceptions as ldap
from ldap3.utils.conv import escape_filter_chars

NAME = "{name}"  # where the name goes in a filter
DEFAULT_FILTER = "(&(objectClass=person)(uid={name}))"  # Active Directory has sAMAccountName
# How groups list their members: the first two by entry, the last one by name.
GROUP_FILTER = "(|(member={dn})(uniqueMember={dn})(memberUid={name}))"
NO_ATTRIBUTES = "1.1"
TIMEOUT_S = 5


class DirectoryError(RuntimeError):
    """The directory did not answer, or not to this question; the sentence is for the operator."""


@dataclass(frozen=True)
class Member:
    """Somebody in the company.

    Attributes:
        name: As the operator has enrolled them.
        may_use_bot: Whether they are in the group that may.
    """

    name: str
    may_use_bot: bool


class Directory(Protocol):
    """Knows who is in the company."""

    def find(self, name: str) -> Member | None:
        """Look somebody up, which may take seconds: not for the event loop.

        Returns:
            Who it is; None where there is nobody of that name.

        Raises:
            DirectoryError: It could not be found out.
        """


@dataclass(frozen=True)
class LdapSettings:
    """Where the directory is and how it is asked.

    Attributes:
        url: Such as "ldaps://ldap.example.org".
        base: Below which entry people are.
        user_filter: What finds one of them; `{name}` stands for the name.
        group: The entry of the group that may use the bot; "" for everybody in the directory.
        bind_dn, bind_password: Who asks; "" asks without a name.
        start_tls: Whether a connection that begins in the clear goes on encrypted.
        ca_file: Whose certificates count, in place of the system's.
        timeout_s: How long to wait for each answer.
    """

    url: str
    base: str
    user_filter: str = DEFAULT_FILTER
    group: str = ""
    bind_dn: str = ""
    bind_password: str = field(default="", repr=False)
    start_tls: bool = False
    ca_file: Path | None = None
    timeout_s: int = TIMEOUT_S


class LdapDirectory:
    """Asks an LDAP server, on a connection for each question: logins are few, and servers go."""

    def __init__(self, settings: LdapSettings) -> None:
        self._settings = settings
        certificates = str(settings.ca_file) if settings.ca_file else None
        # Without this, ldap3 takes any certificate.
        self._tls = Tls(validate=ssl.CERT_REQUIRED, ca_certs_file=certificates)

    def find(self, name: str) -> Member | None:
        """Look somebody up.

        Raises:
            DirectoryError: It could not be found out.
        """
        with self._connection() as connection:
            dn = self._dn(connection, name)
            if dn is None:
                return None
            return Member(name, self._is_in_group(connection, dn, name))

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        settings = self._settings
        # Not kept: a `Server` remembers that it was away, and then is away for some seconds more.
        server = Server(
            settings.url, get_info=NONE, connect_timeout=settings.timeout_s, tls=self._tls
        )
        connection = Connection(
            server,
            user=settings.bind_dn or None,
            password=settings.bind_password or None,
            receive_timeout=settings.timeout_s,
            read_only=True,
            raise_exceptions=True,
            check_names=False,
            auto_referrals=False,  # or another server would be told the password
        )
        try:
            connection.open()
            if settings.start_tls:
                connection.start_tls(read_server_info=False)
            connection.bind(read_server_info=False)
            yield connection
        # The errors' own messages may quote names and filters; the log is for all to read.
        except ldap.LDAPInvalidCredentialsResult:
            raise DirectoryError(
                "the directory refuses ldap_bind_dn with ldap_bind_password"
            ) from None
        except (ldap.LDAPException, OSError) as error:
            kind = type(error).__name__
            raise DirectoryError(f"the directory at {settings.url} fails with {kind}") from None
        finally:
            _hang_up(connection)

    def _dn(self, connection: Connection, name: str) -> str | None:
        """Find the entry of a name; None if there is none.

        Raises:
            DirectoryError: The filter finds several.
        """
        wanted = self._settings.user_filter.replace(NAME, escape_filter_chars(name))
        found = _entries(connection, self._settings.base, wanted, SUBTREE)
        if len(found) > 1:
            raise DirectoryError("ldap_user_filter finds several people for one name")
        return found[0] if found else None

    def _is_in_group(self, connection: Connection, dn: str, name: str) -> bool:
        """Whether an entry is in the group that may use the bot.

        Raises:
            DirectoryError: There is no such group, so whoever set it up has erred.
        """
        group = self._settings.group
        if not group:
            return True
        wanted = GROUP_FILTER.replace("{dn}", escape_filter_chars(dn))
        wanted = wanted.replace(NAME, escape_filter_chars(name))
        try:
            return bool(_entries(connection, group, wanted, BASE))
        except ldap.LDAPNoSuchObjectResult:
            raise DirectoryError("the directory has no entry ldap_group") from None


def _entries(connection: Connection, base: str, wanted: str, scope: Any) -> list[str]:
    """List the DNs of at most two entries that a filter finds; two say that it is no use."""
    with suppress(ldap.LDAPSizeLimitExceededResult):  # what was found until then counts
        connection.search(base, wanted, scope, attributes=[NO_ATTRIBUTES], size_limit=2)
    return [one["dn"] for one in connection.response or () if one["type"] == "searchResEntry"]


def _hang_up(connection: Connection) -> None:
    with suppress(ldap.LDAPException, OSError):  # it may be gone already
        connection.unbind()
