"""What a misspelt name is answered with, and that every refusal of a name from a known list has it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.catalogue import flow_entry
from flows.deployments import chosen
from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.suggestions import did_you_mean, unknown
from lipforcing_core.faces.detectors.catalogue import DETECTORS
from lipforcing_core.metrics.backends import NETWORK_SETS
from lipforcing_core.puppets.portraits import load_portrait
from lipforcing_core.runtime.bundle import find_model, model_preset
from lipforcing_core.seams.catalogues import all_seams
from lipforcing_core.weights.keymaps import find_key_map
from lipforcing_core.weights.registry import find_weight
from warehouse.dictionary import described


def deployment(name: str) -> Any:
    return chosen(Path(), only=[name], cron=None, source=None)


def test_the_closest_word_or_none() -> None:
    assert did_you_mean("nanoo", ["14b", "nano"]) == " (did you mean 'nano'?)"
    assert did_you_mean("lpb", ["yunet", "lbp"]) == " (did you mean 'lbp'?)"
    assert did_you_mean("abc", ["xbz", "xyz"]) == "", "a third in common is not close"
    assert did_you_mean("nano", []) == ""
    assert did_you_mean(["nano"], ["nano"]) == " (did you mean 'nano'?)", "a value of any type is looked at"


def test_the_whole_sentence() -> None:
    assert unknown("thing", "twoo", (n for n in ("one", "two"))) == (
        "unknown thing 'twoo' (did you mean 'two'?); known: one, two"
    )
    assert unknown("thing", "four", ("one", "two")) == "unknown thing 'four'; known: one, two"


@pytest.mark.parametrize(
    ("ask", "word", "meant"),
    [
        (flow_entry, "curat", "curate"),
        (find_weight, "yunett", "yunet"),
        (find_key_map, "adaptor", "adapter"),
        (DETECTORS.__getitem__, "lpb", "lbp"),
        (NETWORK_SETS.__getitem__, "learnt", "learned"),
        (load_portrait, "astronout", "astronaut"),
        (find_model, "lipforcing-13b", "lipforcing-14b"),
        (model_preset, "lipforcing-13b", "lipforcing-14b"),
        (deployment, "nightly", "nightly-curation"),
        (described, "leaderbord", "leaderboard"),
    ],
)
def test_who_refuses_a_name_says_what_was_meant(ask: Callable[[str], Any], word: str, meant: str) -> None:
    with pytest.raises(BadInputError, match=rf"{word}.* \(did you mean '{meant}'\?\).*known: .*{meant}"):
        ask(word)


@pytest.mark.parametrize("seam", all_seams(), ids=lambda seam: seam.name)
def test_every_catalogue_says_what_was_meant(seam: Any) -> None:
    for name in seam.catalogue.names:
        with pytest.raises(BadInputError, match=rf"unknown {seam.name} '{name}_' \(did you mean "):
            seam.catalogue[f"{name}_"]


def test_nonsense_gets_the_list_and_no_suggestion() -> None:
    with pytest.raises(
        BadInputError, match=f"^unknown face detector 'mtcnn'; known: {', '.join(DETECTORS.names)}$"
    ):
        DETECTORS["mtcnn"]
