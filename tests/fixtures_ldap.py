"""A real OpenLDAP of a test's own on this machine, with a small company in it."""

import base64
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from fixtures_redis import free_port
from fixtures_servers import missing
from fixtures_talk import wait_until
from sdlesson.bot_service.directory import LdapSettings

BASE = "dc=example,dc=org"
READER, PASSWORD = f"cn=reader,{BASE}", "hunter2"
GROUP = f"cn=bot,ou=groups,{BASE}"
SCHEMAS = Path("/etc/ldap/schema")  # where Debian puts them
START_S = 20.0
# By number, since these names would have to be escaped in a DN, too.
PEOPLE = ("ana", "ben", "o*hara", "(carla)", "d\\emir", "*", "josé ñandú", "twin", "twin")
IN_GROUP = ("ana", "o*hara", "(carla)", "d\\emir", "*", "josé ñandú")
CONFIGURATION = """
{schemas}
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile {folder}/pid
TLSCACertificateFile {folder}/ca.pem
TLSCertificateFile {folder}/server.pem
TLSCertificateKeyFile {folder}/server.key
database mdb
maxsize 10485760
suffix "{base}"
directory {folder}/db
access to attrs=userPassword by anonymous auth
access to * by users read
"""


class LdapServer:
    """OpenLDAP on two free ports of this machine, to be stopped, frozen and started again."""

    def __init__(self, program: str, folder: Path) -> None:
        self._program, self._folder = program, folder
        self._port, self._tls_port = free_port(), free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.ca_file = folder / "ca.pem"
        _make_certificates(folder)
        (folder / "db").mkdir()
        schemas = [f"include {SCHEMAS}/{one}.schema" for one in ("core", "cosine", "inetorgperson")]
        schemas.append(f"include {SCHEMAS}/nis.schema")
        named = {"schemas": "\n".join(schemas), "folder": folder, "base": BASE}
        (folder / "slapd.conf").write_text(CONFIGURATION.format(**named))
        adding = [program, "-T", "add", "-f", folder / "slapd.conf"]
        done = subprocess.run(adding, input=company().encode(), capture_output=True)
        assert done.returncode == 0, done.stderr.decode()

    @property
    def settings(self) -> LdapSettings:
        """How the bot asks this server, in the clear."""
        url = f"ldap://127.0.0.1:{self._port}"
        return LdapSettings(url, BASE, group=GROUP, bind_dn=READER, bind_password=PASSWORD)

    @property
    def tls_settings(self) -> LdapSettings:
        """How the bot asks this server, encrypted, by the name in its certificate."""
        url = f"ldaps://localhost:{self._tls_port}"
        return replace(self.settings, url=url, ca_file=self.ca_file)

    def start(self) -> None:
        """Listen."""
        urls = f"ldap://127.0.0.1:{self._port} ldaps://127.0.0.1:{self._tls_port}"
        command = [self._program, "-d", "0", "-h", urls, "-f", self._folder / "slapd.conf"]
        log = (self._folder / "log").open("ab")
        self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self._folder)
        wait_until(self._answers, START_S)

    def stop(self) -> None:
        """Go away."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.terminate()
            self._process.wait(START_S)
            self._process = None

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """Take connections while inside, and answer nothing."""
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def _answers(self) -> bool:
        assert self._process.poll() is None, (self._folder / "log").read_text()
        with socket.socket() as one:
            return one.connect_ex(("127.0.0.1", self._port)) == 0


@contextmanager
def ldap_server() -> Iterator[LdapServer]:
    """Run OpenLDAP; a test without it is skipped and says so, but in CI it fails."""
    # Debian keeps it where only root looks for programs.
    program = shutil.which("slapd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/libexec")
    if program is None:
        missing("OpenLDAP's slapd", "slapd")
    if shutil.which("openssl") is None:
        missing("openssl", "openssl")
    folder = Path(tempfile.mkdtemp(prefix="sdlesson-ldap-"))
    server = LdapServer(str(program), folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def company() -> str:
    """All entries, as LDIF."""
    entries = [
        [f"dn: {BASE}", "objectClass: dcObject", "objectClass: organization", "dc: example"],
        [f"dn: ou=people,{BASE}", "objectClass: organizationalUnit", "ou: people"],
        [f"dn: ou=groups,{BASE}", "objectClass: organizationalUnit", "ou: groups"],
        [f"dn: {READER}", "objectClass: organizationalRole", "objectClass: simpleSecurityObject"],
    ]
    entries[0].append("o: Example")
    entries[-1] += ["cn: reader", f"userPassword: {PASSWORD}"]
    for number, name in enumerate(PEOPLE):
        person = [f"dn: {_dn(number)}", "objectClass: inetOrgPerson", f"cn: {number}", "sn: x"]
        entries.append([*person, _line("uid", name)])
    members = [number for number, name in enumerate(PEOPLE) if name in IN_GROUP]
    by_dn = [f"dn: {GROUP}", "objectClass: groupOfNames", "cn: bot"]
    unique = [f"dn: cn=unique,ou=groups,{BASE}", "objectClass: groupOfUniqueNames", "cn: unique"]
    by_name = [f"dn: cn=posix,ou=groups,{BASE}", "objectClass: posixGroup", "cn: posix"]
    entries.append([*by_dn, *(f"member: {_dn(one)}" for one in members)])
    entries.append([*unique, *(f"uniqueMember: {_dn(one)}" for one in members)])
    entries.append([*by_name, "gidNumber: 1", *(_line("memberUid", one) for one in ASCII_NAMES)])
    return "\n\n".join("\n".join(one) for one in entries) + "\n"


ASCII_NAMES = [one for one in IN_GROUP if one.isascii()]  # all that posixGroup takes


def _dn(number: int) -> str:
    return f"cn={number},ou=people,{BASE}"


def _line(attribute: str, value: str) -> str:
    return f"{attribute}:: {base64.b64encode(value.encode()).decode()}"


def _make_certificates(folder: Path) -> None:
    """Make an authority, and the certificate that it gives to localhost by that name alone."""
    new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    new += ["-nodes", "-days", "2"]
    authority = ["-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=the company"]
    own = ["-CA", "ca.pem", "-CAkey", "ca.key", "-keyout", "server.key", "-out", "server.pem"]
    own += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    own += ["-addext", "basicConstraints=critical,CA:FALSE"]
    for rest in (authority, own):
        subprocess.run([*new, *rest], cwd=folder, check=True, capture_output=True)
