"""The plain table behind every seam: its names in sentences, its default, and what it refuses."""

from __future__ import annotations

from typing import Annotated

import pytest
from pydantic import BaseModel, ValidationError

from lipforcing_core.base.catalogue import Catalogue, Entry, FileEntry, either, file_help
from lipforcing_core.base.errors import BadInputError

ONE = FileEntry(name="one", summary="the first", weights=("w",), files=("a.bin", "b.bin", "c.bin"))
TWO = FileEntry(name="two", summary="the second")
THREE = FileEntry(name="three", summary="the third", files=("d.bin",))
TABLE = Catalogue(kind="thing", entries=(ONE, TWO, THREE))


def test_names_in_their_order() -> None:
    assert list(TABLE) == [ONE, TWO, THREE]
    assert TABLE.names == ("one", "two", "three")
    assert TABLE.default == "one"
    assert TABLE.choices == "one, two or three"
    assert TABLE.help == "Thing: one, two or three."
    assert "two" in TABLE
    assert "four" not in TABLE


def test_an_entry_is_found_by_its_name_or_all_are_told() -> None:
    assert TABLE["three"] is THREE
    with pytest.raises(BadInputError, match=r"^unknown thing 'four'; known: one, two, three$"):
        TABLE["four"]


def test_the_stand_in_is_the_first_that_needs_no_download() -> None:
    assert [entry.is_embedded for entry in TABLE] == [False, True, True]
    assert TABLE.stand_in == "two"
    assert Catalogue(kind="thing", entries=(ONE,)).stand_in is None


def test_file_help_tells_what_each_choice_reads() -> None:
    assert (
        file_help(TABLE)
        == "File of the thing (one: a.bin with b.bin and c.bin beside it; three: d.bin, shipped)."
    )
    assert file_help(Catalogue(kind="thing", entries=(TWO,))) == "No thing takes a file."


@pytest.mark.parametrize(
    ("names", "sentence"),
    [((), ""), (("a",), "a"), (("a", "b"), "a or b"), (("a", "b", "c"), "a, b or c")],
)
def test_either(names: tuple[str, ...], sentence: str) -> None:
    assert either(names) == sentence


def test_settings_take_no_other_name() -> None:
    class Settings(BaseModel):
        thing: Annotated[str, TABLE.choice]

    assert Settings(thing="two").model_dump() == {"thing": "two"}
    with pytest.raises(ValidationError, match=r"unknown thing 'four'; known: one, two, three"):
        Settings(thing="four")


def test_any_entry_will_do() -> None:
    plain = Catalogue(kind="plain thing", entries=(Entry(name="a", summary="b"),))
    assert (plain.default, plain.stand_in, plain["a"].licence) == ("a", "a", "")
