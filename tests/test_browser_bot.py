"""Lesson 10 in a real browser: start the bot, talk to it, get a picture, cancel one, stop it."""

import re
from pathlib import Path

import nbformat
import pytest
from nbformat import v4

from sdlesson.language import say, set_language
from test_browser import (  # noqa: F401
    NO_CELL_WAITS,
    NOTEBOOKS,
    PATIENCE_MS,
    RUN_ALL_MS,
    Lab,
    browser,
    lab,
    playwright,
    pytestmark,
    saved_errors,
    screenshots,
)
from test_browser import TOKEN as LAB_TOKEN

STOP_ON_A_SIGN = """import asyncio
from pathlib import Path

while not Path("stop").exists():
    await asyncio.sleep(0.1)
bot.stop()
bot"""


def put_lesson(folder: Path, language: str) -> str:
    """Copy lesson 10 up to the chat panel into a folder, and let it stop the bot on a sign."""
    (path,) = (NOTEBOOKS / language).glob("10_*.ipynb")
    notebook = nbformat.read(path, as_version=4)
    last = next(i for i, cell in enumerate(notebook.cells) if "ChatPanel(server)" in cell.source)
    notebook.cells = [*notebook.cells[: last + 1], v4.new_code_cell(STOP_ON_A_SIGN)]
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    nbformat.write(notebook, folder / f"bot_{language}.ipynb")
    return f"bot_{language}.ipynb"


def write(chat: "playwright.Page", text: str) -> None:
    box = chat.locator("#text")
    box.fill(text)
    box.press("Enter")


@pytest.mark.parametrize("language", ["en", "es"])
def test_a_student_starts_the_bot_talks_to_it_cancels_and_stops(
    lab: Lab,  # noqa: F811
    browser: "playwright.Browser",  # noqa: F811
    screenshots: Path,  # noqa: F811
    language: str,
) -> None:
    set_language(language)
    name, expect = put_lesson(lab.folder, language), playwright.expect
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    page.set_default_timeout(PATIENCE_MS)
    page.goto(f"{lab.address}/lab/tree/{name}?token={LAB_TOKEN}&reset")
    page.get_by_text(re.compile(r"\| Idle$")).wait_for()
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    greeting = page.get_by_text(re.compile(say("not Telegram. Its chat page", "página de chat:")))
    greeting.wait_for(timeout=RUN_ALL_MS)
    address = re.search(r"http://127\.0\.0\.1:\d+/chat/[\w-]+/", greeting.inner_text())
    assert address is not None

    chat = browser.new_page(viewport={"width": 500, "height": 900})
    chat.set_default_timeout(PATIENCE_MS)
    chat.goto(f"{address[0]}?lang={language}")
    chat.get_by_role("tab", name="Ana" if language == "es" else "Ben").last.click()
    write(chat, "/start")
    chat.get_by_role("button", name=say("All right", "De acuerdo")).click()
    write(chat, say("a robot on the beach --seed 7", "un robot en la playa --semilla 7"))
    picture = chat.locator(".message:not(.mine)", has_text=say("seed 7", "semilla 7"))
    expect(picture.locator("img")).to_be_visible(timeout=PATIENCE_MS)
    for scale in (3, 4, 5):  # which do not fit in one batch
        write(chat, say(f"a house --steps 50 --cfg {scale}", f"casa --pasos 50 --cfg {scale}"))
    write(chat, "/cancel")
    expect(chat.locator(".mine", has_text="--cfg")).to_have_count(3)
    cancelled = chat.locator(".message:not(.mine)", has_text=say("Cancelled", "Cancelada"))
    expect(cancelled.first).to_be_visible(timeout=PATIENCE_MS)
    chat.screenshot(path=screenshots / f"bot_chat_{language}.png")
    page.screenshot(path=screenshots / f"bot_lesson_{language}.png")

    (lab.folder / "stop").touch()
    page.wait_for_function(NO_CELL_WAITS, timeout=RUN_ALL_MS)
    (lab.folder / "stop").unlink()
    expect(page.get_by_text("localhost, stopped")).to_be_visible()
    expect(chat.locator("#state")).to_have_text(
        say("the bot is not running", "el bot no está en marcha")
    )
    assert saved_errors(page, lab.folder / name) == []
    page.close()
    chat.close()
