"""Whatever a user's file holds or is, the answer is one sentence that names it, at once."""

from __future__ import annotations

import os
import socket
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lipforcing_core.base import user_file
from lipforcing_core.base.csv_file import read_csv
from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.user_file import (
    field,
    no_file,
    read_json_object,
    read_json_value,
    read_text,
    read_toml,
    require_regular,
)

READERS: list[Callable[[Path], Any]] = [
    read_text,
    read_json_value,
    read_toml,
    lambda path: read_csv(path, ["a"]),
]


def sentence(read: Callable[[Path], Any], path: Path) -> str:
    with pytest.raises(BadInputError) as caught:
        read(path)
    message = str(caught.value)
    assert "\n" not in message
    assert message.isprintable()
    assert len(message) < 400
    return message


@pytest.mark.parametrize("read", READERS)
def test_what_is_no_regular_file_is_not_waited_for(read: Callable[[Path], Any], tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert no_file(pipe) == "is a pipe, a socket or a device, and a regular file is wanted"
    assert no_file(tmp_path) == "is a folder, and a file is wanted"
    assert no_file(tmp_path / "none") == "does not exist"
    assert "is a pipe, a socket or a device" in sentence(read, pipe)
    assert "is a pipe, a socket or a device" in sentence(read, Path("/dev/zero"))
    assert "is a folder" in sentence(read, tmp_path)
    assert "there is no such file" in sentence(read, tmp_path / "none")
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind(str(tmp_path / "s"))
        assert "is a pipe, a socket or a device" in sentence(read, tmp_path / "s")
    (tmp_path / "link").symlink_to(pipe)
    assert "is a pipe" in sentence(read, tmp_path / "link")
    (tmp_path / "to_nothing").symlink_to(tmp_path / "none")
    assert "there is no such file" in sentence(read, tmp_path / "to_nothing")


def test_paths_that_are_none(tmp_path: Path) -> None:
    assert "is no path of a file" in sentence(require_regular, Path("a\0b"))
    odd = tmp_path / "a\x1b]0;title\x07\n.json"
    odd.write_text("{")
    assert "\\x1b]0;title\\x07\\n.json" in sentence(read_json_value, odd)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is not readable JSON"),
        (b"\xff\xfe{}", "is not UTF-8 text (byte 0)"),
        (b"{", "is not readable JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b"1" * 5_000, "a number of thousands of digits"),
        (b'{"a": ' + b"1" * 5_000 + b"}", "a number of thousands of digits"),
        (b"\0", "is not readable JSON"),
        (b'{"a": "\0"}', "is not readable JSON"),
        (b'{"a": NaN}', "NaN is no number of JSON"),
        (b'{"a": -Infinity}', "-Infinity is no number of JSON"),
        (b'{"a": "\\ud800"}', "half a character"),
        (b'{"\\uDFff": 1}', "half a character"),
    ],
)
def test_json_that_is_none(content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    assert words in sentence(read_json_value, path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a = \xff", "is not UTF-8 text (byte 4)"),
        (b"a =", "is not valid TOML"),
        (b"a = " + b"[" * 100_000, "nested too deeply"),
        (b"a = " + b"1" * 5_000, "a number of thousands of digits"),
        (b"a = '\0'", "is not valid TOML"),
        (b"a = 1\nb = \n", "line 2"),
    ],
)
def test_toml_that_is_none(content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_bytes(content)
    assert words in sentence(read_toml, path)


def test_what_is_right_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"\xef\xbb\xbf" + '{"a": [1, "é\\u0000", "\\ud83d\\ude00"], "b": 1e400}'.encode())
    assert read_json_object(path) == {"a": [1, "é\0", "\U0001f600"], "b": float("inf")}
    path.write_text("a = 1\n[b]\nc = 'x'\n")
    assert read_toml(path) == {"a": 1, "b": {"c": "x"}}


def test_a_file_of_another_kind(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    for text, kind in (("[1]", "a list"), ("3", "a whole number"), ("null", "null"), ('"x"', "a text")):
        path.write_text(text)
        assert f"must hold an object {{...}}, and holds {kind}" in sentence(read_json_object, path)


def test_fields_of_another_kind() -> None:
    assert field({"a": 3}, "a", int, "f") == 3
    for value, kind, words in (
        ("3", int, "must be a whole number, and is a text"),
        (True, int, "must be a whole number, and is true or false"),
        (None, str, "must be a text, and is null"),
        ([], dict, "must be an object, and is a list"),
    ):
        with pytest.raises(BadInputError, match=f"f: 'a' {words}"):
            field({"a": value}, "a", kind, "f")
    with pytest.raises(BadInputError, match="f: has no 'a'"):
        field({}, "a", int, "f")


def test_a_file_that_is_too_large_is_not_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with open(path, "wb") as stream:
        stream.truncate(1 << 40)
    tracemalloc.start()
    assert "is larger than 1 MB" in sentence(lambda p: read_json_value(p, largest=1_000_000), path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8_000_000
    assert user_file.LARGEST_TEXT < 1 << 30
