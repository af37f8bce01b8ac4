"""What the steps of a piece took: which are counted, what is not recorded, and the words for it."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lipforcing_core.base.products import StepStore
from lipforcing_core.base.timed_steps import COST, StepCost
from lipforcing_core.curation import steps
from lipforcing_core.curation.records import Scores
from lipforcing_core.curation.stored_costs import costs_line, in_all, piece_costs

from .scripted import piece, track

SCORES = Scores(activity_backend="ear-1", quality_backend="eye-1", sync_backend="lips-1")


def cost(wall_s: float, cpu_s: float = 0.0) -> StepCost:
    return StepCost(done=1, wall_s=wall_s, cpu_s=cpu_s)


def put(store: StepStore, step: str, key: str, wall_s: float) -> None:
    done = store.run(step, key, lambda _folder: {})
    (done.folder / COST).write_text(f'{{"wall_s": {wall_s}, "cpu_s": {2 * wall_s}}}')


def seconds(costs: Any) -> dict[str, float | None]:
    return {step: None if cost is None else cost.wall_s for step, cost in costs.items()}


def test_the_faces_of_a_piece_count_together(tmp_path: Path) -> None:
    store = StepStore(tmp_path)
    cut = piece(0, 60, track(0), track(1), track(2))
    put(store, "speech", steps.speech_key("5e", cut, "ear-1"), 1.0)
    put(store, "speech", steps.speech_key("other", cut, "ear-1"), 64.0)
    for number, wall_s in ((0, 2.0), (2, 4.0)):
        face = steps.face_key("5e", cut, cut.tracks[number])
        put(store, "quality", steps.quality_key(face, "eye-1"), wall_s)
        put(store, "quality", steps.quality_key(face, "eye-2"), 64.0)
        put(store, "sync", steps.sync_key(face, "lips-1", correct=True), 8 * wall_s)
        put(store, "sync", steps.sync_key(face, "lips-1", correct=False), 32 * wall_s)
    found = piece_costs(store, "5e", cut, SCORES, {})
    assert seconds(found) == {"speech": 1.0, "fingerprint": None, "quality": 6.0, "sync": 48.0}
    assert found["quality"] == StepCost(done=2, wall_s=6.0, cpu_s=12.0)
    off = piece_costs(store, "5e", cut, SCORES, {"sync_filter": False})
    assert seconds(off)["sync"] == 192.0


def test_a_piece_without_a_face_was_only_heard_and_one_that_was_not_measured_took_nothing(
    tmp_path: Path,
) -> None:
    store = StepStore(tmp_path)
    unseen = replace(SCORES, quality_backend=None, sync_backend=None)
    assert piece_costs(store, "5e", piece(), unseen, {}) == {"speech": None}
    assert piece_costs(store, "5e", piece(), Scores(), {}) == {}


def test_telling_people_apart_is_a_step_where_a_network_did_it(tmp_path: Path) -> None:
    store, cut = StepStore(tmp_path / "steps"), piece()
    network = tmp_path / "glintr100.onnx"
    network.write_bytes(b"network")
    digest = hashlib.sha256(b"network").hexdigest()[:12]
    key = steps.identity_key(steps.face_key("5e", cut, cut.tracks[0]), f"arcface-r100@sha256:{digest}")
    put(store, "identity", key, 3.0)
    told = piece_costs(store, "5e", cut, SCORES, {"identity_model": str(network)})
    assert list(told) == ["speech", "fingerprint", "identity", "quality", "sync"]
    assert seconds(told)["identity"] == 3.0
    network.unlink()
    assert "identity" not in piece_costs(store, "5e", cut, SCORES, {"identity_model": str(network)})


def test_costs_of_several_pieces_are_added_in_the_order_of_the_steps() -> None:
    pieces: list[dict[str, StepCost | None]] = [
        {"sync": cost(1), "speech": cost(2)},
        {"sync": cost(4), "speech": None},
        {},
    ]
    found = in_all([{"read": cost(8)}, *pieces])
    assert list(found.items()) == [("read", cost(8)), ("speech", None), ("sync", replace(cost(5), done=2))]


@pytest.mark.parametrize(
    ("costs", "words"),
    [
        ({}, "not recorded"),
        ({"read": None}, "not recorded"),
        ({"read": cost(7.914, 9.5)}, "read 7.91 s; 7.91 s in all, 9.50 s of CPU"),
        ({"read": cost(2, 3), "sync": cost(0.0625, 1)}, "read 2.00 s, sync 0.062 s; 2.06 s in all, 4.00 s of CPU"),
        ({"read": None, "sync": cost(1, 1)}, "read not recorded, sync 1.00 s"),
    ],
)  # fmt: skip
def test_costs_in_words(costs: dict[str, StepCost | None], words: str) -> None:
    assert costs_line(costs) == words
