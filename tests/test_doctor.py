import sys
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from sdlesson import __version__, doctor, downloads, hub
from sdlesson.language import set_language
from sdlesson.runtime import requirements

GOOD_SPACE = SimpleNamespace(free=100 * 10**9)


@pytest.fixture
def pretend(tmp_path, monkeypatch):
    """Put a package's metadata before the installed ones, as pip would have written them."""
    monkeypatch.syspath_prepend(tmp_path)

    def install(name: str, version: str, *lines: str) -> None:
        folder = tmp_path / f"{name.replace('-', '_')}-{version}.dist-info"
        folder.mkdir()
        text = [f"Name: {name}", f"Version: {version}", *lines]
        (folder / "METADATA").write_text("\n".join(["Metadata-Version: 2.1", *text]) + "\n")

    return install


@pytest.fixture
def hide(monkeypatch):
    """Make a package look as if it were not installed."""

    def uninstall(name: str) -> None:
        real = metadata.distribution

        def distribution(asked: str) -> metadata.Distribution:
            if asked == name:
                raise metadata.PackageNotFoundError(name)
            return real(asked)

        monkeypatch.setattr(metadata, "distribution", distribution)

    return uninstall


@pytest.fixture
def intact_folders(tmp_path, monkeypatch):
    """A pocket model and a scorer of one file each, with their checksums."""
    folders = []
    for name in ("POCKET_FOLDER", "SCORER_FOLDER"):
        folder = tmp_path / name.lower()
        folder.mkdir()
        (folder / "weights.safetensors").write_bytes(bytes(range(64)))
        downloads.write_checksums(folder)
        monkeypatch.setattr(hub, name, folder)
        folders.append(folder)
    monkeypatch.setattr(doctor, "_restore", lambda folder: f"restore {folder.name}")
    return folders


def line(checks, start):
    (found,) = [check for check in checks if check.text.startswith(start)]
    return found


def test_every_package_of_the_installed_course_has_a_good_line_here():
    checks = list(doctor.check_packages())
    for requirement in requirements():
        found = line(checks, f"{requirement.name} ")
        assert found.good
        assert found.needed
        assert metadata.version(requirement.name) in found.text


def test_a_package_out_of_its_range_is_named_with_the_range_and_the_mending_command(pretend):
    pretend("diffusers", "0.30.0")
    found = line(doctor.check_packages(), "diffusers")
    (wanted,) = [str(need.specifier) for need in requirements() if need.name == "diffusers"]
    assert not found.good
    assert found.needed
    assert "0.30.0" in found.text
    assert wanted in found.text
    assert found.remedy == f'python -m pip install "diffusers{wanted}"'


def test_a_package_newer_than_its_range_is_not_good_either(pretend):
    pretend("transformers", "6.0.0")
    assert not line(doctor.check_packages(), "transformers").good


def test_the_ranges_are_those_of_the_installed_metadata(pretend):
    pretend("sdlesson", "9.9", "Requires-Python: >=3.11", "Requires-Dist: numpy>=99")
    (found,) = doctor.check_packages()
    assert not found.good
    assert ">=99" in found.text


def test_a_missing_package_is_said_to_be_missing(hide):
    hide("peft")
    found = line(doctor.check_packages(), "peft")
    assert not found.good
    assert "not installed" in found.text


def test_a_missing_bot_package_is_told_but_stops_no_lesson_before_the_bots(hide):
    hide("python-telegram-bot")
    found = line(doctor.check_packages(), "python-telegram-bot")
    assert not found.good
    assert not found.needed
    assert "only for the bot's lesson" in found.text


