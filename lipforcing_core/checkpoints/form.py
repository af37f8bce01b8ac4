"""Whether a registered file without tensors is what its name says: a JSON object, or the mouth mask."""

from __future__ import annotations

from pathlib import Path

from lipforcing_core.base.errors import IncompatibleCheckpointError
from lipforcing_core.base.user_file import read_json_object
from lipforcing_core.faces.mask import load_mask_source
from lipforcing_core.weights.registry import WeightFile


def check_form(file: WeightFile, path: Path) -> bool:
    """Whether a file without tensors is of a kind that can be read here: JSON, or the mouth mask.

    Raises ``IncompatibleCheckpointError`` if it should be and cannot: a login page is neither. ``path`` need not
    bear the file's name yet.
    """
    suffix = Path(file.path).suffix
    if file.tensors or suffix not in (".json", ".png"):
        return False
    try:
        if suffix == ".json":
            read_json_object(path, largest=1 << 28)  # tokenizers are large
            readable = True
        else:
            readable = load_mask_source(path) is not None
    except (ValueError, RecursionError):
        readable = False
    if not readable:
        what = "a JSON object" if suffix == ".json" else "a 256 x 256 mask of black and white"
        raise IncompatibleCheckpointError(f"{path}: is not {what}")
    return True
