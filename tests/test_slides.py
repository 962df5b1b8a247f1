"""The slides: two languages from one source, figures from the tables, pages that fit, demos."""

import base64
import contextlib
import importlib
import io
import json
import os
import re
import shutil
import sys
import threading
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from sdlesson import hub
from sdlesson.language import set_language
from sdlesson.metrics import measured
from sdlesson.pocket.world.grammar import vocabulary

ROOT = Path(__file__).parent.parent
SLIDES = ROOT / "slides"
sys.path.append(str(SLIDES))  # a script's folder, as when make_slides.py is run
browser, demos, diagrams, documents, live, make_slides, measurements, pictures, reading = (
    importlib.import_module(name)
    for name in (
        "browser", "demos", "diagrams", "documents", "live", "make_slides", "measurements",
        "pictures", "reading",
    )
)  # fmt: skip

TALK = documents.read_talk()
PAGES = {
    f"{name}:{page.name}": page
    for name, pages in {
        "talk": TALK,
        "instructor": documents.read_guide(),
        **{n: reading.read_pages(path) for n, path in documents.lesson_sources().items()},
    }.items()
    for page in pages
}
CLAIMS = [(page.name, claim) for page in TALK for claim in page.settings.get("claim", [])]
NO_SOURCE_NEEDED = {"title", "goals"}  # which state nothing about the world
LESSONS_TO_COME = {"08", "09", "12"}  # their handouts come with them
MIN_QUESTIONS, MIN_REASON_CHARS = 3, 30

# Numbers that are typed on purpose: names of versions, settings, and what a source at the foot of
# the page says. None of them was measured here.
TYPED = re.compile(
    r"(?:SD|Diffusion|SDXL|FLUX\.|OpenRAIL|Apache-|GPT Image) ?\d(?:\.\d)?|FLUX\.1|7[.,]5"
    r"|0[.,]04|5[.,]85|2[.,]9 kWh|0[.,]0\d\d kWh|1,000,000|95%"
)
MEASUREMENT = re.compile(r"\d+(?:[.,]\d+)?\s?%|\d+[.,]\d+")
NOT_PROSE = re.compile(
    r"```.*?```|\$\$.*?\$\$|\$.*?\$|`[^`]*`|\]\([^)]*\)|<[^>]+>|\{[^{}]*\}", re.DOTALL
)

# Words that a Spanish page may not hold: those of English prompts, the numbers too that training
# left out. Some are no sign of English: they are Spanish as well, or stand in commands and errors.
UNTAUGHT = {"en": {"four", "five"}, "es": {"cuatro", "cinco"}}
NO_SIGN = {"no", "red", "in", "of"}
ENGLISH = {*vocabulary("en"), *UNTAUGHT["en"]} - {*vocabulary("es"), *NO_SIGN}
CODE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
QUOTED = re.compile(r"`([^`]+)`|\*([^*]+)\*|«([^»]+)»|\"([^\"]+)\"")
NOT_READ = re.compile(
    r'<!-- _class.*?-->|<p class="sources">.*?</p>|<[^>]+>|\$.*?\$|\]\([^)]*\)|\{[^{}]*\}'
)


class Built(NamedTuple):
    """All documents, made once, and what is wrong with them."""

    folder: Path
    problems: list[str]


