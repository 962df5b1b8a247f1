"""What needs Node and Chromium: Marp, which turns Markdown into HTML and PDF, and a measured page.

Marp does not notice a slide that runs over, so the pages are opened in Chromium and each box on
them is measured: what leaves its page, what text has too little contrast, what picture is missing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent
MARP = FOLDER / "node_modules" / ".bin" / "marp"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")
PATIENCE_MS = 120_000
MIN_CONTRAST = 4.5
"""What WCAG 2.2 asks of text (level AA). It compares luminances, so it holds in grey too."""
MIN_TEXT_PX = {1280: 14, 794: 11}
"""The smallest text on a slide and on paper, by the width of the page."""


class MissingToolError(RuntimeError):
    """Node, npm or Chromium is not on this machine."""


@dataclass(frozen=True)
class Measured:
    """What is wrong on the pages of one document, page by page, and what it asked the network."""

    problems: list[list[str]]
    requests: list[str]


def find_browser() -> str:
    """Where Chromium is.

    Raises:
        MissingToolError: It is nowhere.
    """
    named = os.environ.get("CHROME_PATH")
    for name in filter(None, (named, *BROWSERS)):
        if path := shutil.which(name):
            return path
    raise MissingToolError(
        "the slides need Chromium: on Debian or Ubuntu `sudo apt install chromium`, "
        "or name yours in CHROME_PATH"
    )


def install() -> None:
    """Install what package-lock.json names, from npm, unless it is there already.

    Raises:
        MissingToolError: Node or npm is not on this machine, or the registry cannot be reached.
    """
    find_browser()
    for tool in ("node", "npm"):
        if not shutil.which(tool):
            raise MissingToolError(
                f"the slides need {tool}: on Debian or Ubuntu `sudo apt install nodejs npm`"
            )
    stamp = FOLDER / "node_modules" / "installed.lock"
    lock = (FOLDER / "package-lock.json").read_bytes()
    if stamp.is_file() and stamp.read_bytes() == lock:
        return
    print("Installing Marp from npm into slides/node_modules: once, half a minute.", flush=True)
    command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
    finished = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True)
    if finished.returncode:
        raise MissingToolError(f"npm could not install Marp:\n{finished.stderr[-2000:]}")
    stamp.write_bytes(lock)


def convert(folder: Path, kind: str) -> None:
    """Turn each Markdown file of a folder into HTML ("html", "bare") or PDF ("pdf") beside it."""
    themes = sorted(map(str, folder.glob("*.css")))
    files = sorted(path.name for path in folder.glob("*.md"))
    options = {
        "html": ["--template", "bespoke"],
        "bare": ["--template", "bare"],
        "pdf": ["--pdf", "--pdf-outlines", "--pdf-outlines.headings"],
    }[kind]
    environment = os.environ | {"CHROME_PATH": find_browser(), "CHROME_NO_SANDBOX": "1"}
    command = [str(MARP), "--config-file", str(FOLDER / "marp.config.json"), "--no-stdin"]
    command += ["--theme-set", *themes, "--parallel", "2", *options, "--", *files]
    finished = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=280
    )
    if finished.returncode:
        raise RuntimeError(f"Marp failed on {files}:\n{finished.stderr[-3000:]}")
    if kind == "bare":
        for name in files:
            page = folder / name.replace(".md", ".html")
            page.replace(page.with_suffix(".bare.html"))


def measure(pages: list[Path]) -> list[Measured]:
    """Open bare pages in Chromium and measure each box on them."""
    from playwright.sync_api import sync_playwright

    script = (FOLDER / "measure.js").read_text(encoding="utf-8")
    rules = {"minContrast": MIN_CONTRAST, "minText": {str(k): v for k, v in MIN_TEXT_PX.items()}}
    found = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=list(FLAGS))
        for path in pages:
            page = browser.new_page(viewport={"width": 1280, "height": 720})
            requests: list[str] = []
            page.on("request", lambda request, kept=requests: kept.append(request.url))
            page.goto(path.as_uri(), timeout=PATIENCE_MS)
            page.evaluate("document.fonts.ready")
            problems = page.evaluate(script, rules)
            found.append(Measured(problems, requests))
            page.close()
        browser.close()
    return found
