"""Errors that a user can cause. The command line prints them as one sentence and exits with their code."""

from __future__ import annotations

from pathlib import Path


class LipForcingError(Exception):
    """Base of every error a user can cause: says what was wrong with which input, and what to do."""

    exit_code = 1


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


class MissingWeightsError(LipForcingError):
    """A checkpoint is needed and absent. The message names the file, its source, licence and the remedy."""

    exit_code = 3


class IncompatibleCheckpointError(BadInputError):
    """A checkpoint does not fit: names the file and the first key that differs."""


class WarehouseError(LipForcingError):
    """The warehouse is locked, of a newer schema, or damaged."""

    exit_code = 4