def give_up(reason: str) -> None:
    """Skip on a machine that lacks a tool; fail where everything must run."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def tools() -> None:
    try:
        browser.install()
    except browser.MissingToolError as error:
        give_up(str(error))


@pytest.fixture(scope="session")
def built(tools: None, tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("slides") / "built"
    return Built(folder, make_slides.build(folder))


# One source, two languages


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("=== a\n\nen: # Title\n", "same in español"),
        ("=== a\n\nen: # Title\nes: Título\n", "same in español"),
        ("=== a\n\nen: - one\nes: - uno\nes: - dos\n", "same in español"),
        ("=== a\n\n+ en: yes || why\n- es: sí || porque\n", "same in español"),
        ("=== a\n\nen: | a | b |\nes: | a |\n", "same in español"),
        ("=== a\ncolour: red\n\nen: x\nes: x\n", "no setting"),
        ("=== a\n\n=== a\n\n", "come twice"),
    ],
)
def test_a_source_that_lacks_something_in_a_language_is_refused(tmp_path, text, says):
    path = tmp_path / "talk.md"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=says):
        reading.read_pages(path)


def test_a_line_of_code_is_of_a_language_and_keeps_its_indent(tmp_path):
    path = tmp_path / "talk.md"
    text = '=== a\n\n```\ndraw(\nen:     "a dog"  # so\nes:     "un perro"  # así\n)\n```\n'
    path.write_text(text, encoding="utf-8")
    (page,) = reading.read_pages(path)
    assert page.body("en") == '```\ndraw(\n    "a dog"  # so\n)\n```'
    assert page.body("es") == '```\ndraw(\n    "un perro"  # así\n)\n```'


def test_code_keeps_its_lines_and_prose_goes_on_when_it_is_indented(tmp_path):
    path = tmp_path / "talk.md"
    path.write_text("=== a\n\nen: one\n  two\nes: uno\n  dos\n```\nfor x:\n    y\n```\n")
    (page,) = reading.read_pages(path)
    assert page.body("en").startswith("one two\n```\nfor x:\n    y\n```")


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_no_text_is_left_in_the_other_language(page):
    english, spanish = (
        NOT_PROSE.sub("", page.body(language)).splitlines() for language in reading.LANGUAGES
    )
    shared = [
        line for line in english if line in spanish and len(re.findall(r"[a-z]{2,}", line)) > 4
    ]
    assert not shared


def english_in(text: str) -> list[str]:
    """Find words of English prompts in a Spanish page; in code, where it quotes or comments."""
    quoted = [said for code in CODE.findall(text) for said in re.findall(r'"(.*?)"|# (.*)', code)]
    quoted = ["".join(said) for said in quoted]
    text = NOT_READ.sub(" ", CODE.sub("", text))
    found = [w for part in (text, *quoted) for w in words_of(part) if w in ENGLISH]
    spans = [words_of("".join(groups)) for groups in QUOTED.findall(text)]
    spans += map(words_of, quoted)
    return found + [
        " ".join(span)
        for span in spans
        if len(span) > 1 and span[0] in ("a", "an") and {*span} <= {*vocabulary("en")}
    ]


def words_of(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_no_prompt_on_a_spanish_page_is_english(page):
    text = "\n".join(part for line in page.lines for part in line.text.es.split("||"))
    assert not english_in(text)


@pytest.mark.parametrize(
    "text",
    [
        "`an astronaut riding a horse on Mars`",
        "«En el prompt negativo se escribe *no hat*»",
        "*A robot* sigue siendo un robot",
        "Aprendió *dos*; *four* no lo vio nunca.",
        "se parece a `a robot`",
        '```python\ndraw(\n    "a dog on the beach", pipe=pipe\n)\n```',
        '```python\ndraw("a robot")\n```',
        "```python\nfor t in steps:  # with words\n```",
        "<figcaption>broccoli in a field: marcada</figcaption>",
    ],
)
def test_an_english_prompt_on_a_spanish_page_would_be_found(text):
    assert english_in(text)


def test_spanish_and_code_are_not_taken_for_english():
    assert not english_in("La red no lo vio: *a la izquierda de*, `un robot`, `pixel art`.")
    assert not english_in("```python\nfor t in steps:  # con palabras\n    cat\n```")
    assert not english_in("```\nexport A=1  # de\n```\nuna `frase` y otra")


def prompts_in(language: str) -> list[str]:
    """All that is drawn from, but for the demo that also draws from the other language."""
    asked = [d.asked(language) for name, d in demos.DEMOS.items() if name != "languages"]
    settings = [
        each[name] for each in asked for name in ("prompt", "negative_prompt") if name in each
    ]
    texts = [*pictures.COVER, *pictures.STYLES, *pictures.CHECKED, pictures.HOUSE, demos.DUCK]
    prompts = [getattr(text, language) for text in texts] + pictures.HATS_DENIED[language]
    for setting in settings:
        prompts += [setting] if isinstance(setting, str) else setting
    return prompts


@pytest.mark.parametrize("language", reading.LANGUAGES)
def test_every_prompt_is_of_its_language_and_of_words_that_the_model_knows(language):
    known = {*vocabulary(language), *UNTAUGHT[language]}
    prompts = prompts_in(language)
    assert len(prompts) > 30
    for prompt in prompts:
        assert {*words_of(prompt)} <= known, prompt
    assert any(UNTAUGHT[language] & {*words_of(prompt)} for prompt in prompts)


@pytest.mark.parametrize("name", demos.DEMOS)
def test_a_spanish_class_sees_and_draws_from_spanish_prompts(name):
    demo = demos.DEMOS[name]
    data = live._demo_data(name, "es", demos.PREPARED)
    seen = [data["title"], data["question"], data["prompt"], *data["labels"]]
    assert data["labels"] == demos.prepared(name, "es").labels
    text = "\n".join(seen)
    if name == "languages":  # which compares them
        text = text.replace(demos.DUCK.en, "")
    assert not english_in(text)
    shown = data["prompt"].split(" · ")
    asked = demo.asked("es")["prompt"]
    for prompt in [asked] if isinstance(asked, str) else asked:
        assert any(re.fullmatch(re.escape(s).replace("…", "(.+)"), prompt) for s in shown), prompt


@pytest.mark.parametrize("name", pictures.CHARTS)
def test_a_spanish_chart_says_nothing_in_english(name):
    set_language("es")
    try:
        chart = pictures.CHARTS[name]()
    finally:
        set_language("en")
    words = [letters.get_text() for letters in chart.findobj(pictures.Words)]
    assert any(words)
    assert not english_in("\n".join(words))


@pytest.mark.parametrize("page", TALK, ids=lambda page: page.name)
def test_every_page_of_the_talk_has_a_title_notes_minutes_and_a_source(page):
    for language in reading.LANGUAGES:
        assert page.title(language) != page.name
        assert len(page.notes(language).split()) >= 15
    assert page.minutes > 0
    text = "\n".join(line.text.en for line in page.lines)
    cited = page.settings.get("source", []) or measurements.tables_in(text)
    assert cited or page.setting("picture").endswith("_chart") or page.name in NO_SOURCE_NEEDED


def test_pages_notes_and_sources_are_as_many_in_both_languages():
    shows = {
        language: {name: demos.prepared(name, language) for name in demos.DEMOS}
        for language in reading.LANGUAGES
    }
    drawn = documents.Drawn(Path("pictures"), shows)
    known = [page for page in TALK if {*page.setting("picture").split()} <= {*demos.DEMOS}]
    counts = set()
    for language in reading.LANGUAGES:
        text = documents.talk_markdown(known, language, drawn)
        counts.add(
            (
                text.count("\n---\n\n") - 1,  # the first ends the settings
                len(re.findall(r"<!--\n", text)),
                text.count('class="sources"'),
                text.count("<a href"),
                text.count("<figure>"),
                text.count("<svg"),
            )
        )
    ((pages, notes, sources, links, pictures, drawings),) = counts
    assert pages == len(known) - 1
    assert notes == len(known)
    assert sources >= len(known) - len(NO_SOURCE_NEEDED)
    assert min(links, pictures, drawings) >= 12


@pytest.mark.parametrize("name", diagrams.DIAGRAMS)
def test_a_diagram_has_the_same_parts_in_both_languages(name):
    drawn = [diagrams.DIAGRAMS[name](language) for language in reading.LANGUAGES]
    for part in ("<rect", "<text", "<polyline", "<polygon", "<circle", "<path"):
        assert drawn[0].count(part) == drawn[1].count(part), part
    assert "\n" not in drawn[0]  # an empty line would end the drawing in Markdown


# Figures


def test_a_figure_on_a_slide_is_the_tables():
    shown = measurements.filled_in("{bias.yellow prompt=a flower}")
    row = next(row for row in measured("bias").rows if row["prompt"] == "a flower")
    assert shown.rstrip("%") == f"{100 * row['yellow'].value:.0f}"


def test_a_figure_of_the_evaluation_comes_with_its_interval_and_its_n():
    pair = json.loads(measurements.EVALUATION_FILE.read_text(encoding="utf-8"))["pair"]
    text = measurements.filled_in("{interval evaluation.pair} {n of evaluation.pair}")
    low, high, n = re.findall(r"[\d.,]+", text)
    assert float(low) == pytest.approx(100 * pair["low"], abs=0.5)
    assert float(high) == pytest.approx(100 * pair["high"], abs=0.5)
    assert int(n.replace(",", "")) == pair["n"]


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_decimals_have_a_point_in_both_languages_as_in_the_notebooks(page):
    prose = "\n".join(line.text.es for line in page.lines)
    assert not re.search(r"\d,\d", NOT_PROSE.sub("", prose))


def test_of_rows_that_are_alike_a_reference_says_which():
    """The table of hats begins twice with no negative prompt: under English and Spanish prompts."""
    alike = [r for r in measured("hats").rows if (r["prompt"], r["negative_prompt"]) == ("…", "")]
    assert len(alike) == 2
    picks = "prompt=…, negative_prompt="
    for place, row in enumerate(alike, 1):
        found = measurements.figure("hats", "hat", f"{picks}, row={place}")
        assert (found.low, found.value, found.high) == (
            row["hat"].low,
            row["hat"].value,
            row["hat"].high,
        )
    assert measurements.figure("hats", "hat", picks).value == alike[0]["hat"].value
    assert alike[0]["hat"].value != alike[1]["hat"].value  # or this would show nothing


@pytest.mark.parametrize(
    "reference",
    [
        "{nothing.x}",
        "{bias.no_such}",
        "{bias.yellow prompt=a unicorn}",
        "{bias.yellow place=sea}",
        "{bias.yellow prompt=a unicorn, spanish=un unicornio}",
        "{bias.yellow prompt=a flower, row=2}",
        "{bias.yellow prompt=a flower, row=0}",
    ],
)
def test_a_figure_that_is_nowhere_is_refused(reference):
    with pytest.raises(ValueError, match=r"\w"):
        measurements.filled_in(reference)


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_no_measurement_is_typed(page):
    for language in reading.LANGUAGES:
        text = "\n".join(getattr(line.text, language) for line in page.lines)
        found = MEASUREMENT.search(TYPED.sub("", NOT_PROSE.sub("", text)))
        assert not found, found[0]


def test_a_typed_measurement_would_be_found():
    for text in ("right in 96% of them", "en el 96 %", "0.81 clipped", "1,59 veces"):
        assert MEASUREMENT.search(TYPED.sub("", NOT_PROSE.sub("", text))), text


@pytest.mark.parametrize(
    ("name", "claim"), CLAIMS, ids=[f"{n}-{i}" for i, (n, _) in enumerate(CLAIMS)]
)
def test_what_a_slide_claims_is_what_the_tables_say(name, claim):
    assert measurements.holds(claim), f"{name}: mend its words, for {claim} is not so"


def test_a_claim_that_is_untrue_does_not_hold():
    assert not measurements.holds("{bias.yellow prompt=a flower} < 0.5 by 0.1")
    assert not measurements.holds("0.5 > 0.45 by 0.1")
    with pytest.raises(ValueError, match="no claim"):
        measurements.holds("it is so")


# The plan


@pytest.mark.parametrize("length", reading.LENGTHS)
def test_a_class_fits_into_its_time_and_fills_it(length):
    total = sum(page.minutes for page in TALK if page.kept(length))
    assert 0.9 * length <= total <= length


def test_a_shorter_class_only_leaves_out():
    kept = [{page.name for page in TALK if page.kept(length)} for length in reading.LENGTHS]
    assert kept[0] > kept[1] > kept[2]
    assert [page.name for page in documents.read_talk(45)] == [
        page.name for page in TALK if page.name in kept[2]
    ]


# Links


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_links_inside_the_repository_hold(page):
    for source in page.settings.get("source", []):
        for target in re.findall(r"\]\((?!http)([^)]+)\)", source):
            assert (SLIDES / "built" / target).resolve().is_file(), target


def test_the_guide_names_commands_that_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    texts = [*SLIDES.glob("source/**/*.md"), SLIDES / "README.md"]
    for path in texts:
        for command in re.findall(r"`make ([a-z-]+)", path.read_text(encoding="utf-8")):
            assert re.search(rf"^{command}:", makefile, re.MULTILINE), f"{path.name}: {command}"


# Handouts and quizzes


def test_every_lesson_has_a_handout_and_a_quiz():
    lessons = {path.name[:2] for path in (ROOT / "notebooks" / "source").glob("*.py")}
    there = documents.lesson_sources().keys()
    assert there <= lessons
    assert lessons - there <= LESSONS_TO_COME
    for path in documents.lesson_sources().values():
        assert [page.name for page in reading.read_pages(path)] == ["handout", "quiz"]


@pytest.mark.parametrize("number", documents.lesson_sources())
def test_a_quiz_has_one_right_answer_each_and_every_answer_its_reason(number):
    _, quiz = reading.read_pages(documents.lesson_sources()[number])
    questions = documents.questions(quiz)
    assert len(questions) >= MIN_QUESTIONS
    for question, options in questions:
        assert [option.kind for option in options].count("+") == 1, question.text.en
        assert len(options) >= 3
        for option in options:
            assert min(map(len, option.explanation)) >= MIN_REASON_CHARS, option.text


def test_the_right_answer_is_not_always_in_one_place():
    places = [
        [option.kind for option in options].index("+")
        for path in documents.lesson_sources().values()
        for _, options in documents.questions(reading.read_pages(path)[1])
    ]
    assert set(places) == {0, 1, 2}
    assert max(map(places.count, range(3))) < 0.6 * len(places)


# Pages that fit, measured in Chromium


def pages_of(pdf: Path) -> int:
    """Count the pages of a PDF, whose objects lie in compressed streams."""
    content = pdf.read_bytes()
    for stream in re.findall(rb"stream\r?\n(.*?)\r?\nendstream", content, re.DOTALL):
        with contextlib.suppress(zlib.error):
            content += zlib.decompress(stream)
    return len(re.findall(rb"/Type ?/Page\b", content))


@pytest.mark.timeout(1200)
def test_nothing_runs_over_is_pale_is_small_or_is_missing(built):
    assert not built.problems, "\n".join(built.problems)


@pytest.mark.timeout(1200)
def test_every_document_is_there_in_both_languages_with_the_same_pages(built):
    expected = {
        "talk": len(TALK),
        "lessons": 3 * len(documents.lesson_sources()),
        "instructor": len(documents.read_guide()),
    }
    for name, pages in expected.items():
        for language in reading.LANGUAGES:
            html = (built.folder / f"{name}.{language}.bare.html").read_text(encoding="utf-8")
            assert len(re.findall(r"<section[ >]", html)) == pages
            assert pages_of(built.folder / f"{name}.{language}.pdf") == pages
            assert (built.folder / f"{name}.{language}.html").is_file()


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", ["talk", "lessons", "instructor"])
def test_no_picture_label_or_drawing_of_a_spanish_document_is_in_english(built, name):
    text = (built.folder / f"{name}.es.md").read_text(encoding="utf-8")
    assert not english_in(text.replace(demos.DUCK.en, "").partition("---\n\n")[2])


@pytest.mark.timeout(1200)
def test_a_page_asks_nothing_of_the_network(built):
    pages = [built.folder / f"talk.{language}.bare.html" for language in reading.LANGUAGES]
    for found in browser.measure(pages):
        assert len(found.requests) > 20
        assert {url.partition(":")[0] for url in found.requests} <= {"file", "data"}


@pytest.mark.timeout(900)
def test_each_kind_of_fault_on_a_page_is_found(tools, tmp_path):
    faults = {
        "runs over the bottom": "\n\n".join(["a long page"] * 30),
        "runs over the right": '<div style="width: 1500px">wide</div>',
        "has a contrast of": '<p style="color: #999999">pale</p>',
        "is small": '<p style="font-size: 9px">tiny</p>',
        "is a missing picture": '<img src="nowhere.png" width="50" height="50" alt="x">',
        "is wider than its box": (
            '<div><svg class="diagram" viewBox="0 0 1160 100"><rect x="0" y="0" width="90" '
            'height="90" fill="#ffffff"/><text x="45" y="45" font-size="25" text-anchor="middle">'
            "far too many words</text></svg></div>"
        ),
    }
    head = documents._front_matter("sdlesson", "en", "16:9")
    text = head + "\n\n---\n\n".join(f"# Page\n\n{fault}" for fault in ["fine", *faults.values()])
    (tmp_path / "faulty.md").write_text(text, encoding="utf-8")
    (tmp_path / "theme.css").write_text(documents.theme("theme"), encoding="utf-8")
    browser.convert(tmp_path, "bare")
    ((clean, *faulty),) = (m.problems for m in browser.measure([tmp_path / "faulty.bare.html"]))
    assert not clean
    for wanted, problems in zip(faults, faulty, strict=True):
        assert any(wanted in problem for problem in problems), (wanted, problems)


def test_without_a_tool_one_sentence_says_which(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("CHROME_PATH", raising=False)
    with pytest.raises(browser.MissingToolError, match=r"need Chromium: .* apt install chromium"):
        browser.install()


def test_a_missing_tool_skips_here_and_fails_in_ci(monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="needs a tool"):
        give_up("needs a tool")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="needs a tool"):
        give_up("needs a tool")


# Live demos


@pytest.fixture
def damaged_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The pocket model with one bit turned over in the weights of its U-Net."""
    folder = tmp_path / "model"
    shutil.copytree(hub.POCKET_FOLDER, folder)
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1000] ^= 1
    weights.write_bytes(bytes(content))
    monkeypatch.setattr(hub, "POCKET_FOLDER", folder)
    return folder


