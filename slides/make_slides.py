"""Make the slides: pictures from the pocket model, pages in both languages, HTML and PDF.

`python slides/make_slides.py` writes all into `slides/built/`: `talk`, `lessons` (a handout and a
quiz each) and `instructor`, in English and Spanish. It ends in an error where a page runs over.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TQDM_DISABLE", "1")

import browser
import documents
from demos import prepare
from pictures import CHARTS, all_shows, save_chart
from reading import LENGTHS
from sdlesson.language import LANGUAGES, set_language
from sdlesson.pipelines import load_pipeline

FOLDER = Path(__file__).parent
BUILT, CACHE = FOLDER / "built", FOLDER / ".cache"
THEMES = ("theme", "paper")


def draw(folder: Path) -> documents.Drawn:
    """Draw every picture and chart into a folder, and renew the prepared ones if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    pipe = load_pipeline("pocket", device="cpu")
    pipe.set_progress_bar_config(disable=True)
    shows = {}
    for language in LANGUAGES:
        set_language(language)
        shows[language] = all_shows(pipe, CACHE)
        for name, show in shows[language].items():
            for index, image in enumerate(show.images):
                image.save(folder / f"{name}_{index}.{language}.png")
        for name, make in CHARTS.items():
            save_chart(make(), folder / f"{name}.{language}.png")
    set_language("en")
    if prepare(shows):
        print("The pictures in slides/prepared/ are new: commit them.")
    return documents.Drawn(folder, shows)


def write(folder: Path, drawn: documents.Drawn, minutes: int = LENGTHS[0]) -> list[str]:
    """Write all documents as Markdown, with their themes; return their names."""
    names = []
    for language in LANGUAGES:
        texts = {
            "talk": documents.talk_markdown(documents.read_talk(minutes), language, drawn),
            "lessons": documents.lessons_markdown(language, drawn),
            "instructor": documents.guide_markdown(language, drawn),
        }
        for name, text in texts.items():
            (folder / f"{name}.{language}.md").write_text(text, encoding="utf-8")
            names.append(f"{name}.{language}")
    for name in THEMES:
        (folder / f"{name}.css").write_text(documents.theme(name), encoding="utf-8")
    return names


def build(folder: Path = BUILT, minutes: int = LENGTHS[0]) -> list[str]:
    """Make everything and measure every page.

    Returns:
        What is wrong: which page of which document, and why.
    """
    folder.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    names = write(folder, draw(folder / "pictures"), minutes)
    print(f"pictures and pages written: {time.monotonic() - started:.0f} s", flush=True)
    browser.convert(folder, "bare")
    bare = [folder / f"{name}.bare.html" for name in names]
    problems = [
        f"{name}, page {number}: {problem}"
        for name, found in zip(names, browser.measure(bare), strict=True)
        for number, page in enumerate(found.problems, 1)
        for problem in page
    ]
    print(f"every page measured: {time.monotonic() - started:.0f} s", flush=True)
    for kind in ("html", "pdf"):
        browser.convert(folder, kind)
    print(f"HTML and PDF: {time.monotonic() - started:.0f} s", flush=True)
    return problems


def main() -> None:
    """Build, say where, and fail where a page does not fit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--minutes",
        type=int,
        choices=LENGTHS,
        default=LENGTHS[0],
        help="how long the class is; a shorter one leaves pages out",
    )
    asked = parser.parse_args()
    try:
        browser.install()
    except browser.MissingToolError as error:
        sys.exit(str(error))
    problems = build(minutes=asked.minutes)
    for path in sorted([*BUILT.glob("*.pdf"), *BUILT.glob("*.e[ns].html")]):
        print(f"  {path.relative_to(FOLDER.parent)}")
    sys.exit("\n".join(problems) if problems else 0)


if __name__ == "__main__":
    main()
