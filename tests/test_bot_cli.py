"""`sdlesson bot`: the same bot from a terminal."""

import argparse
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from diffusers import ControlNetModel

import sdlesson
from sdlesson import cli
from sdlesson.pipelines import load_pipeline

ROOT = Path(sdlesson.__file__).parent.parent


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM to catch")
def test_it_runs_until_it_is_told_to_end_and_then_stops_gracefully(tiny_folder: Path) -> None:
    arguments = ["-m", "sdlesson", "bot", "--local", "--model", str(tiny_folder)]
    with subprocess.Popen(
        [sys.executable, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    ) as process:
        assert process.stdout is not None
        greeting = process.stdout.readline()
        (page,) = re.findall(r"http://127\.0\.0\.1:\d+/chat/[\w-]+/", greeting)
        assert "not Telegram" in greeting
        assert "Ctrl-C" in process.stdout.readline()
        assert httpx.get(page).status_code == 200
        process.send_signal(signal.SIGTERM)
        said, errors = process.communicate(timeout=20)
    assert said == "The bot has stopped.\n"
    assert process.returncode == 0
    assert "Traceback" not in errors


def test_without_the_extra_it_says_what_to_install() -> None:
    code = "import sys; sys.modules['telegram'] = None; from sdlesson import cli; cli.main(['bot'])"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stderr == "sdlesson: telegram is missing; run: pip install 'sdlesson[bot]'\n"


def test_a_model_that_cannot_be_had_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bot", "--local", "--model", "pokcet"]) == cli.BAD_INPUT
    assert "there is no model 'pokcet'" in capsys.readouterr().err


def test_the_bot_may_be_given_a_controlnet(
    tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unet = load_pipeline(str(tiny_folder)).unet
    ControlNetModel.from_unet(unet).save_pretrained(tmp_path / "lines")

    def follows_outlines(control: str | None) -> bool:
        options = argparse.Namespace(model=str(tiny_folder), control=control)
        return cli._bots_generator(options).has_control

    assert not follows_outlines(None)
    assert follows_outlines(str(tmp_path / "lines"))
    arguments = ["bot", "--local", "--model", str(tiny_folder), "--control", "nowhere"]
    assert cli.main(arguments) == cli.BAD_INPUT
    assert "there is no folder" in capsys.readouterr().err
