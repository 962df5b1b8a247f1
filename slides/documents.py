"""From pages to Marp's Markdown: the talk, the instructor's guide, and a handout and quiz a lesson.

All are made of the same sources by the same rules: figures filled in, sources at the foot of the
page, notes for the speaker.
"""

from __future__ import annotations

import base64
import html
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from demos import Show
from diagrams import DIAGRAMS
from measurements import described, filled_in, table_file, tables_in
from pictures import ALT
from reading import LENGTHS, Line, Page, read_pages
from sdlesson.language import Text

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT / "notebooks"))
from lesson import Lesson, read_lesson  # noqa: E402

SOURCE = ROOT / "slides" / "source"
FONTS = ROOT / "slides" / "node_modules" / "@fontsource"
MAX_CHART_PX = 1060, 420
MAX_COLUMNS = {"columns": 2, "wide": 5}
STRIP_WIDTH_PX = {"columns": 560, "wide": 1120}
MAX_PICTURE_PX, STRIP_HEIGHT_PX = 290, 560
LETTERS = "abcdef"
RIGHT, WRONG = Text("Right.", "Correcto."), Text("No.", "No.")


@dataclass(frozen=True)
class Drawn:
    """The pictures that pages refer to, as files."""

    folder: Path  # where a page finds them
    shows: dict[str, dict[str, Show]]  # by language and name


def read_talk(minutes: int = LENGTHS[0]) -> list[Page]:
    """The pages of the talk, those that a class of so many minutes keeps."""
    return [page for page in read_pages(SOURCE / "talk.md") if page.kept(minutes)]


def read_guide() -> list[Page]:
    """The pages of the instructor's guide."""
    return read_pages(SOURCE / "instructor.md")


def lesson_sources() -> dict[str, Path]:
    """The sources of handouts and quizzes, by the number of the lesson."""
    return {path.stem: path for path in sorted((SOURCE / "lessons").glob("*.md"))}


def read_notebook(number: str) -> Lesson:
    """The source of the notebook with this number."""
    (path,) = (ROOT / "notebooks" / "source").glob(f"{number}_*.py")
    return read_lesson(path)


def talk_markdown(pages: Sequence[Page], language: str, drawn: Drawn) -> str:
    """The talk."""
    slides = [_slide(page, language, drawn) for page in pages]
    return _front_matter("sdlesson", language, "16:9") + "\n\n---\n\n".join(slides) + "\n"


def guide_markdown(language: str, drawn: Drawn) -> str:
    """The instructor's guide, with the timed plan of the talk."""
    pages = [_slide(page, language, drawn) for page in read_guide()]
    for number, table in enumerate(plan_tables(read_talk(), language), 1):
        pages = [page.replace(f"{{plan {number}}}", table) for page in pages]
    return _front_matter("sdlesson-paper", language) + "\n\n---\n\n".join(pages) + "\n"


def lessons_markdown(language: str, drawn: Drawn) -> str:
    """For each lesson a page to hand out, a page of questions, a page of answers."""
    pages = []
    for number, path in lesson_sources().items():
        handout, quiz = read_pages(path)
        notebook = read_notebook(number)
        title = f"{number} · {_title_of(notebook, language)}"
        link = f"notebooks/{language}/{notebook.names[language]}.ipynb"
        foot = f"[{link}]({repository_link(link)})"
        pages.append(f"# {title}\n\n{_slide(handout, language, drawn, foot=foot)}")
        pages.append(f"<!-- _class: quiz -->\n\n# {title}\n\n{_questions(quiz, language)}")
        pages.append(f"<!-- _class: quiz -->\n\n# {title}\n\n{_answers(quiz, language)}")
    return _front_matter("sdlesson-paper", language) + "\n\n---\n\n".join(pages) + "\n"


