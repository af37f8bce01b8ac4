"""Errors that a user can cause. The command line prints them as one sentence and exits with their code."""

from __future__ import annotations

from pathlib import Path

from lipforcing_core.base.names import printable


class LipForcingError(Exception):
    """Base of every error a user can cause: says what was wrong with which input, and what to do.

    Its text is safe to print whatever names of files it holds: bytes that are not UTF-8 and control characters are
    shown escaped.
    """

    exit_code = 1

    def __str__(self) -> str:
        return printable(super().__str__())


class BadInputError(LipForcingError, ValueError):
    """A value or a file given by the user cannot be used."""

    exit_code = 2


class MediaError(BadInputError):
    """A media file cannot be read; ``decoder_message`` keeps the decoder's own words."""

    def __init__(self, path: Path | str, problem: str, decoder_message: str = "") -> None:
        self.path = Path(path)
        self.problem = problem
        self.decoder_message = decoder_message
        detail = f" ({decoder_message})" if decoder_message else ""
        super().__init__(f"{path}: {problem}{detail}")


class SurroundingsError(LipForcingError):
    """The machine failed and not the input: no memory, no space, a killed process. Repeating the work can succeed."""

    exit_code = 5


class MissingWeightsError(LipForcingError):
    """A checkpoint is needed and absent. The message names the file, its source, licence and the remedy."""

    exit_code = 3


class IncompatibleCheckpointError(BadInputError):
    """A checkpoint does not fit: names the file and the first key that differs."""


class WarehouseError(LipForcingError):
    """The warehouse is locked, of a newer schema, or damaged."""

    exit_code = 4
