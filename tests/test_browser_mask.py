"""A mask painted with the mouse in a real browser."""

import re
from pathlib import Path

import nbformat
from nbformat import v4

from test_browser import (  # noqa: F401
    PATIENCE_MS,
    Lab,
    browser,
    lab,
    playwright,
    pytestmark,
    run_all_cells,
    screenshots,
)


def test_a_mask_is_painted_with_the_mouse_in_a_real_browser(
    lab: Lab,  # noqa: F811
    browser: "playwright.Browser",  # noqa: F811
    screenshots: Path,  # noqa: F811
) -> None:
    sources = [
        "from sdlesson.pocket.world import render, scene_at\n"
        "from sdlesson.widgets.mask import MaskPainter\n"
        "painter = MaskPainter(render(scene_at(3, 0)))\npainter",
        "print(painter.mask.getbbox(), painter.mask.size) if painter.mask else print('nothing')",
    ]
    notebook = v4.new_notebook(cells=[v4.new_code_cell(source) for source in sources])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(notebook, lab.folder / "mask.ipynb")
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    page.set_default_timeout(PATIENCE_MS)
    run_all_cells(page, lab, "mask.ipynb")
    canvas = page.get_by_role("img", name="a picture to paint a mask on")
    box = canvas.bounding_box()
    assert (round(box["width"]), round(box["height"])) == (384, 384)
    page.mouse.move(box["x"] + 96, box["y"] + 192)
    page.mouse.down()
    page.mouse.move(box["x"] + 288, box["y"] + 192, steps=8)
    page.mouse.up()
    page.locator(".jp-WindowedPanel-outer").screenshot(path=screenshots / "mask.png")
    second = page.locator(".jp-CodeCell").nth(1)
    second.click()
    page.keyboard.press("Shift+Enter")
    output = second.locator(".jp-OutputArea-output pre").last
    output.filter(has_text="(").wait_for()
    numbers = [int(found) for found in re.findall(r"\d+", output.inner_text())]
    expected = [32 - 8, 64 - 8, 96 + 8, 64 + 8, 128, 128]  # a third of the screen; a brush of 16
    assert all(abs(a - b) <= 1 for a, b in zip(numbers, expected, strict=True)), numbers
    page.get_by_role("button", name="Clear").click()
    second.click()
    page.keyboard.press("Shift+Enter")
    output.filter(has_text="nothing").wait_for()
    page.close()
