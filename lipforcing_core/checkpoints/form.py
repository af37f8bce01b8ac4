"""Whether a registered file without tensors is what its name says: a JSON object, or the mouth mask."""

from __future__ import annotations

from pathlib import Path

from lipforcing_core.base.errors import BadInputError, IncompatibleCheckpointError
from lipforcing_core.base.user_file import read_json_object
from lipforcing_core.faces.mask import load_mask_source
from lipforcing_core.weights.spec import WeightFile

_LARGEST_JSON = 1 << 28  # bytes; tokenizers are large


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
            read_json_object(path, largest=_LARGEST_JSON)
        else:
            load_mask_source(path)
    except BadInputError as error:
        what = "a JSON object" if suffix == ".json" else "a 256 x 256 mask of black and white"
        raise IncompatibleCheckpointError(f"{path}: is not {what}") from error
    return True
