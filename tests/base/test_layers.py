"""Settings that say only what differs: what is laid over what, and every way in which that can go wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.layers import apply_overrides, merged, read_layers, resolve_layers

SHIPPED = {"small": {"name": "small", "model": {"dim": 8, "sizes": [1, 2]}, "codec": {"channels": 4}}}


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_a_chain_of_files_is_laid_over_a_name(tmp_path: Path) -> None:
    write(tmp_path, "base.toml", 'extends = "small"\n[model]\ndim = 16\n[new]\na = 1\n')
    top = write(
        tmp_path / "inner", "top.toml", 'extends = "../base.toml"\n[model]\nsizes = [3]\n[new]\nb = 2\n'
    )
    assert read_layers(top, named=SHIPPED) == {
        "name": "small",
        "model": {"dim": 16, "sizes": [3]},
        "codec": {"channels": 4},
        "new": {"a": 1, "b": 2},
    }
    assert SHIPPED["small"]["model"] == {"dim": 8, "sizes": [1, 2]}, "a base stays as it is"


def test_parts_of_the_base_are_taken_away(tmp_path: Path) -> None:
    top = write(tmp_path, "a.toml", 'extends = "small"\nwithout = ["codec", "model.dim"]\nname = "a"\n')
    assert read_layers(top, named=SHIPPED) == {"name": "a", "model": {"sizes": [1, 2]}}
    back = write(tmp_path, "b.toml", 'extends = "small"\nwithout = ["codec"]\n[codec]\nother = 1\n')
    assert read_layers(back, named=SHIPPED)["codec"] == {"other": 1}


def test_values_at_hand_are_laid_over_a_base(tmp_path: Path) -> None:
    write(tmp_path, "base.toml", "a = 1\nb = 2\n")
    found = resolve_layers({"extends": "base.toml", "b": 3}, "request", named=SHIPPED, folder=tmp_path)
    assert found == {"a": 1, "b": 3}
    assert resolve_layers({"b": 3}, "request", named=SHIPPED, folder=tmp_path) == {"b": 3}


def test_circles_are_refused(tmp_path: Path) -> None:
    first = write(tmp_path, "a.toml", 'extends = "b.toml"\n')
    write(tmp_path, "b.toml", 'extends = "c.toml"\n')
    write(tmp_path, "c.toml", 'extends = "b.toml"\n')
    with pytest.raises(BadInputError, match=r"in a circle: \S*b\.toml -> \S*c\.toml -> \S*b\.toml$"):
        read_layers(first, named=SHIPPED)
    own = write(tmp_path, "own.toml", 'extends = "own.toml"\n')
    with pytest.raises(BadInputError, match="circle"):
        read_layers(own, named=SHIPPED)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            'extends = "smal"\n',
            r"'smal' is neither a known name nor a TOML file \(did you mean 'small'\?\); known: small$",
        ),
        ('extends = "none.toml"\n', "is neither a known name nor"),
        ("extends = 3\n", r"must be a name or the path of a TOML file \(got 3\)"),
        ('without = ["model"]\n', "name one with extends"),
        ('extends = "small"\nwithout = "codec"\n', r"must be a list of names .*\(got 'codec'\)"),
        ('extends = "small"\nwithout = ["codecs"]\n', "names 'codecs', which small does not hold"),
        ('extends = "small"\nwithout = ["name.first"]\n', "names 'name.first', which small does not hold"),
        ('extends = "small"\nmodel = 3\n', r"model is a table \[model\], not a value"),
        ("extends =\n", "not valid TOML: .*line 1"),
    ],
)
def test_what_cannot_be_followed_names_the_file(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, "bad.toml", text)
    with pytest.raises(BadInputError, match=rf"^{path}.*{message}"):
        read_layers(path, named=SHIPPED)


def test_without_named_bases_only_a_file_is_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path, "bad.toml", 'extends = "small"\n')
    with pytest.raises(BadInputError, match=r"bad\.toml: extends = 'small' is no TOML file$"):
        read_layers(path, named={})


def test_a_mistake_in_a_base_names_the_base(tmp_path: Path) -> None:
    write(tmp_path, "base.toml", "a = \n")
    top = write(tmp_path, "top.toml", 'extends = "base.toml"\n')
    with pytest.raises(BadInputError, match=r"base\.toml is not valid TOML"):
        read_layers(top, named=SHIPPED)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("a.b=0", {"a": {"b": 0, "c": 2}}),
        ("a.b = 1e-3", {"a": {"b": 0.001, "c": 2}}),
        ("a.b=true", {"a": {"b": True, "c": 2}}),
        ("a.b=[1, 2]", {"a": {"b": [1, 2], "c": 2}}),
        ('a.b="x = y"', {"a": {"b": "x = y", "c": 2}}),
        ("a.b=syncnet-v2", {"a": {"b": "syncnet-v2", "c": 2}}),
        ("a.b=/x", {"a": {"b": "/x", "c": 2}}),
        ("a.b=~/my talks/new.mp4", {"a": {"b": "~/my talks/new.mp4", "c": 2}}),
        ("a.b=1 2", {"a": {"b": "1 2", "c": 2}}),
        ("a.b=a=b", {"a": {"b": "a=b", "c": 2}}),
        ("a.b=2024-05-01", {"a": {"b": "2024-05-01", "c": 2}}),
        ("a.b=12:30:00", {"a": {"b": "12:30:00", "c": 2}}),
        ("a.b=" + "9" * 5000, {"a": {"b": "9" * 5000, "c": 2}}),
        ("a.new.deep=1", {"a": {"b": 1, "c": 2, "new": {"deep": 1}}}),
        ("top=5", {"a": {"b": 1, "c": 2}, "top": 5}),
        ('top=""', {"a": {"b": 1, "c": 2}, "top": ""}),
    ],
)
def test_overrides(override: str, expected: dict[str, Any]) -> None:
    values = {"a": {"b": 1, "c": 2}}
    assert apply_overrides(values, [override]) == expected
    assert values == {"a": {"b": 1, "c": 2}}, "the values that came in stay"


def test_later_overrides_win() -> None:
    assert apply_overrides({}, ["a.b=1", "a.b=2", "a.c=3"]) == {"a": {"b": 2, "c": 3}}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("a.b", "must be section.key=value"),
        ("=3", "must be section.key=value"),
        ("a..b=3", "must be section.key=value"),
        ("a.b=", "'' is no value of TOML"),
        ("a.b=[1, 2", r"'\[1, 2' is no value of TOML"),
        ("a.b='x", "is no value of TOML"),
        ("a.b=1\nz = 2", "one value is wanted"),
        ("a=3", r"--set a=3: a is a table \[a\], not a value"),
        ("a.b=" + "[" * 100_000, "no value of TOML"),
    ],
)
def test_overrides_that_are_none(override: str, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        apply_overrides({"a": {"b": 1}}, [override])


def test_lists_are_replaced_whole() -> None:
    assert merged({"a": [1, 2], "b": {"c": 1}}, {"a": [3]}) == {"a": [3], "b": {"c": 1}}
