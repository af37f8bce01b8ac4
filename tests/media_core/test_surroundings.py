"""Media work on a machine that fails, and with names that are no plain text."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np
import pytest

from lipforcing_core.base.errors import MediaError, SurroundingsError
from lipforcing_core.media import decode
from lipforcing_core.media.decode import decoder_errors, read_audio, read_frames, read_wav
from lipforcing_core.media.encode import VideoWriter, mux, write_wav
from lipforcing_core.media.ffmpeg import file_argument, run_ffmpeg
from lipforcing_core.media.normalise import normalise
from lipforcing_core.media.probe import probe
from lipforcing_core.media.shots import detect_shots

from .conftest import counter_frame, tone

MakeVideo = Callable[..., Path]


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (MemoryError(), SurroundingsError, "not enough memory .while reading /x/a"),
        (av.error.MemoryError(errno.ENOMEM, "x"), SurroundingsError, "not enough memory"),
        (OSError(errno.ENOSPC, "x"), SurroundingsError, "the disk is full"),
        (OSError(errno.EIO, "Input/output error"), MediaError, "/x/a: cannot be decoded .Input/output error"),
        (av.error.InvalidDataError(1, "Invalid data"), MediaError, "Invalid data"),
        (ValueError("odd"), MediaError, "odd"),
        (MediaError("/x/b", "is empty"), MediaError, "^/x/b: is empty$"),
    ],
)
def test_the_decoders_errors_are_about_the_file_or_the_machine(
    error: Exception, kind: type[Exception], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decode, "has_room", lambda: False)
    with pytest.raises(kind, match=words), decoder_errors("/x/a"):
        raise error


def test_a_decoder_that_asks_for_too_much_where_there_is_plenty_means_the_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(decode, "has_room", lambda: True)
    with pytest.raises(MediaError, match="Cannot allocate"), decoder_errors("/x/a"):
        raise av.error.MemoryError(errno.ENOMEM, "Cannot allocate memory")
    with pytest.raises(SurroundingsError), decoder_errors("/x/a"):
        raise MemoryError


def test_room_is_what_the_system_would_give() -> None:
    script = (
        "import resource, sys; from lipforcing_core.base.failures import has_room; before = has_room();"
        "resource.setrlimit(resource.RLIMIT_AS, (2**29, 2**29)); print(before, has_room())"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "True False\n"


def test_opening_and_reading_sound_tell_the_machine_from_the_file(
    counter_video: MakeVideo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = counter_video(num_frames=5)
    write_wav(tmp_path / "a.wav", tone(0.1))

    def starved(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(decode.av, "open", starved)
    with pytest.raises(SurroundingsError, match="too many files open"):
        probe(video)
    monkeypatch.setattr(decode.wave, "open", starved)
    with pytest.raises(SurroundingsError, match="too many files open"):
        read_wav(tmp_path / "a.wav")


def test_a_silent_failure_has_its_exit_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import ffmpeg

    program = tmp_path / "ffmpeg"
    program.write_text("#!/bin/sh\nexit 7\n")
    program.chmod(0o755)
    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", lambda: str(program))
    with pytest.raises(MediaError, match=r"ffmpeg gave no reason \(exit code 7\)"):
        run_ffmpeg(ffmpeg.input("x").output("y"), "x")


def test_a_path_is_never_an_option_and_may_have_any_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert file_argument("-y.mp4") == f"{Path.cwd()}/-y.mp4"
    odd = os.fsdecode(b"caf\xe9.mp4")
    assert file_argument(odd).isascii()
    assert odd not in file_argument(odd)


@pytest.mark.parametrize(
    "name", [b"caf\xe9 \xff", b"-i", b"%03d", b"a\nb", b"\x1b[2J", b"file:a", b"*?{b}", b"'\"\\xe9"]
)
def test_media_go_in_and_out_under_any_name(name: bytes, counter_video: MakeVideo, tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
    folder.mkdir()
    picture, final = (folder / os.fsdecode(name + end) for end in (b"-silent.mp4", b".mp4"))
    with VideoWriter(picture, width=160, height=96) as writer:
        for k in range(10):
            writer.write(counter_frame(k))
    mux(picture, tone(0.4), final)
    info = normalise(final, folder / "n.mp4", folder / "n.wav")
    assert (info.num_frames, info.num_samples) == (10, 6400)
    assert np.array_equal(read_frames(folder / "n.mp4"), read_frames(final))
    assert len(read_audio(final)) >= 6400
    assert detect_shots(final) == [(0, 10)]
    assert sorted(p.name for p in folder.iterdir()) == sorted([picture.name, final.name, "n.mp4", "n.wav"])


def test_an_unfinished_video_goes_even_where_closing_it_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = VideoWriter(tmp_path / "a.mp4", width=16, height=16)
    writer.write(np.zeros((16, 16, 3), np.uint8))

    class Full:
        def close(self) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    container, writer._container = writer._container, Full()
    writer.abort()
    assert list(tmp_path.iterdir()) == []
    container.close()


FULL = """
import sys
from lipforcing_core.base.errors import SurroundingsError
from lipforcing_core.media.normalise import normalise
try:
    normalise(sys.argv[1], sys.argv[2] + "/n.mp4", sys.argv[2] + "/n.wav")
except SurroundingsError as error:
    print(error)
"""


def test_a_disk_that_is_full_leaves_nothing_behind(counter_video: MakeVideo, tmp_path: Path) -> None:
    """A limit on the size of files stands in for the full disk: it stops ffmpeg amid its work as well."""
    out = tmp_path / "out"
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(counter_video(num_frames=60, sound_s=2.4)), str(out)],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)),
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert "while ffmpeg was working on" in done.stdout, done.stderr
    assert list(out.iterdir()) == []