@pytest.mark.parametrize(("code", "said"), [("en", "only for the"), ("es", "solo para la")])
def test_packages_of_a_bot_in_public_are_looked_at_and_stop_no_lesson(hide, code: str, said: str):
    for requirement in requirements("service"):
        assert line(doctor.check_packages(), f"{requirement.name} ").good
    for name in ("ldap3", "pyotp", "psycopg"):
        hide(name)
    set_language(code)
    found = line(doctor.check_packages(), "ldap3, psycopg, pyotp: ")
    assert not found.good
    assert not found.needed
    assert said in found.text
    assert found.remedy.startswith('python -m pip install "ldap3<3,>=2.9.1" "psycopg[binary]')
    assert line(doctor.check_packages(), "celery ").good, "those that are there have their lines"


def test_one_package_of_an_extra_that_is_missing_is_named_with_its_range(hide):
    hide("anywidget")
    found = line(doctor.check_packages(), "anywidget")
    assert not found.good
    assert not found.needed
    assert "not installed, needs" in found.text


def test_this_python_is_good_and_one_out_of_range_is_not(pretend):
    assert line(doctor.check_python(), "Python").good
    pretend("sdlesson", "9.9", "Requires-Python: >=3.99")
    found = line(doctor.check_python(), "Python")
    assert not found.good
    assert found.remedy == "conda env create -f environment.yml"


def test_a_course_that_is_not_installed_says_so_and_the_rest_is_still_looked_at(hide):
    hide("sdlesson")
    checks = doctor.check()
    assert line(checks, "sdlesson").remedy == "python -m pip install --editable ."
    assert line(checks, "GPU")


