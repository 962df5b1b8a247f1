"""The words of the course, from glossary.yaml, as a page in each language."""

from collections.abc import Callable
from pathlib import Path

import yaml
from nbformat import NotebookNode, v4

from languages import LANGUAGES
from sdlesson.prompts import without_accents

NAMES = {"en": "glossary", "es": "glosario"}
HEADS = {
    "en": (
        "# Glossary",
        "The words of the course, each with the lesson where you meet it.",
        "| Word | What it means | Lesson |",
    ),
    "es": (
        "# Glosario",
        "Las palabras del curso, cada una con la lección en la que aparece.",
        "| Palabra | Qué significa | Lección |",
    ),
}


def read_entries(path: Path) -> list[dict[str, str]]:
    """Read the entries: for each language the word and, under `<language>_means`, its meaning.

    Raises:
        ValueError: An entry lacks one of its five fields, or a word stands there twice.
    """
    entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    wanted = {"lesson", *LANGUAGES, *(f"{language}_means" for language in LANGUAGES)}
    for entry in entries:
        if set(entry) != wanted:
            raise ValueError(f"{path.name}: {entry} must have the fields {sorted(wanted)}")
    for language in LANGUAGES:
        words = [entry[language] for entry in entries]
        if twice := {word for word in words if words.count(word) > 1}:
            raise ValueError(f"{path.name}: {sorted(twice)} stand there more than once")
    return entries


def make_glossary(path: Path, language: str, link: Callable[[str], str]) -> NotebookNode:
    """Build the page, sorted in its language.

    Args:
        path: The file with the entries.
        language: "en" or "es".
        link: The file of the lesson with a number.
    """
    title, opening, heading = HEADS[language]
    rows = [
        f"| **{entry[language]}** | {entry[f'{language}_means']} | "
        f"[{entry['lesson']}]({link(entry['lesson'])}) |"
        for entry in sorted(
            read_entries(path), key=lambda entry: without_accents(entry[language]).casefold()
        )
    ]
    text = "\n".join([title, "", opening, "", heading, "|---|---|---|", *rows])
    cell = v4.new_markdown_cell(text)
    cell.id = "glossary"
    return v4.new_notebook(cells=[cell])