def plan_tables(pages: Sequence[Page], language: str) -> list[str]:
    """Minutes of each page in classes of 90, 60 and 45 minutes, and when each page begins.

    Returns:
        Two tables, for two sheets of paper.
    """
    head = Text("Page | Begins | 90 | 60 | 45", "Página | Empieza | 90 | 60 | 45")
    heading = f"| {getattr(head, language)} |\n|---|---|---|---|---|\n"
    rows, clock = [], 0.0
    for page in pages:
        kept = [f"{page.minutes:g}" if page.kept(length) else "–" for length in LENGTHS]
        begins = f"{int(clock)}:{round(clock % 1 * 60):02d}"
        rows.append(f"| {page.title(language)} | {begins} | {' | '.join(kept)} |")
        clock += page.minutes
    sums = [sum(page.minutes for page in pages if page.kept(length)) for length in LENGTHS]
    rows.append(f"| **Σ** | | {' | '.join(f'**{total:g}**' for total in sums)} |")
    half = (len(rows) + 1) // 2
    return [heading + "\n".join(part) for part in (rows[:half], rows[half:])]


def repository_link(path: str) -> str:
    """A link to a file of this repository, as a page in `slides/built/` reaches it."""
    return f"../../{path}"


def theme(name: str) -> str:
    """A stylesheet with its fonts inside, so that a page needs no network."""
    faces = [
        _font_face("IBM Plex Sans", "ibm-plex-sans", weight, style)
        for weight in (400, 600)
        for style in ("normal", "italic")
    ]
    faces.append(_font_face("IBM Plex Mono", "ibm-plex-mono", 400, "normal"))
    css = (ROOT / "slides" / f"{name}.css").read_text(encoding="utf-8")
    return css + "\n" + "\n".join(faces)


def _front_matter(name: str, language: str, size: str = "") -> str:
    rows = ["marp: true", f"theme: {name}", f"lang: {language}", "paginate: true", "math: mathjax"]
    rows += [f"size: {size}"] if size else []
    return "---\n" + "\n".join(rows) + "\n---\n\n"


def _slide(page: Page, language: str, drawn: Drawn, *, foot: str = "") -> str:
    """One page: its text beside or below its pictures, its sources, the speaker's notes."""
    layout = page.setting("layout").split()
    body = filled_in(page.body(language)).strip()
    heading, _, rest = body.partition("\n") if body.startswith("# ") else ("", "", body)
    shape = "columns" if "columns" in layout else "wide"
    shown = [_diagram(name, language) for name in page.setting("diagram").split()]
    shown += [_picture(name, language, drawn, shape) for name in page.setting("picture").split()]
    parts = []
    only_words = not (shown or "<table" in rest or "|---" in rest)
    if classes := [name for name in layout if name != "columns"] + ["words"] * only_words:
        parts.append(f"<!-- _class: {' '.join(classes)} -->")
    parts.append(heading)
    if page.setting("demo"):
        label = Text("live demo", "demo en vivo")
        parts.append(f'<p class="live">{getattr(label, language)}</p>')
    if shape == "columns":
        pictures = "\n".join(shown)
        parts.append(f'<div class="columns"><div class="text">\n\n{rest.strip()}\n\n</div>')
        parts.append(f"<div>\n\n{pictures}\n\n</div></div>")
    elif "below" in layout:
        parts += [rest.strip(), *shown]
    else:
        parts += [*shown, rest.strip()]
    parts.append(_sources(page, language, foot))
    if notes := page.notes(language):
        parts.append(f"<!--\n{filled_in(notes)}\n-->")
    return "\n\n".join(part for part in parts if part)


def _sources(page: Page, language: str, foot: str) -> str:
    """The foot of a page: what was read elsewhere, and which tables of the course it quotes."""
    sources = list(page.settings.get("source", []))
    lines = "\n".join(getattr(line.text, language) for line in page.lines)
    charts = [
        name.removesuffix("_chart") for name in page.setting("picture").split() if name in ALT
    ]
    for name in dict.fromkeys([*tables_in(lines), *map(_table_of_chart, charts)]):
        path = table_file(name).relative_to(ROOT).as_posix()
        sources.append(f"[{path}]({repository_link(path)}) ({described(name)})")
    sources += [foot] if foot else []
    if not sources:
        return ""
    linked = " · ".join(_as_html(source, language) for source in sources)
    return f'<p class="sources">{linked}</p>'


def _table_of_chart(name: str) -> str:
    return {"clipped": "guidance", "drift": "dreambooth_steps"}.get(name, name)


