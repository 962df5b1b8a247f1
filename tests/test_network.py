"""The suite's own guard: a test that needs the network must say so."""

import socket
import urllib.error
import urllib.request

import pytest


@pytest.mark.parametrize("host", ["192.0.2.1", "example.invalid", "2001:db8::1"])
def test_a_host_beyond_this_machine_is_refused_and_named(host):
    with pytest.raises(OSError, match="tests stay on localhost") as caught:
        socket.create_connection((host, 443), timeout=1)
    assert host in str(caught.value)


def test_a_socket_that_skips_the_name_lookup_is_refused_too():
    with socket.socket() as raw, pytest.raises(OSError, match="tests stay on localhost"):
        raw.connect(("192.0.2.1", 443))


def test_a_client_library_is_refused():
    with pytest.raises(urllib.error.URLError, match="tests stay on localhost"):
        urllib.request.urlopen("http://example.invalid", timeout=1)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_server_on_this_machine_is_reached(host):
    with socket.create_server(("127.0.0.1", 0)) as server:
        with socket.create_connection((host, server.getsockname()[1]), timeout=5) as client:
            client.sendall(b"hello")
            accepted, _ = server.accept()
        with accepted:
            assert accepted.recv(5) == b"hello"
