"""The three files of a generation: what can be said about them before anything heavy is loaded."""

from __future__ import annotations

from pathlib import Path

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.user_file import no_file


def check_files(source: Path, audio: Path, output: Path) -> None:
    """Raise ``BadInputError`` for inputs that are not there, and for an output that cannot or must not be written."""
    for path in (source, audio):
        if problem := no_file(path):
            raise BadInputError(f"{path} {problem}")
        if output.exists() and output.samefile(path):
            raise BadInputError(f"{output}: the output would overwrite an input")
    if output.suffix.lower() != ".mp4":
        raise BadInputError(f"{output}: the output must be an .mp4 file")
    if not output.parent.is_dir():
        raise BadInputError(f"{output.parent} does not exist or is not a folder")
