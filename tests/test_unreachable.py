"""What keeps a machine from the Hub is named: a variable, before the network is blamed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import sdlesson
from sdlesson import downloads
from sdlesson.language import set_language

ASK = """
import sdlesson
from sdlesson import account, downloads
try:
    downloads.fetch(downloads.Source("ana/tiny"), ["*.json"])
except downloads.ModelError as error:
    print(error)
print(account.ask_hub(account.FoundToken("hf_madeUp", "the token")).sentence)
sdlesson.set_language("es")
print(account.ask_hub(account.FoundToken("hf_madeUp", "el token")).sentence)
"""


@pytest.mark.parametrize(
    ("variables", "named", "not_named"),
    [
        ({"ALL_PROXY": "socks5://127.0.0.1:9"}, "pip install socksio", "check the network"),
        ({"https_proxy": "ftp://ana:secret@127.0.0.1:9"}, "the proxy in https_proxy", "secret"),
        ({"HTTPS_PROXY": "http://127.0.0.1:9"}, "the proxy in HTTPS_PROXY", "127.0.0.1"),
        ({"HTTPS_PROXY": "http://127.0.0.1:port"}, "the proxy in HTTPS_PROXY", "broke off"),
        ({"SSL_CERT_FILE": "/missing.pem"}, "variable SSL_CERT_FILE names no", "the network"),
        ({"SSL_CERT_FILE": __file__}, "variable SSL_CERT_FILE names no", "the network"),
        ({"SSL_CERT_DIR": "/missing"}, "variable SSL_CERT_DIR names no", "the network"),
        ({"HF_HUB_OFFLINE": "1"}, "variable HF_HUB_OFFLINE keeps it", "the network"),
        ({"TRANSFORMERS_OFFLINE": "1"}, "variable TRANSFORMERS_OFFLINE keeps it", "the network"),
        ({"HF_ENDPOINT": "127.0.0.1:9"}, "HF_ENDPOINT must begin with https", "the network"),
        ({"HF_ENDPOINT": "http://127.0.0.1:9"}, "check the network", "variable"),
    ],
)
def test_a_variable_that_keeps_the_hub_away_is_named_and_not_shown(
    tmp_path: Path, variables: dict[str, str], named: str, not_named: str
) -> None:
    clean = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    home = {"HF_HOME": str(tmp_path), "PYTHONPATH": str(Path(sdlesson.__file__).parents[1])}
    near = {"HF_ENDPOINT": "https://127.0.0.1:9"}
    done = subprocess.run(
        [sys.executable, "-c", ASK],
        env={**clean, **home, **near, **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    fetched, english, spanish = done.stdout.splitlines()
    for sentence in (fetched, english):
        assert named in sentence
        assert not_named not in sentence
    assert "No se llega al Hub" in spanish
    assert "secret" not in spanish
    assert "Traceback" not in done.stderr


def test_without_such_a_variable_it_is_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.upper() in (*downloads.PROXY_VARIABLES, *downloads.CERTIFICATE_VARIABLES):
            monkeypatch.delenv(name)
    set_language("es")
    assert downloads.what_to_check(OSError()) == ("check the network", "comprueba la red")
