"""Execute a notebook and keep of its outputs what a reader needs, in few bytes."""

import base64
import io
from pathlib import Path

from nbclient import NotebookClient
from nbformat import NotebookNode
from PIL import Image

JPEG_QUALITY = 70
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


def execute(notebook: NotebookNode, folder: Path, timeout_s: int) -> None:
    """Run every cell in a clean kernel started in `folder`; the first error stops it."""
    client = NotebookClient(
        notebook,
        timeout=timeout_s,
        resources={"metadata": {"path": str(folder)}},
        record_timing=False,
        extra_arguments=["--log-level=ERROR"],  # else each kernel warns of its local sockets
    )
    client.execute()


def clean_outputs(notebook: NotebookNode) -> None:
    """Drop progress bars and widget state, which break GitHub's view, and slim each picture."""
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if not _is_progress(output)]
            for output in cell.outputs:
                _keep_one_picture(output.get("data", {}))


def write_pictures(notebook: NotebookNode, folder: Path, name: str) -> list[Path]:
    """Write every picture that a notebook shows as PNG, numbered in order."""
    folder.mkdir(exist_ok=True)
    written = []
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if encoded := output.get("data", {}).get("image/png"):
                written.append(folder / f"{name}_{len(written) + 1}.png")
                written[-1].write_bytes(base64.b64decode(encoded))
    return written


def _is_progress(output: NotebookNode) -> bool:
    return output.get("name") == "stderr" or WIDGET_VIEW in output.get("data", {})


def _keep_one_picture(data: dict) -> None:
    """Keep the smaller of an optimised PNG and a good JPEG."""
    if "image/png" not in data:
        return
    image = Image.open(io.BytesIO(base64.b64decode(data.pop("image/png")))).convert("RGB")
    data.pop("image/jpeg", None)
    png, jpeg = io.BytesIO(), io.BytesIO()
    image.save(png, "PNG", optimize=True)
    image.save(jpeg, "JPEG", quality=JPEG_QUALITY, optimize=True, progressive=True)
    smaller, mime = min((png, "image/png"), (jpeg, "image/jpeg"), key=lambda pair: pair[0].tell())
    data[mime] = base64.b64encode(smaller.getvalue()).decode() + "\n"
