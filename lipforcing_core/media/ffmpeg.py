"""Calls of the ffmpeg program that comes with imageio-ffmpeg: argument lists, checked exit, message kept."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import ffmpeg

from lipforcing_core.base.errors import LipForcingError, MediaError

# A media file may name other files or addresses (playlists); only plain local files are followed.
PROTOCOLS = "file,pipe,fd"


def input_file(path: Path | str, **options: Any) -> Any:
    """An ffmpeg-python input of a local file; raises MediaError where there is none."""
    path = Path(path)
    if not path.is_file():
        raise MediaError(path, "is a folder" if path.is_dir() else "there is no such file")
    if path.stat().st_size == 0:
        raise MediaError(path, "is empty (0 bytes)")
    return ffmpeg.input(str(path.absolute()), protocol_whitelist=PROTOCOLS, **options)


def run_ffmpeg(output: Any, subject: Path | str, *, stdin: bytes | None = None) -> tuple[bytes, str]:
    """Run an ffmpeg-python output and return what it wrote to standard output and to standard error.

    A failure raises MediaError about ``subject`` with the first line of ffmpeg's message.
    """
    from imageio_ffmpeg import get_ffmpeg_exe

    command = output.global_args("-nostdin", "-hide_banner", "-loglevel", "error").overwrite_output()
    try:
        out, message = command.run(
            cmd=get_ffmpeg_exe(), input=stdin, capture_stdout=True, capture_stderr=True
        )
    except ffmpeg.Error as error:
        text = error.stderr.decode("utf-8", "replace")
        if "No space left on device" in text:
            raise LipForcingError(
                f"the disk is full (ffmpeg was working on {subject}); free some space and try again"
            ) from error
        raise MediaError(subject, "cannot be processed", first_line(text) or "no message") from error
    return out, message.decode("utf-8", "replace").strip()


def ffmpeg_complaint(path: Path | str) -> str:
    """What ffmpeg says about a file that cannot be opened: more telling than the decoder's error code."""
    try:
        run_ffmpeg(input_file(path).output("pipe:", format="null"), path)
    except MediaError as error:
        return error.decoder_message
    return ""


def first_line(message: str) -> str:
    """The first of ffmpeg's messages, which names the cause; memory addresses in it are left out."""
    lines = [re.sub(r" @ 0x[0-9a-f]+", "", line).strip() for line in message.splitlines()]
    return next((line for line in lines if line), "")