class Class(NamedTuple):
    """A server of live demos and its address."""

    server: object
    address: str


@pytest.fixture
def in_class() -> Iterator:
    """Starts servers of live demos, and stops them."""
    servers = []

    def start(language: str = "en", load=live.load_pocket, **settings) -> Class:
        server = live.serve(live.Artist(load), language, **settings)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return Class(server, f"http://127.0.0.1:{server.server_address[1]}")

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def no_model() -> None:
    """Load nothing: these tests are of the page."""
    raise OSError("there is no model here")


def ask(address: str, name: str) -> dict:
    request = urllib.request.Request(f"{address}/draw/{name}", method="POST")
    try:
        with urllib.request.urlopen(request, timeout=280) as answer:
            return {"status": answer.status} | json.load(answer)
    except urllib.error.HTTPError as error:
        return {"status": error.code} | json.load(error)


def test_prepared_pictures_are_of_todays_weights():
    assert demos.is_prepared(), "run `make slides` and commit slides/prepared/"


@pytest.mark.parametrize("language", reading.LANGUAGES)
@pytest.mark.parametrize("name", demos.DEMOS)
def test_no_prepared_picture_was_blackened_by_the_safety_checker(name, language):
    images = demos.prepared(name, language).images
    assert all(image.convert("L").getextrema()[1] > 0 for image in images)