def test_a_package_that_cannot_be_imported_does_not_stop_the_report(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.delitem(sys.modules, "sdlesson.hub")
    monkeypatch.delattr("sdlesson.hub")
    assert line(doctor.check(), "GPU")


@pytest.mark.parametrize("version", ["0.10.0", "0.15.0"])
def test_an_old_torchao_beside_peft_is_found_with_the_command_that_removes_it(pretend, version):
    pretend("torchao", version)
    (found,) = doctor.check_lora()
    assert not found.good
    assert found.needed
    assert version in found.text
    assert found.remedy == "python -m pip uninstall -y torchao"


@pytest.mark.parametrize("version", ["0.16.0", "0.17.1"])
def test_a_new_torchao_is_good(pretend, version):
    pretend("torchao", version)
    (found,) = doctor.check_lora()
    assert found.good


def test_an_old_torchao_without_peft_is_nobodys_trouble(pretend, hide):
    pretend("torchao", "0.10.0")
    hide("peft")
    assert not list(doctor.check_lora())


def test_no_torchao_is_no_trouble():
    assert not list(doctor.check_lora())


def test_the_torchao_bound_is_the_one_that_peft_itself_names():
    from peft import import_utils

    source = Path(import_utils.__file__).read_text(encoding="utf-8")
    assert f'TORCHAO_MINIMUM_VERSION = packaging.version.parse("{_bound()}")' in source


def _bound():
    return doctor.FIRST_TORCHAO_THAT_PEFT_ACCEPTS


def test_no_gpu_is_good_because_the_pocket_model_is_used(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    (found,) = doctor.check_device()
    assert found.good
    assert "pocket model is used" in found.text


def test_a_gpu_is_named_with_its_free_memory(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Tesla T4")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (14 * 2**30, 15 * 2**30))
    (found,) = doctor.check_device()
    assert found.good
    assert found.text == "GPU: Tesla T4, 14.0 GB free"


@pytest.mark.parametrize("error", [ImportError("no torch"), OSError("c10.dll was not found")])
def test_a_torch_that_does_not_load_is_reported_and_not_raised(monkeypatch, error):
    def fail() -> str:
        raise error

    monkeypatch.setattr(doctor, "best_device", fail)
    (found,) = doctor.check_device()
    assert not found.good
    assert found.remedy == "python -m pip install --force-reinstall torch"


def test_a_token_in_the_environment_is_present_and_never_shown(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    (found,) = doctor.check_token()
    assert found.good
    assert "present" in found.text
    assert "hf_secret" not in str(found)


def test_a_stored_token_is_present_and_never_shown(monkeypatch, tmp_path):
    from huggingface_hub import constants

    (tmp_path / "token").write_text("hf_secret")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    (found,) = doctor.check_token()
    assert "present" in found.text
    assert "hf_secret" not in str(found)


def test_no_token_is_good_because_none_is_needed():
    (found,) = doctor.check_token()
    assert found.good
    assert "none stored" in found.text


@pytest.mark.usefixtures("intact_folders")
def test_intact_pocket_files_are_good():
    assert [check.good for check in doctor.check_pocket_model()] == [True, True]


@pytest.mark.parametrize("which", [0, 1])
def test_one_flipped_bit_in_the_pocket_files_is_found(intact_folders, which):
    weights = intact_folders[which] / "weights.safetensors"
    weights.write_bytes(bytes([1, *range(1, 64)]))
    checks = list(doctor.check_pocket_model())
    assert [check.good for check in checks] == [which != 0, which != 1]
    assert checks[which].needed
    assert checks[which].remedy == f"restore {intact_folders[which].name}"


def test_a_missing_pocket_file_is_found(intact_folders):
    (intact_folders[0] / "weights.safetensors").unlink()
    assert not next(doctor.check_pocket_model()).good


def test_in_a_clone_the_files_come_back_from_git():
    assert doctor._restore(hub.POCKET_FOLDER) == "git checkout -- sdlesson/pocket/model"


def test_an_installed_course_is_mended_from_the_repository_it_names(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "__file__", str(tmp_path / "sdlesson" / "doctor.py"))
    remedy = doctor._restore(tmp_path / "sdlesson" / "pocket" / "model")
    assert remedy.startswith("python -m pip install --force-reinstall --no-deps")
    assert f'"git+https://github.com/sdlesson/sdlesson@v{__version__}"' in remedy


@pytest.mark.parametrize(
    ("free", "good", "needed"),
    [(100 * 10**9, True, True), (10**9, False, False), (10**7, False, True)],
)
def test_a_full_disk_stops_and_a_tight_one_only_warns(monkeypatch, free, good, needed):
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda folder: SimpleNamespace(free=free))
    (found,) = doctor.check_disk()
    assert found.good is good
    assert good or found.needed is needed


def test_in_colab_the_command_is_one_for_a_cell(pretend, monkeypatch):
    monkeypatch.setenv("COLAB_RELEASE_TAG", "release-colab_20260819")
    pretend("torchao", "0.10.0")
    (found,) = doctor.check_lora()
    assert found.remedy == "%pip uninstall -y torchao"


def test_the_report_speaks_the_language_set(pretend, capsys):
    pretend("torchao", "0.10.0")
    set_language("es")
    doctor.main()
    printed = capsys.readouterr().out
    assert "se arregla con: python -m pip uninstall -y torchao" in printed
    assert "Por arreglar:" in printed


@pytest.mark.usefixtures("intact_folders")
def test_the_exit_status_is_one_only_when_something_needed_is_missing(monkeypatch, capsys, pretend):
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda folder: GOOD_SPACE)
    assert doctor.main() == 0
    printed = capsys.readouterr().out
    assert "[!!]" not in printed
    assert "The lessons have all they need." in printed

    pretend("torchao", "0.10.0")
    assert doctor.main() == 1
    printed = capsys.readouterr().out
    assert "[!!] torchao 0.10.0" in printed
    assert "To be mended: 1." in printed


@pytest.mark.parametrize(
    ("check", "mark"),
    [
        (doctor.Check(True, "a thing"), "[ok] a thing"),
        (doctor.Check(False, "a thing", needed=False), "[--] a thing"),
        (doctor.Check(False, "a thing", "do it"), "[!!] a thing\n     mend it with: do it"),
    ],
)
def test_a_line_is_marked_and_followed_by_its_remedy(check, mark):
    assert str(check) == mark
