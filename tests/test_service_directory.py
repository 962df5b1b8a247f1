"""The company's directory: a real OpenLDAP, with odd names in it, that goes and hangs."""

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from fixtures_ldap import ASCII_NAMES, BASE, IN_GROUP, PASSWORD, LdapServer, ldap_server
from sdlesson.bot_service.directory import DirectoryError, LdapDirectory, Member

WITHIN_S = 4.0  # for a timeout of one second and a busy machine


@pytest.fixture(scope="module")
def server() -> Iterator[LdapServer]:
    with ldap_server() as server:
        yield server


def failing(settings) -> str:
    """Ask in vain, and return what the operator's log will say."""
    with pytest.raises(DirectoryError) as failed:
        LdapDirectory(settings).find("ana")
    assert PASSWORD not in str(failed.value)
    assert "ana" not in str(failed.value)
    return str(failed.value)


@pytest.mark.parametrize("name", IN_GROUP)
def test_a_member_is_found_whatever_signs_the_name_has(server, name: str) -> None:
    assert LdapDirectory(server.settings).find(name) == Member(name, may_use_bot=True)


def test_who_is_not_in_the_group_is_known_and_may_not(server) -> None:
    assert LdapDirectory(server.settings).find("ben") == Member("ben", may_use_bot=False)
    without_group = replace(server.settings, group="")
    assert LdapDirectory(without_group).find("ben") == Member("ben", may_use_bot=True)


@pytest.mark.parametrize(
    "name",
    [
        *("nobody", "a*", "an", "**", "ana)(uid=*", "*)(objectClass=*", "ana))(|(uid=*"),
        *("\\2a", "ana\x00", "", "(", ")", "\\", "anna", "{dn}", "{name}", "ana" * 999),
    ],
)
def test_what_is_not_exactly_a_name_finds_nobody(server, name: str) -> None:
    assert LdapDirectory(server.settings).find(name) is None


@pytest.mark.parametrize("name", ASCII_NAMES)
@pytest.mark.parametrize("group", ["unique", "posix"])
def test_groups_may_list_their_members_in_other_ways(server, group: str, name: str) -> None:
    settings = replace(server.settings, group=f"cn={group},ou=groups,{BASE}")
    found = LdapDirectory(settings).find(name)
    assert found is not None
    assert found.may_use_bot
    assert not LdapDirectory(settings).find("ben").may_use_bot


def test_two_people_of_one_name_are_nobody_but_an_error(server) -> None:
    with pytest.raises(DirectoryError, match="several people"):
        LdapDirectory(server.settings).find("twin")


def test_a_wrong_password_is_the_operators_to_mend(server) -> None:
    for changes in ({"bind_password": "guess"}, {"bind_dn": f"cn=nobody,{BASE}"}):
        assert "refuses ldap_bind_dn" in failing(replace(server.settings, **changes))


def test_without_a_name_this_directory_shows_nobody(server) -> None:
    anonymous = replace(server.settings, bind_dn="", bind_password="")
    assert "LDAPNoSuchObjectResult" in failing(anonymous)


def test_a_missing_group_or_base_lets_nobody_in(server) -> None:
    assert "no entry ldap_group" in failing(replace(server.settings, group=f"cn=x,{BASE}"))
    assert "LDAPNoSuchObjectResult" in failing(replace(server.settings, base="dc=example,dc=com"))


def test_a_filter_that_is_none_is_an_error(server) -> None:
    assert "fails with" in failing(replace(server.settings, user_filter="(uid={name}"))


def test_a_server_that_is_down_is_an_error_at_once_and_its_return_is_noticed(server) -> None:
    directory = LdapDirectory(server.settings)
    server.stop()
    began = time.monotonic()
    for _ in range(2):
        with pytest.raises(DirectoryError, match="LDAPSocketOpenError"):
            directory.find("ana")
    assert time.monotonic() - began < WITHIN_S
    server.start()
    assert directory.find("ana")


@pytest.mark.parametrize("how", ["plain", "start_tls", "ldaps"])
def test_a_server_that_hangs_is_an_error_in_time(server, how: str) -> None:
    settings = server.tls_settings if how == "ldaps" else server.settings
    if how == "start_tls":
        settings = replace(settings, start_tls=True, ca_file=server.ca_file)
    with server.hanging():
        began = time.monotonic()
        assert "fails with" in failing(replace(settings, timeout_s=1))
        assert time.monotonic() - began < WITHIN_S
    assert LdapDirectory(server.settings).find("ana")


def test_tls_from_the_first_byte_or_after_a_word(server) -> None:
    starting = server.settings.url.replace("127.0.0.1", "localhost")
    after = replace(server.tls_settings, url=starting, start_tls=True)
    for settings in (server.tls_settings, after):
        assert LdapDirectory(settings).find("ana") == Member("ana", may_use_bot=True)


def test_a_certificate_of_nobody_known_or_for_another_name_is_refused(server) -> None:
    other_name = server.tls_settings.url.replace("localhost", "127.0.0.1")
    for changes in ({"ca_file": None}, {"url": other_name}):
        assert "fails with" in failing(replace(server.tls_settings, **changes))
    after = replace(server.settings, start_tls=True)  # by a number, and without the authority
    assert "fails with" in failing(after)


def test_settings_do_not_show_the_password(server) -> None:
    assert PASSWORD not in repr(server.settings)