def test_prepared_pictures_stay_small():
    assert sum(path.stat().st_size for path in demos.PREPARED.glob("*.webp")) < 256 * 1024


def test_every_demo_of_the_talk_is_one_and_every_demo_is_in_the_talk():
    assert {page.setting("demo") for page in TALK} - {""} == set(demos.DEMOS)


def difference(images, others) -> float:
    """The mean difference of two rows of pictures, in levels of 255."""
    rows = [
        np.stack([np.asarray(i.convert("RGB"), float) for i in row]) for row in (images, others)
    ]
    return float(np.abs(rows[0] - rows[1]).mean())


@pytest.mark.parametrize(("mine", "other"), [("en", "es"), ("es", "en")])
def test_a_demo_draws_here_and_now_from_the_words_of_its_language(in_class, mine, other):
    address = in_class(mine).address
    found = ask(address, "guidance")
    assert found["status"] == 200
    drawn = [
        Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) for url in found["pictures"]
    ]
    to_mine, to_other = (
        difference(drawn, demos.prepared("guidance", language).images) for language in (mine, other)
    )
    assert to_mine < 5  # which is what compressing them took
    assert to_other > 1.5 * to_mine
    assert ask(address, "no_such_demo")["status"] == 404


def test_with_a_damaged_model_the_server_says_why(in_class, damaged_model):
    found = ask(in_class().address, "first")
    assert found["status"] == 503
    assert "diffusion_pytorch_model.safetensors" in found["why"]


