"""Names of files as text: plain, one line, reversible."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lipforcing_core.base.errors import MediaError
from lipforcing_core.base.names import path_as_text, path_from_text, path_in, printable, real_name, shown_name


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"caf\xe9.mp4", r"caf\xe9.mp4"),
        ("café ü 話.mp4", "café ü 話.mp4"),
        ("two\nlines\t.mp4", r"two\nlines\t.mp4"),
        ("a\rb", r"a\rb"),
        ("\x1b]0;title\x07.mp4", r"\x1b]0;title\x07.mp4"),
        ("\x7f\x80\x9f\x85", r"\x7f\u0080\u009f\u0085"),
        (b"\x85", r"\x85"),
        (b"\x80\xff", r"\x80\xff"),
        ("gpj\u202e4pm", r"gpj\u202e4pm"),
        ("a\u2028b\ufeff", r"a\u2028b\ufeff"),
        ("a\\xe9.mp4", r"a\\xe9.mp4"),
        ("\ud800", r"\ud800"),
        ("%d -dash {x}*.mp4", "%d -dash {x}*.mp4"),
        ("a\u200db~\x20\xa0", "a\u200db~\x20\xa0"),
    ],
)
def test_what_cannot_be_shown_is_escaped(name: str | bytes, shown: str) -> None:
    assert shown_name(name) == shown
    assert real_name(shown) == os.fsdecode(name)


@given(st.binary(max_size=40).filter(lambda b: b"\0" not in b))
@example(b"\\\\xe9\\n\n\xe9\xed\xb3\xa9")
@settings(deadline=None)
def test_any_bytes_become_one_line_of_utf8_and_come_back(name: bytes) -> None:
    shown = shown_name(name)
    assert shown.encode("utf-8").isascii() or shown.isprintable() or not shown.splitlines()[1:]
    assert len(shown.splitlines()) <= 1
    assert os.fsencode(real_name(shown)) == name


@given(st.text(max_size=30), st.text(max_size=30))
@settings(deadline=None)
def test_two_names_never_look_alike(one: str, other: str) -> None:
    assert (shown_name(one) == shown_name(other)) == (one == other)


def test_text_that_is_no_escape_stays() -> None:
    assert real_name(r"C:\films\a.mp4 \q \x1 \u12 \X41") == r"C:\films\a.mp4 \q \x1 \u12 \X41"


def test_a_message_keeps_its_lines_and_loses_what_a_terminal_acts_on() -> None:
    assert printable("a\n\tb\\c \x1b[2J\x08\udce9\r") == "a\n\tb\\c \\x1b[2J\\x08\\xe9\\r"


def test_errors_can_be_printed_whatever_they_name() -> None:
    error = MediaError(os.fsdecode(b"/x/caf\xe9\x1b[31m.mp4"), "is empty", "words\x07")
    assert str(error) == r"/x/caf\xe9\x1b[31m.mp4: is empty (words\x07)"
    str(error).encode("utf-8")


def test_a_list_names_a_path_plainly_or_as_it_is_shown(tmp_path: Path) -> None:
    odd = os.fsdecode(b"caf\xe9.mp4")
    (tmp_path / "plain.mp4").touch()
    (tmp_path / odd).touch()
    (tmp_path / r"a\n.mp4").touch()
    assert path_in(tmp_path, "plain.mp4") == tmp_path / "plain.mp4"
    assert path_in(tmp_path, r"caf\xe9.mp4") == tmp_path / odd
    assert path_in(tmp_path, r"a\n.mp4") == tmp_path / r"a\n.mp4"
    assert path_in(tmp_path, r"b\n.mp4") == tmp_path / "b\n.mp4"
    assert path_in(tmp_path, r"\x00").name == "\0"
    assert path_in(tmp_path, "absent") == tmp_path / "absent"


@pytest.mark.parametrize(
    "name", [b"caf\xe9.mp4", b"a\\xe9\xff\n", b"a\\xe9", b"plain", b"two\nlines", b"\\n \\x41", "é".encode()]
)
def test_a_path_survives_json(name: bytes) -> None:
    path = Path(os.fsdecode(b"/x/" + name))
    text = path_as_text(path)
    assert path_from_text(json.loads(json.dumps(text).encode())) == path
    text.encode("utf-8")


def test_only_names_that_need_it_are_written_otherwise() -> None:
    assert path_as_text(Path("/x/two\nlines\\n")) == "/x/two\nlines\\n"
    assert path_from_text(r"C:\new\x41") == Path(r"C:\new\x41")
