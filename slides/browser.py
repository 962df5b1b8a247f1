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

MEASURE = r"""
() => {
  const luminance = (rgb) => {
    const [r, g, b] = rgb.map((v) => {
      v /= 255;
      return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const parse = (colour) => (colour.match(/[\d.]+/g) || []).map(Number);
  const opaque = (colour) => {
    const parts = parse(colour);
    return colour.startsWith("rgb") && (parts.length < 4 || parts[3] > 0.99);
  };
  const ratio = (a, b) => {
    const [x, y] = [luminance(a.slice(0, 3)), luminance(b.slice(0, 3))];
    return (Math.max(x, y) + 0.05) / (Math.min(x, y) + 0.05);
  };
  const behindHtml = (element, section) => {
    for (let node = element; node; node = node.parentElement) {
      const colour = getComputedStyle(node).backgroundColor;
      if (opaque(colour)) return parse(colour);
      if (node === section) break;
    }
    return [255, 255, 255];
  };
  const behindSvg = (text, section) => {
    const box = text.getBoundingClientRect();
    const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
    const shapes = [...text.ownerSVGElement.querySelectorAll("rect, circle")].reverse();
    for (const shape of shapes) {
      const around = shape.getBoundingClientRect();
      const inside = around.left <= x && x <= around.right && around.top <= y && y <= around.bottom;
      const fill = getComputedStyle(shape).fill;
      if (inside && opaque(fill)) return { fill: parse(fill), box: around };
    }
    return { fill: behindHtml(text.ownerSVGElement, section), box: null };
  };
  const pages = [];
  for (const section of document.querySelectorAll("section")) {
    const page = section.getBoundingClientRect();
    const scale = page.width / section.offsetWidth;
    const problems = [];
    const say = (element, what) => {
      const words = (element.textContent || element.getAttribute("alt") || "").trim();
      problems.push(`${element.tagName.toLowerCase()} “${words.slice(0, 40)}” ${what}`);
    };
    const sources = section.querySelector("p.sources");
    const foot = sources ? sources.getBoundingClientRect().top : page.bottom - 14 * scale;
    for (const element of section.querySelectorAll("*")) {
      if (element.closest("defs, mjx-container mjx-assistive-mml")) continue;
      const box = element.getBoundingClientRect();
      if (!box.width || !box.height) continue;
      const floating = element.closest("p.sources, p.live");
      const past = [
        ["left", page.left - box.left], ["right", box.right - page.right],
        ["top", page.top - box.top], ["bottom", box.bottom - (floating ? page.bottom : foot)],
      ].filter(([, by]) => by > 1.5);
      for (const [side, by] of past) say(element, `runs over the ${side} by ${Math.round(by)} px`);
      if (element.tagName === "IMG" && !element.naturalWidth) say(element, "is a missing picture");
      if (element.closest("mjx-container")) continue;
      const inSvg = element.tagName === "text";
      const own = [...element.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
      if (!own || (element.closest("svg.diagram") && !inSvg)) continue;
      const style = getComputedStyle(element);
      const behind = inSvg ? behindSvg(element, section) : { fill: behindHtml(element, section) };
      const contrast = ratio(parse(inSvg ? style.fill : style.color), behind.fill);
      if (contrast < minContrast) say(element, `has a contrast of ${contrast.toFixed(2)}`);
      if (behind.box && (box.left < behind.box.left || box.right > behind.box.right))
        say(element, "is wider than its box");
      const height = inSvg
        ? parseFloat(style.fontSize) * element.ownerSVGElement.getBoundingClientRect().width
          / element.ownerSVGElement.viewBox.baseVal.width / scale
        : parseFloat(style.fontSize);
      if (height < minText[section.offsetWidth]) say(element, `is small: ${height.toFixed(1)} px`);
    }
    pages.push(problems);
  }
  return pages;
}
"""


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

    rules = f"const minContrast = {MIN_CONTRAST}; const minText = {MIN_TEXT_PX};"
    script = f"() => {{ {rules} return ({MEASURE.strip()})(); }}"
    found = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=list(FLAGS))
        for path in pages:
            page = browser.new_page(viewport={"width": 1280, "height": 720})
            requests: list[str] = []
            page.on("request", lambda request, kept=requests: kept.append(request.url))
            page.goto(path.as_uri(), timeout=PATIENCE_MS)
            page.evaluate("document.fonts.ready")
            problems = page.evaluate(script)
            found.append(Measured(problems, requests))
            page.close()
        browser.close()
    return found