@pytest.fixture(scope="module")  # its loop runs in this thread: asyncio.run cannot beside it
def chromium(tools: None) -> Iterator:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(
            executable_path=browser.find_browser(), args=list(browser.FLAGS)
        )
        yield opened
        opened.close()


@pytest.fixture
def screen(chromium) -> Iterator:
    """An empty page at projector size that keeps what it asks for."""
    page = chromium.new_page(viewport={"width": 1920, "height": 1080})
    page.asked = []
    page.on("request", lambda request: page.asked.append(request.url))
    yield page
    page.close()


def bar_of(page) -> str:
    page.wait_for_selector("#bar.live, #bar.fallback", timeout=300_000)
    return page.text_content("#bar")


@pytest.mark.timeout(900)
def test_one_key_asks_draws_and_goes_on(in_class, screen, monkeypatch):
    monkeypatch.setattr(live, "PATIENCE_S", 300)  # on a busy machine a class would wait no longer
    address = in_class().address
    screen.goto(address)
    assert screen.text_content("#question") == demos.DEMOS["first"].question.en
    assert screen.locator("img").count() == 0
    screen.keyboard.press("Space")
    assert bar_of(screen).startswith("Drawn just now")
    assert screen.locator("img").count() == 2
    screen.keyboard.press("Space")
    assert screen.text_content("#title").startswith("2 · ")
    screen.keyboard.press("Backspace")
    assert screen.text_content("#title").startswith("1 · ")
    assert {url.split("/")[2] for url in screen.asked if url.startswith("http")} == {
        address.removeprefix("http://")
    }


