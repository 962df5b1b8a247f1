import argparse
import io
import os
import re
import subprocess
import sys
from contextlib import redirect_stderr
from dataclasses import fields
from inspect import signature
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageChops

import sdlesson
from fixtures_finetuning import make_photos
from sdlesson import cli, doctor, drawing
from sdlesson.finetuning.training_settings import TrainingSettings
from sdlesson.images import read_settings
from sdlesson.language import set_language
from sdlesson.terminal import Parser, _translated, set_quiet_environment

QUIETING = {
    "TQDM_DISABLE": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "DIFFUSERS_VERBOSITY": "error",
}


@pytest.fixture(autouse=True)
def _quiet_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set here what the command sets, so that it is undone."""
    for name, value in QUIETING.items():
        monkeypatch.setenv(name, value)


def test_draw_writes_a_picture_that_carries_its_settings(
    tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "cat.png"
    command = ["draw", "a cat", "--out", str(out), "--seed", "3", "--steps", "2"]
    assert cli.main([*command, "--guidance", "3", "--negative", "hat", *_model(tiny_folder)]) == 0
    assert Image.open(out).size == (32, 32)
    expected = {"prompt": "a cat", "negative_prompt": "hat", "seed": "3", "guidance_scale": "3.0"}
    assert read_settings(out).items() >= expected.items()
    assert f"Saved {out}" in capsys.readouterr().out


def test_draw_changes_a_picture(
    tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture, out = tmp_path / "photo.jpg", tmp_path / "new.png"
    Image.effect_noise((48, 40), 80).convert("RGB").save(picture)
    command = ["draw", "a cat", "--out", str(out), "--image", str(picture), "--seed", "3"]
    command += ["--steps", "4", *_model(tiny_folder)]
    assert cli.main([*command, "--strength", "0.5"]) == 0
    assert Image.open(out).size == (48, 40)
    expected = {"prompt": "a cat", "seed": "3", "strength": "0.5", "image": picture.name}
    assert read_settings(out).items() >= expected.items()
    assert cli.main([*command, "--strength", "0"]) == 0
    with Image.open(picture) as before, Image.open(out) as after:
        assert before.convert("RGB").tobytes() == after.tobytes()
    assert "48 x 40" in capsys.readouterr().out


def test_draw_paints_in_a_mask_and_leaves_the_rest(tiny_folder: Path, tmp_path: Path) -> None:
    picture, mask, out = (tmp_path / name for name in ("photo.png", "mask.png", "new.png"))
    Image.effect_noise((32, 32), 80).save(picture)
    white = Image.new("1", (32, 32))
    white.paste(1, (0, 0, 16, 32))
    white.save(mask)
    command = ["draw", "a cat", "--out", str(out), "--image", str(picture), "--mask", str(mask)]
    assert cli.main([*command, "--steps", "2", *_model(tiny_folder)]) == 0
    assert read_settings(out)["strength"] == "1.0"
    right = (16, 0, 32, 32)
    with Image.open(picture) as before, Image.open(out) as after:
        assert before.convert("RGB").crop(right).tobytes() == after.crop(right).tobytes()
        assert before.convert("RGB").tobytes() != after.tobytes()


def test_draw_without_a_seed_tells_the_one_it_chose(
    tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "cat.png"
    assert cli.main(["draw", "a cat", "--out", str(out), "--steps", "1", *_model(tiny_folder)]) == 0
    assert f"seed {read_settings(out)['seed']}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["", "--out", "a.png"], "prompt='' must be a text"),
        (["a cat", "--out", "a.jpg"], "end it in .png"),
        (["a cat", "--out", "missing/a.png"], "there is no folder missing"),
        (["a cat", "--out", "a.png", "--steps", "0"], "num_inference_steps=0 must be"),
        (["a cat", "--out", "a.png", "--steps", "-1"], "num_inference_steps=-1 must be"),
        (["a cat", "--out", "a.png", "--guidance", "nan"], "guidance_scale=nan must be"),
        (["a cat", "--out", "a.png", "--seed", "-5"], "seed=-5 must be"),
        (["a cat", "--out", "a.png", "--model", "pokcet"], "there is no model 'pokcet'"),
        (["a cat", "--out", "a.png", "--model", "."], "is no pipeline"),
        (["a cat", "--out", "a.png", "--image", "none.png"], "none.png cannot be opened"),
        (["a cat", "--out", "a.png", "--control", "none.png"], "none.png cannot be opened"),
        (["a cat", "--out", "a.png", "--mask", "m.png"], "--mask says how to change a picture"),
        (["a cat", "--out", "a.png", "--strength", "1"], "--strength says how to change"),
        (["a cat", "--out", "a.png", "--image", "a", "--control", "b"], "exclude each other"),
        (["a cat", "--out", "a.png", "--image", "a", "--strength", "2"], "strength=2.0 must be"),
        (["", "--out", "a.png", "--image", "a"], "prompt='' must be a text"),
    ],
)
def test_a_bad_wish_is_one_sentence_and_leaves_no_file(
    arguments: list[str],
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["draw", *arguments]) == cli.BAD_INPUT
    output = capsys.readouterr()
    assert sentence in output.err
    assert output.err.startswith("sdlesson: ")
    assert output.err.count("\n") == 1
    assert output.out == ""
    assert list(tmp_path.iterdir()) == []


def test_an_output_is_checked_before_the_model_is_loaded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(drawing, "load_pipeline", _must_not_be_called)
    assert cli.main(["draw", "a cat", "--out", str(tmp_path / "a.txt")]) == cli.BAD_INPUT


def test_a_disk_that_fills_up_is_one_sentence(
    tiny_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fill_the_disk(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", fill_the_disk)
    command = ["draw", "a cat", "--out", str(tmp_path / "a.png"), "--steps", "1"]
    assert cli.main([*command, *_model(tiny_folder)]) == cli.BAD_INPUT
    assert "No space left" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_is_no_traceback(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(drawing, "load_pipeline", interrupt)
    assert cli.main(["draw", "a cat", "--out", str(tmp_path / "a.png")]) == cli.INTERRUPTED


def test_the_defaults_are_those_of_draw() -> None:
    options = cli._parser().parse_args(["draw", "a cat", "--out", "a.png"])
    parameters = signature(drawing.draw).parameters
    assert options.steps == parameters["num_inference_steps"].default
    assert options.guidance == parameters["guidance_scale"].default
    assert options.negative == parameters["negative_prompt"].default


@pytest.mark.parametrize(
    ("variables", "word"),
    [
        ({"LANG": "es_MX.UTF-8"}, "Guardada"),
        ({"LANG": "en_US.UTF-8", "LC_ALL": "es_ES"}, "Guardada"),
        ({"LANG": "es_ES", "LC_ALL": "C"}, "Saved"),
    ],
)
def test_the_environment_chooses_the_language(
    variables: dict[str, str],
    word: str,
    tiny_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    cli.main(["draw", "a", "--out", str(tmp_path / "a.png"), "--steps", "1", *_model(tiny_folder)])
    assert word in capsys.readouterr().out


def test_doctor_returns_the_doctors_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "main", lambda: 1)
    assert cli.main(["doctor"]) == 1


@pytest.mark.parametrize("arguments", [["--help"], ["draw", "--help"], ["bot", "--help"]])
def test_help_is_shown_and_loads_neither_torch_nor_diffusers(arguments: list[str]) -> None:
    program = (
        "import sys\nfrom sdlesson import cli\n"
        f"try:\n    cli.main({arguments})\n"
        "except SystemExit as end:\n    assert end.code == 0\n"
        "assert not {'torch', 'diffusers', 'transformers'} & set(sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
    assert b"usage: sdlesson" in shown.stdout


def helps(language: str) -> list[str]:
    """Every sentence of the help: of the program, of its commands and of their options."""
    set_language(language)
    parser = cli._parser(["finetune"])
    (commands,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    options = [a for command in commands.choices.values() for a in command._actions]
    options += [action for action in parser._actions if action is not commands]
    titles = [group.title for group in parser._action_groups]
    texts = [parser.description, *titles, *(choice.help for choice in commands._choices_actions)]
    return [*texts, *(option.help for option in options)]


def test_help_is_in_either_language_and_keeps_its_defaults() -> None:
    english, spanish = helps("en"), helps("es")
    assert len(english) == len(spanish) >= 40
    for one, other in zip(english, spanish, strict=True):
        assert one != other
        assert one.count("%(default)s") == other.count("%(default)s")
        assert ("SDLESSON_MODEL" in one) == ("SDLESSON_MODEL" in other)


def test_an_unknown_command_is_refused() -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(["paint"])
    assert end.value.code == cli.BAD_INPUT


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"sdlesson {sdlesson.__version__}\n"


REFUSED = (
    (["draw", "a cat"], "falta --out"),
    (["draw", "a cat", "--out", "a.png", "--steps", "x"], "--steps: 'x' no es un número entero"),
    (["draw", "a cat", "--out", "a.png", "--guidance", "x"], "--guidance: 'x' no es un número"),
    (
        ["draw", "a cat", "--out", "a.png", "--strength", "0,5"],
        "--strength: '0,5' no es un número; prueba con uno como 0.5",
    ),
    (["draw", "a cat", "--out"], "a --out le falta un valor"),
    (["draw", "a cat", "--out", "a.png", "--loud"], "no se reconoce --loud"),
    (["draw", "a cat", "--s", "1"], "--s puede ser cualquiera de --seed, --steps, --strength"),
    (["bot", "--port", "70000"], "--port: 70000 no es un puerto: indica de 0 a 65535"),
    (["bot", "--port", "x"], "--port: 'x' no es un número entero"),
    (["bot", "--local=yes"], "--local no lleva valor, y se le ha dado 'yes'"),
    (["paint"], "'paint' no es ninguno de "),
    (["finetune", "--photos", "a"], "falta --output, --word, --class-noun"),
    (["finetune", "--prompts"], "a --prompts le falta al menos un valor"),
    (["finetune", "--rank", "x"], "--rank: 'x' no es un número entero"),
    (["finetune", "--alpha", "x"], "--alpha: 'x' no es un número"),
)


@pytest.mark.parametrize(("arguments", "spanish"), REFUSED, ids=lambda value: str(value)[:40])
def test_a_bad_option_is_one_sentence_in_the_readers_language(
    arguments: list[str],
    spanish: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    said = {}
    for variable in ("en_US", "es_ES"):
        set_language("en")
        monkeypatch.setenv("LANG", variable)
        with pytest.raises(SystemExit) as end:
            cli.main(arguments)
        assert end.value.code == cli.BAD_INPUT
        output = capsys.readouterr()
        assert output.out == ""
        assert output.err.startswith("sdlesson: ")
        assert output.err.count("\n") == 1
        said[variable] = output.err
    assert said["es_ES"].startswith(f"sdlesson: {spanish}")
    assert said["es_ES"] != said["en_US"]


def provoked(*words: str) -> str:
    """What a parser with an option of each kind says of a command line."""
    parser = Parser(prog="try")
    parser.add_argument("number", type=int)
    parser.add_argument("--pair", nargs=2)
    parser.add_argument("--one")
    parser.add_argument("--may", nargs="?")
    parser.add_argument("--kind", choices=["a", "b"])
    parser.add_argument("--file", type=argparse.FileType())
    group = parser.add_mutually_exclusive_group(required=True)
    group.add_argument("--on", action="store_true")
    group.add_argument("--off", action="store_true")
    errors = io.StringIO()
    with pytest.raises(SystemExit), redirect_stderr(errors):
        parser.parse_args(words)
    return errors.getvalue()


@pytest.mark.filterwarnings("ignore:FileType is deprecated")
def test_all_that_argparse_refuses_is_refused_in_spanish() -> None:
    set_language("es")
    said = {
        "falta number": (),
        "falta una de estas opciones: --on --off": ("1",),
        "--off no va con --on": ("1", "--on", "--off"),
        "number no admite 'x'": ("x", "--on"),
        "a --pair le faltan valores: lleva 2": ("1", "--on", "--pair", "a"),
        "a --one le falta un valor": ("1", "--on", "--one"),
        "'c' no es ninguno de 'a', 'b'": ("1", "--on", "--kind", "c"),
        "--file: no se puede abrir 'nowhere'": ("1", "--on", "--file", "nowhere"),
        "--o puede ser cualquiera de --one, --on, --off": ("1", "--o"),
        "--on no lleva valor, y se le ha dado 'x'": ("1", "--on=x"),
        "no se reconoce --stepz": ("1", "--on", "--stepz"),
    }
    for sentence, words in said.items():
        shown = provoked(*words).replace("of a, b", "of 'a', 'b'")
        assert shown == f"sdlesson: {sentence}; try --help dice más\n"
    typo = "argument --kind: invalid choice: 'bb', maybe you meant 'b'? (choose from a, b)"
    assert _translated(typo) == "'bb' no es ninguno de a, b; quizá querías decir 'b'"  # Python 3.15


@pytest.mark.parametrize("module", ["sdlesson.cli", "sdlesson"])
def test_each_way_to_the_command_line_leads_there(module: str) -> None:
    command = [sys.executable, "-m", module, "--version"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == f"sdlesson {sdlesson.__version__}\n"


def test_what_options_need_is_said_in_spanish(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LANG", "es_ES")
    for options, said in (
        (["--mask", "a.png"], "--mask dice cómo cambiar una imagen"),
        (["--control", "a.png", "--image", "b.png"], "se excluyen"),
        (["--image", ""], "--image está vacía"),
    ):
        assert cli.main(["draw", "a cat", "--out", "a.png", *options]) == cli.BAD_INPUT
        assert said in capsys.readouterr().err


@pytest.mark.parametrize(("language", "usage"), [("en_US", "usage: "), ("es_ES", "uso: ")])
def test_the_help_of_a_training_shows_every_setting_and_its_default(
    language: str,
    usage: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("LANG", language)
    with pytest.raises(SystemExit) as end:
        cli.main(["finetune", "--help"])
    assert end.value.code == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"{usage}sdlesson finetune ")
    assert shown.count(usage) == 1
    for field in fields(TrainingSettings):
        assert f"--{field.name.replace('_', '-')}" in shown
    assert re.search(r"400\b", shown), "the default of --steps"


def test_finetune_trains_and_what_is_not_given_is_left_to_the_settings(
    tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for number, photo in enumerate(make_photos()):
        photo.save(photos / f"{number}.png")
    words = ["finetune", "--photos", str(photos), "--output", str(tmp_path / "out")]
    words += ["--word", "zwx", "--class-noun", "robot", "--size", "32", "--prior", "none"]
    words += ["--steps", "2", "--batch-size", "2", "--rank", "2", *_model(tiny_folder)]
    assert cli.main(words) == 0
    assert f"Saved {tmp_path / 'out' / 'zwx.safetensors'}" in capsys.readouterr().out
    options = vars(cli._parser(words).parse_args(words))
    assert options["rank"] == 2
    assert not {"alpha", "warmup", "seed", "convolutions"} & options.keys()
    assert cli.main([*words, "--rank", "0"]) == cli.BAD_INPUT
    assert capsys.readouterr().err.startswith("sdlesson: rank=0 must be a whole number from 1")


@pytest.mark.parametrize(("is_terminal", "disabled"), [(True, None), (False, "1")])
def test_a_progress_bar_is_for_a_terminal_only(
    is_terminal: bool, disabled: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TQDM_DISABLE")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: is_terminal)
    set_quiet_environment()
    assert os.environ.get("TQDM_DISABLE") == disabled


def test_the_module_draws_with_the_pocket_model_from_a_bare_shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in QUIETING:
        monkeypatch.delenv(name)  # the command has to set them by itself
    command = ["draw", "a quokka on the beach", "--out", "beach.png", "--steps", "2", "--seed", "1"]
    done = subprocess.run(
        [sys.executable, "-m", "sdlesson", *command, "--model", "pocket"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(sdlesson.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "Saved beach.png (pocket, 128 x 128, seed 1)\n"
    assert done.stderr == 'The pocket model does not know "quokka"; it will guess.\n'  # no bar
    assert [path.name for path in tmp_path.iterdir()] == ["beach.png"]


def run_draw(
    folder: Path, prompt: str | bytes, out: str | bytes, **options: Any
) -> subprocess.CompletedProcess[bytes]:
    """Draw in a process of its own, as a shell starts it; options go to `subprocess.run`."""
    steps, variables = ["--steps", "1", "--seed", "1"], options.pop("variables", {})
    home = {"PYTHONPATH": str(Path(sdlesson.__file__).parents[1])}
    return subprocess.run(
        [sys.executable, "-m", "sdlesson", "draw", prompt, "--out", out, *steps, *_model(folder)],
        env={**os.environ, **home, **variables},
        stderr=subprocess.PIPE,
        check=False,
        **options,
    )


@pytest.mark.parametrize(
    "variables",
    [{"PYTHONIOENCODING": "ascii"}, {"PYTHONIOENCODING": "cp1252"}, {"LANG": "es_ES"}],
    ids=str,
)
def test_a_narrow_terminal_shows_what_it_can(
    tiny_folder: Path, tmp_path: Path, variables: dict[str, str]
) -> None:
    out = tmp_path / "猫 canción.png"
    narrow = {"PYTHONIOENCODING": "ascii", **variables}
    done = run_draw(tiny_folder, "a", out, variables=narrow, stdout=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"canci?n.png" in done.stdout or "canción.png".encode("cp1252") in done.stdout
    assert out.is_file()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no such device here")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_behind_the_output_does_not_undo_the_picture(
    tiny_folder: Path, tmp_path: Path, unbuffered: str
) -> None:
    with Path("/dev/full").open("wb") as full:
        variables = {"PYTHONUNBUFFERED": unbuffered}
        done = run_draw(tiny_folder, "a", tmp_path / "a.png", stdout=full, variables=variables)
    assert (done.returncode, done.stderr) == (0, b"")
    assert (tmp_path / "a.png").is_file()


def test_a_reader_that_went_away_does_not_undo_the_picture(
    tiny_folder: Path, tmp_path: Path
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = run_draw(tiny_folder, "a", tmp_path / "a.png", stdout=writing)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")
    assert (tmp_path / "a.png").is_file()


def test_bytes_that_are_no_letters_are_one_sentence(tiny_folder: Path, tmp_path: Path) -> None:
    done = run_draw(tiny_folder, b"caf\xe9", tmp_path / "a.png", stdout=subprocess.PIPE)
    assert done.returncode == cli.BAD_INPUT
    assert b"which is no letter" in done.stderr
    assert done.stderr.count(b"\n") == 1


@pytest.mark.skipif(os.name == "nt", reason="names are text there")
def test_a_file_named_in_other_bytes_is_written_and_told(tiny_folder: Path, tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/caf\xe9.png"
    done = run_draw(tiny_folder, "a", name, stdout=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"Saved" in done.stdout
    assert Path(os.fsdecode(name)).is_file()


def _model(folder: Path) -> list[str]:
    return ["--model", str(folder)]


def _must_not_be_called(*_: object, **__: object) -> None:
    raise AssertionError("a model was loaded for a picture that could not be saved")


@pytest.mark.skipif(os.name != "posix", reason="a shell's 2>&-")
def test_a_closed_stderr_hinders_no_picture(tmp_path: Path) -> None:
    out = tmp_path / "a.png"
    command = f"'{sys.executable}' -m sdlesson draw 'a cat' --out '{out}' --steps 1 2>&-"
    done = subprocess.run(["sh", "-c", command], stdout=subprocess.PIPE)
    assert done.returncode == 0
    assert out.exists()


@pytest.mark.parametrize("name", ["image", "control", "mask", "model"])
def test_an_empty_option_is_refused(name: str, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "a.png"
    assert cli.main(["draw", "a cat", "--out", str(out), f"--{name}", ""]) == cli.BAD_INPUT
    assert f"--{name} is empty" in capsys.readouterr().err
    assert not out.exists()


def test_what_is_see_through_in_a_mask_stays(tmp_path: Path) -> None:
    source, mask, out = (tmp_path / f"{name}.png" for name in ("in", "mask", "out"))
    Image.effect_noise((128, 128), 60).convert("RGB").save(source)
    corner = Image.new("RGBA", (128, 128), (0, 0, 0, 0))
    corner.paste((255, 255, 255, 255), (0, 0, 32, 32))
    corner.save(mask)
    files = ["--image", str(source), "--mask", str(mask), "--out", str(out)]
    assert cli.main(["draw", "a cat", *files, "--steps", "2", "--seed", "1"]) == 0
    with Image.open(source) as before, Image.open(out) as after:
        box = ImageChops.difference(before.convert("RGB"), after.convert("RGB")).getbbox()
    assert box is not None
    assert max(box) <= 32


@pytest.mark.parametrize("option", ["image", "control"])
@pytest.mark.parametrize(
    ("data", "spanish"),
    [(None, "no se puede abrir"), (b"", "está vacío"), (b"hello", "no es una imagen")],
)
def test_a_picture_that_cannot_be_read_is_said_in_the_readers_language(
    option: str, data: bytes | None, spanish: str, tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    monkeypatch.setenv("LANG", "es_ES.UTF-8")
    picture = tmp_path / "in.png"
    if data is not None:
        picture.write_bytes(data)
    command = ["draw", "a cat", "--out", str(tmp_path / "a.png"), f"--{option}", str(picture)]
    assert cli.main(command) == cli.BAD_INPUT
    assert spanish in capsys.readouterr().err


@pytest.mark.parametrize(
    ("language", "other_size", "too_large", "nothing_there"),
    [
        ("en", "save the mask in the size of the picture", "save both files", "no outline can be"),
        ("es", "guarda la máscara con el tamaño", "guarda ambos archivos", "no se ve ningún"),
    ],
)
def test_files_that_do_not_do_are_told_by_their_names_and_not_in_python(
    language: str,
    other_size: str,
    too_large: str,
    nothing_there: str,
    tmp_path: Path,
    monkeypatch: Any,
    capsys: Any,
) -> None:
    monkeypatch.setenv("LANG", f"{language}_ES.UTF-8")
    small, large, mask = (str(tmp_path / f"{name}.png") for name in ("small", "large", "mask"))
    for path, side in ((small, 128), (large, 700), (mask, 700)):
        Image.new("RGB", (side, side), "white").save(path)
    command = ["draw", "a cat", "--model", "pocket", "--out", str(tmp_path / "a.png")]
    for options, sentence, named in (
        (["--image", small, "--mask", mask], other_size, (small, mask, "700 x 700", "128 x 128")),
        (["--image", large, "--mask", mask], too_large, (large, "700 x 700", "512")),
        (["--control", small], nothing_there, (small,)),
    ):
        assert cli.main([*command, *options]) == cli.BAD_INPUT
        told = capsys.readouterr().err
        assert sentence in told
        assert all(name in told for name in named)
        assert "image.thumbnail" not in told
        assert "mask.resize" not in told


@pytest.mark.parametrize(
    ("arguments", "spanish"),
    [
        (["", "--steps", "3"], "el prompt está vacío"),
        (["a", "--steps", "0"], "--steps 0: debe ser un número entero de 1 a 998"),
        (["a", "--guidance", "-1"], "--guidance -1.0: debe ser un número de 0"),
        (["a", "--seed", "-5"], "--seed -5: debe ser un número entero de 0"),
        (["a", "--image", "p", "--strength", "nan"], "--strength nan: debe ser un número de 0"),
        (["a", "--image", "p", "--strength", "0.1", "--steps", "3"], "no llega a un paso"),
    ],
)
def test_what_is_off_its_range_is_said_in_spanish_before_a_model_is_loaded(
    arguments: list[str], spanish: str, tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    monkeypatch.setenv("LANG", "es_ES.UTF-8")
    monkeypatch.setattr("sdlesson.drawing.load_pipeline", _must_not_be_called)
    assert cli.main(["draw", *arguments, "--out", str(tmp_path / "a.png")]) == cli.BAD_INPUT
    told = capsys.readouterr().err
    assert spanish in told
    assert " must " not in told
