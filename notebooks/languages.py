"""One language of a code cell whose source holds both.

say("...", "...")    becomes the one text or the other; the import of `say` goes.
# es: ...            after a docstring or a comment, alone on the next line, is its Spanish.
"""

import ast
import re
import subprocess
import sys
from pathlib import Path

import nbformat
from nbformat import v4

LANGUAGES = ("en", "es")
IMPORT = "from sdlesson.language import say"
SPANISH = re.compile(r"^\s*# es: (.*)$")
DOCSTRING = re.compile(r'^(\s*""").*(""")$')
IN_F_STRING = re.compile(r"\{say\('([^'{}]*)', '([^'{}]*)'\)\}")
COMMENT = re.compile(r"^(.*?# )(?!es: ).*$")
NEED_NO_BRACKETS = (ast.Constant, ast.JoinedStr, ast.Name, ast.Call, ast.List, ast.Tuple, ast.Dict)


def in_language(code: str, language: str) -> str:
    """Return the code as a reader of one language gets it.

    Raises:
        ValueError: There is a `say` that cannot be resolved: with another number of texts, passed
            on, or inside an f-string other than with two plain texts in single quotes; or a `# es:`
            with nothing above it to translate.
    """
    resolved = _say(_comments(code, language), language)
    if "say" in (getattr(node, "id", "") for node in ast.walk(ast.parse(resolved))):
        raise ValueError(
            f"a say(...) is left in\n{resolved}\n"
            "give it one text in each language; in an f-string, two plain ones in single quotes"
        )
    return resolved


def formatted(cells: list[str]) -> list[str]:
    """Format code cells as the rest of the project is, which texts of other lengths undo."""
    notebook = v4.new_notebook(cells=[v4.new_code_cell(cell) for cell in cells])
    inside = Path(__file__).with_name("cells.ipynb")  # a name where ruff finds its settings
    command = [sys.executable, "-m", "ruff", "format", "--quiet", "--stdin-filename", inside, "-"]
    text = nbformat.writes(notebook)
    done = subprocess.run(command, input=text, encoding="utf-8", capture_output=True, check=True)
    return [cell.source for cell in nbformat.reads(done.stdout, as_version=4).cells]


def _comments(code: str, language: str) -> str:
    lines: list[str] = []
    for line in code.split("\n"):
        if not (spanish := SPANISH.match(line)):
            lines.append(line)
        elif not lines or not (DOCSTRING.match(lines[-1]) or COMMENT.match(lines[-1])):
            raise ValueError(f"{line!r} stands under no docstring and no comment to translate")
        elif language == "es":
            text = spanish.group(1)
            if DOCSTRING.match(lines[-1]):
                lines[-1] = DOCSTRING.sub(lambda m, text=text: m[1] + text + m[2], lines[-1])
            else:
                lines[-1] = COMMENT.sub(lambda m, text=text: m[1] + text, lines[-1])
    return "\n".join(lines)


def _say(code: str, language: str) -> str:
    """Put one argument of each say(...) in the call's place, from the last call to the first."""
    code = "\n".join(line for line in code.split("\n") if line != IMPORT)
    code = IN_F_STRING.sub(lambda found: found[1 + LANGUAGES.index(language)], code)
    calls = sorted(_calls(ast.parse(code)), key=lambda call: (call.lineno, call.col_offset))
    encoded = code.encode()  # ast counts bytes
    starts = [0]
    for line in encoded.split(b"\n"):
        starts.append(starts[-1] + len(line) + 1)
    for call in reversed(calls):
        text = call.args[LANGUAGES.index(language)]
        chosen = encoded[_place(starts, text)]
        if b"\n" in chosen or not isinstance(text, NEED_NO_BRACKETS):
            chosen = b"(" + chosen + b")"
        whole = _place(starts, call)
        encoded = encoded[: whole.start] + chosen + encoded[whole.stop :]
    return encoded.decode()


def _calls(node: ast.AST) -> list[ast.Call]:
    """Find say(...) everywhere but in f-strings, whose insides Python 3.11 gives no place."""
    if isinstance(node, ast.JoinedStr):
        return []
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "say":
        return [node] if len(node.args) == len(LANGUAGES) and not node.keywords else []
    return [call for child in ast.iter_child_nodes(node) for call in _calls(child)]


def _place(starts: list[int], node: ast.expr) -> slice:
    start = starts[node.lineno - 1] + node.col_offset
    return slice(start, starts[node.end_lineno - 1] + node.end_col_offset)