def _as_html(source: str, language: str) -> str:
    """Turn Markdown's links into HTML's; `en|es` in double braces is a word in both languages."""
    chosen = re.sub(r"\{\{(.*?)\|(.*?)\}\}", lambda m: m[1] if language == "en" else m[2], source)
    return re.sub(r"\[(.+?)\]\((.+?)\)", r'<a href="\2">\1</a>', chosen)


def _diagram(name: str, language: str) -> str:
    return f"<div>{DIAGRAMS[name](language)}</div>"


def _picture(name: str, language: str, drawn: Drawn, shape: str) -> str:
    """A chart, or a strip of pictures over their labels."""
    if name in ALT:
        alt = html.escape(getattr(ALT[name], language), quote=True)
        path = drawn.folder / f"{name}.{language}.png"
        with Image.open(path) as chart:
            ratio = chart.width / chart.height
        width = min(MAX_CHART_PX[0], round(MAX_CHART_PX[1] * ratio))
        return f'<img class="chart" src="{_in_page(path)}" alt="{alt}" width="{width}">'
    show = drawn.shows[language][name]
    across = min(show.columns, MAX_COLUMNS[shape])
    side = min(MAX_PICTURE_PX, STRIP_WIDTH_PX[shape] // across - 14)
    rows = -(-len(show.images) // across)
    side = min(side, STRIP_HEIGHT_PX // rows - 40) if rows > 1 else side
    figures = "".join(
        f'<figure><img src="{_in_page(drawn.folder / f"{name}_{index}.{language}.png")}" '
        f'alt="{html.escape(label, quote=True)}">'
        f"<figcaption>{html.escape(label)}</figcaption></figure>"
        for index, label in enumerate(show.labels)
    )
    columns = f"grid-template-columns: repeat({across}, {side}px)"
    return f'<div class="strip" style="{columns}">{figures}</div>'


def _in_page(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def _questions(quiz: Page, language: str) -> str:
    title = Text("Quiz", "Cuestionario")
    parts = [f"## {getattr(title, language)}"]
    for number, (question, options) in enumerate(questions(quiz), 1):
        parts.append(f"**{number}. {filled_in(getattr(question.text, language))}**")
        listed = "".join(
            f"<li>{_inline(getattr(option.answer, language))}</li>" for option in options
        )
        parts.append(f'<ol class="options">{listed}</ol>')
    return "\n\n".join(parts)


def _answers(quiz: Page, language: str) -> str:
    title = Text("Answers, each with its reason", "Respuestas, cada una con su porqué")
    parts = [f"## {getattr(title, language)}"]
    for number, (question, options) in enumerate(questions(quiz), 1):
        parts.append(f"**{number}. {filled_in(getattr(question.text, language))}**")
        listed = []
        for option in options:
            right = option.kind == "+"
            verdict = getattr(RIGHT if right else WRONG, language)
            mark = f'<span class="{"right" if right else "wrong"}">{verdict}</span>'
            listed.append(f"<li>{mark} {_inline(getattr(option.explanation, language))}</li>")
        parts.append(f'<ol class="options">{"".join(listed)}</ol>')
    return "\n\n".join(parts)


def questions(quiz: Page) -> list[tuple[Line, list[Line]]]:
    """A quiz: each question with its options."""
    found: list[tuple[Line, list[Line]]] = []
    for line in quiz.lines:
        if line.kind == "?":
            found.append((line, []))
        elif line.kind in "+-" and line.kind:
            found[-1][1].append(line)
    return found


def _inline(text: str) -> str:
    """Markdown inside a line of HTML: code and emphasis."""
    text = html.escape(filled_in(text), quote=False)
    text = re.sub(r"`(.+?)`", r"<code>\1</code>", text)
    return re.sub(r"\*(.+?)\*", r"<em>\1</em>", text)


def _title_of(notebook: Lesson, language: str) -> str:
    return notebook.cells[0].sources[language].partition("\n")[0].removeprefix("# ")


def _font_face(family: str, package: str, weight: int, style: str) -> str:
    path = FONTS / package / "files" / f"{package}-latin-{weight}-{style}.woff2"
    data = base64.b64encode(path.read_bytes()).decode()
    return (
        f"@font-face {{ font-family: '{family}'; font-weight: {weight}; font-style: {style}; "
        f"src: url(data:font/woff2;base64,{data}) format('woff2'); }}"
    )