@pytest.mark.timeout(900)
def test_with_a_damaged_model_the_prepared_picture_shows_and_says_so(
    in_class, screen, damaged_model
):
    screen.goto(in_class("es").address)
    screen.keyboard.press("Space")
    bar = bar_of(screen)
    assert bar.startswith("Imagen PREPARADA, no dibujada ahora.")
    assert "diffusion_pytorch_model.safetensors" in bar
    widths = screen.eval_on_selector_all("img", "images => images.map((i) => i.naturalWidth)")
    assert widths == [128, 128]


@pytest.mark.timeout(900)
def test_when_the_server_dies_the_page_goes_on_with_prepared_pictures(in_class, screen):
    server, address = in_class(load=no_model)
    screen.goto(address)
    server.shutdown()
    server.server_close()
    for demo in demos.DEMOS.values():
        screen.keyboard.press("Space")
        assert bar_of(screen) == "PREPARED picture, not drawn now. Why: the server does not answer"
        assert screen.locator("img").count() == len(demo.labels)
        screen.keyboard.press("Space")


@pytest.mark.timeout(900)
def test_a_picture_that_takes_too_long_is_replaced(in_class, screen, monkeypatch):
    monkeypatch.setattr(live, "PATIENCE_S", 1)
    loaded = threading.Event()
    _, address = in_class(load=loaded.wait)
    screen.goto(address)
    screen.keyboard.press("Space")
    assert bar_of(screen).startswith("PREPARED picture, not drawn now. Why: it took longer")
    loaded.set()


@pytest.mark.timeout(900)
def test_without_prepared_pictures_the_page_says_that_too(in_class, screen, tmp_path):
    _, address = in_class(load=no_model, folder=tmp_path)
    screen.goto(address)
    screen.keyboard.press("Space")
    assert bar_of(screen).endswith("no prepared picture either")


@pytest.mark.timeout(900)
def test_every_demo_fits_on_the_screen(in_class, screen):
    _, address = in_class("es", load=no_model)
    screen.goto(address)
    for _ in demos.DEMOS:
        screen.keyboard.press("Space")
        bar_of(screen)
        low = screen.eval_on_selector("#pictures", "grid => grid.getBoundingClientRect().bottom")
        foot = screen.eval_on_selector("#foot", "foot => foot.getBoundingClientRect().top")
        assert low <= foot + 1
        assert screen.evaluate("document.documentElement.scrollWidth <= innerWidth")
        screen.keyboard.press("Space")
