"""A student's way through a lesson, in a real browser: open it, run all, play, stop."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import ipywidgets
import nbformat
import pytest
from nbformat import v4
from packaging.version import Version

from sdlesson.language import say, set_language

playwright = pytest.importorskip(
    "playwright.sync_api", reason="needs Playwright: pip install playwright"
)

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"
SCREENSHOTS_VARIABLE = "SCREENSHOTS"
TOKEN = "a-token-for-this-test"
PATIENCE_MS = 120_000
RUN_ALL_MS = 900_000
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox",  # which needs rights that containers do not have
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
SETTINGS = {  # of JupyterLab: every cell is on the page, and no box asks about news
    "notebook-extension/tracker": '{"windowingMode": "none"}',
    "apputils-extension/notification": '{"fetchNews": "false"}',
}
NO_CELL_WAITS = r"""() => {
    const prompts = [...document.querySelectorAll(".jp-CodeCell .jp-InputPrompt")]
        .map((prompt) => prompt.textContent);
    return prompts.some((text) => /\d/.test(text)) && !prompts.some((text) => /\*/.test(text));
}"""

pytestmark = [
    pytest.mark.slow,  # about a minute in each language, most of it the lesson itself
    pytest.mark.timeout(1800),
    pytest.mark.skipif(
        Version(ipywidgets.__version__).major < 8,
        reason="JupyterLab 4 shows the widgets of ipywidgets 8; version 7 is Colab's",
    ),
]


class Lab(NamedTuple):
    """A JupyterLab that serves one folder."""

    address: str
    folder: Path


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Start JupyterLab on this machine, with folders of its own for all that it keeps."""
    home, folder = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("course")
    for name, settings in SETTINGS.items():
        path = home / f"config/lab/user-settings/@jupyterlab/{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(settings)
    kinds = ("config", "data", "runtime")
    own = {f"JUPYTER_{kind.upper()}_DIR": str(home / kind) for kind in kinds}
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
    command += [f"--ServerApp.port={port}", "--ServerApp.port_retries=0"]
    command += [f"--ServerApp.root_dir={folder}", f"--IdentityProvider.token={TOKEN}"]
    own |= {"IPYTHONDIR": str(home / "ipython")}
    log = home / "log.txt"
    with log.open("w") as file:
        server = subprocess.Popen(command, env=os.environ | own, stdout=file, stderr=file)
    address = f"http://127.0.0.1:{port}"
    try:
        wait_until_it_answers(f"{address}/api", server, log)
        yield Lab(address, folder)
    finally:
        server.terminate()  # it ends its kernels, and then itself
        server.wait(60)


def wait_until_it_answers(address: str, server: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_MS / 1000
    while True:
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except urllib.error.URLError:
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)


@pytest.fixture(scope="module")
def browser() -> Iterator["playwright.Browser"]:
    """Start the Chromium of this machine, or Playwright's own."""
    with playwright.sync_playwright() as started:
        own = started.chromium.executable_path
        path = next(filter(None, map(shutil.which, BROWSERS)), own)
        if not Path(path).exists():
            pytest.skip(f"needs a browser: {' or '.join(BROWSERS)}, or `playwright install`")
        browser = started.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def screenshots(tmp_path: Path) -> Path:
    folder = Path(os.environ.get(SCREENSHOTS_VARIABLE, tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def put_lesson(folder: Path, language: str) -> str:
    """Copy the lesson with the playground into a folder, or a short stand-in for it."""
    lessons = sorted((NOTEBOOKS / language).glob("03_*.ipynb"))
    if lessons:
        notebook = nbformat.read(lessons[0], as_version=4)
    else:
        sources = [
            "import sdlesson\nfrom sdlesson.widgets import Playground",
            f'sdlesson.set_language("{language}")\npipe = sdlesson.load_pipeline("pocket")',
            "Playground(pipe)",
        ]
        notebook = v4.new_notebook(cells=[v4.new_code_cell(source) for source in sources])
        notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    nbformat.write(notebook, folder / f"lesson_{language}.ipynb")
    return f"lesson_{language}.ipynb"


def run_all_cells(page: "playwright.Page", lab: Lab, name: str) -> None:
    page.goto(f"{lab.address}/lab/tree/{name}?token={TOKEN}&reset")
    page.get_by_text(re.compile(r"\| Idle$")).wait_for()  # the kernel's state, in the status bar
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    page.wait_for_function(NO_CELL_WAITS, timeout=RUN_ALL_MS)


def saved_errors(page: "playwright.Page", path: Path) -> list[str]:
    """Save the notebook as a student does, and list the errors that its cells show."""
    page.keyboard.press("Control+s")
    page.locator(".lm-TabBar-tab.jp-mod-dirty").wait_for(state="detached")
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    shown = [output for cell in cells for output in cell.outputs]
    errors = [output.evalue for output in shown if output.output_type == "error"]
    assert errors or all(cell.execution_count for cell in cells)
    return errors


@pytest.mark.parametrize("language", ["en", "es"])
def test_a_student_runs_the_lesson_draws_stops_and_goes_back(
    lab: Lab, browser: "playwright.Browser", screenshots: Path, language: str
) -> None:
    set_language(language)
    name = put_lesson(lab.folder, language)
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    page.set_default_timeout(PATIENCE_MS)
    run_all_cells(page, lab, name)
    assert saved_errors(page, lab.folder / name) == []

    playground = page.locator(".sd-playground")
    prompt = playground.get_by_label("Prompt", exact=True)
    status, picture = playground.get_by_role("status"), playground.locator(".sd-picture > img")
    noise = picture.get_attribute("src")
    first = say("an astronaut riding a horse on Mars", "un astronauta montando un caballo en Marte")
    prompt.fill(first)
    prompt.press("Enter")
    playwright.expect(status).to_contain_text(say("Step 1", "Paso 1"), timeout=PATIENCE_MS)
    playwright.expect(picture).not_to_have_attribute("src", noise, timeout=PATIENCE_MS)
    assert re.search(say("Step", "Paso"), status.inner_text())  # a preview: it is not done yet
    drawn = say("Drawn in", "Dibujada en")
    playwright.expect(status).to_contain_text(drawn, timeout=PATIENCE_MS)

    # By the keyboard alone: words, negative words, seed, a hundred steps, guidance, Draw, Stop.
    prompt.fill(say("a catt in the snow", "un gatto en la nieve"))
    for _ in range(3):
        page.keyboard.press("Tab")
    page.keyboard.press("End")
    for _ in range(4):
        page.keyboard.press("Tab")
    page.keyboard.press("Space")
    step = say(r"Step \d\d of 100", r"Paso \d\d de 100")
    playwright.expect(status).to_contain_text(re.compile(step), timeout=PATIENCE_MS)
    playwright.expect(status).to_contain_text("cat" if language == "en" else "gato")
    playground.screenshot(path=screenshots / f"playground_drawing_{language}.png")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    stopped = say("Stopped after", "Detenido tras")
    playwright.expect(status).to_contain_text(stopped, timeout=PATIENCE_MS)

    playground.get_by_role("button", name=first).click()
    back = say("settings are back", "Vuelven los ajustes")
    playwright.expect(status).to_contain_text(back, timeout=PATIENCE_MS)
    playwright.expect(prompt).to_have_value(first)
    playground.screenshot(path=screenshots / f"playground_{language}.png")
    page.screenshot(path=screenshots / f"lesson_{language}.png")
    page.close()
