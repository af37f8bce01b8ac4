"""Calls of the ffmpeg program that comes with imageio-ffmpeg: argument lists, checked exit, message kept."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import ffmpeg

from lipforcing_core.base.errors import MediaError, SurroundingsError
from lipforcing_core.base.failures import has_room, surroundings_in_words
from lipforcing_core.base.names import shown_name
from lipforcing_core.base.user_file import irregularity

# A media file may name other files or addresses (playlists); only plain local files are followed.
PROTOCOLS = "file,pipe,fd"


def input_file(path: Path | str, **options: Any) -> Any:
    """An ffmpeg-python input of a local file; raises MediaError where there is none."""
    path = Path(path)
    if problem := irregularity(path):
        raise MediaError(path, problem)
    if path.stat().st_size == 0:
        raise MediaError(path, "is empty (0 bytes)")
    return ffmpeg.input(file_argument(path), protocol_whitelist=PROTOCOLS, **options)


def file_argument(path: Path | str) -> str:
    """A path as ffmpeg-python takes it, for ``run_ffmpeg``: absolute, so that no name reads like an option.

    ffmpeg-python hashes its arguments as UTF-8; a name in other bytes is handed over in hexadecimal digits, which
    ``run_ffmpeg`` turns back.
    """
    absolute = str(Path(path).absolute())
    try:
        absolute.encode("utf-8")
    except UnicodeEncodeError:
        return _IN_HEXADECIMAL + os.fsencode(absolute).hex()
    return absolute


_IN_HEXADECIMAL = "path-in-hexadecimal:"


def _real_argument(argument: str) -> str:
    if not argument.startswith(_IN_HEXADECIMAL):
        return argument
    return os.fsdecode(bytes.fromhex(argument.removeprefix(_IN_HEXADECIMAL)))


def run_ffmpeg(output: Any, subject: Path | str, *, stdin: bytes | None = None) -> tuple[bytes, str]:
    """Run an ffmpeg-python output and return what it wrote to standard output and to standard error.

    A failure raises MediaError about ``subject`` with the first line of ffmpeg's message, and ``SurroundingsError``
    where it says nothing about the file: ffmpeg was killed from outside, memory or space ran out.
    """
    from imageio_ffmpeg import get_ffmpeg_exe

    command = output.global_args("-nostdin", "-hide_banner", "-loglevel", "error").overwrite_output()
    arguments = [_real_argument(argument) for argument in command.compile(cmd=get_ffmpeg_exe())]
    try:
        done = subprocess.run(arguments, capture_output=True, input=stdin or b"")
    except OSError as error:
        raise SurroundingsError(f"ffmpeg cannot be started: {error.strerror}") from error
    text = done.stderr.decode("utf-8", "replace").strip()
    if done.returncode == 0:
        return done.stdout, text
    if problem := _outside_cause(done.returncode, text):
        raise SurroundingsError(f"{problem} (while ffmpeg was working on {shown_name(subject)})")
    if done.returncode < 0:
        crash = signal.Signals(-done.returncode).name
        raise MediaError(subject, "cannot be processed", first_line(text) or f"ffmpeg crashed: {crash}")
    reason = first_line(text) or f"ffmpeg gave no reason (exit code {done.returncode})"
    raise MediaError(subject, "cannot be processed", reason)


_CRASHES = frozenset({signal.SIGSEGV, signal.SIGILL, signal.SIGFPE, signal.SIGABRT})
"""Signals that a program brings on itself, here by what it reads; every other one comes from outside."""


def _outside_cause(exit_code: int, message: str) -> str | None:
    """Why ffmpeg failed where that is no property of the file it read; None where it may be one."""
    if exit_code < 0 and -exit_code not in _CRASHES:
        return (
            f"ffmpeg was ended from outside by signal {-exit_code}, as the system does when memory is short"
        )
    if "received signal" in message:  # it answers SIGTERM and SIGINT itself, with an ordinary exit code
        return "ffmpeg was told from outside to end"
    if os.strerror(errno.ENOMEM) in message and has_room():
        return None
    return surroundings_in_words(message)


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
