"""The tables of networks: consistent with what they load, and the only place that a new network is entered in."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from lipforcing_core.base.catalogue import Catalogue, Entry
from lipforcing_core.base.errors import BadInputError, MissingWeightsError
from lipforcing_core.metrics.backends import NETWORK_SETS, load_backends, needed_weights
from lipforcing_core.metrics.few_samples import few_samples_note
from lipforcing_core.metrics.networks import arcface, i3d, inception
from lipforcing_core.metrics.networks.catalogue import (
    FEATURE_NETWORKS,
    PERCEPTUAL_DISTANCES,
    FeatureNetwork,
    is_stand_in,
    load_extractor,
    load_perceptual,
)
from lipforcing_core.metrics.networks.random_features import RandomImageFeatures, RandomVideoFeatures
from lipforcing_core.weights import registry
from tasks.evaluation import Scorers, find_files


def test_the_listed_widths_are_those_of_the_networks() -> None:
    listed = {entry.name: entry.num_features for entry in FEATURE_NETWORKS}
    known = {
        "random-conv-v1": RandomImageFeatures.DIM,
        "random-conv3d-v1": RandomVideoFeatures.DIM,
        "inception-v3-fid": inception.NUM_FEATURES,
        "i3d-400": i3d.NUM_CLASSES,
        "arcface-r100": arcface.NUM_FEATURES,
    }
    assert {name: listed[name] for name in known} == known
    assert min(listed.values()) >= 1


@pytest.mark.parametrize("catalogue", [FEATURE_NETWORKS, PERCEPTUAL_DISTANCES], ids=lambda table: table.kind)
def test_whoever_needs_a_file_has_a_stand_in_of_the_same_kind(catalogue: Catalogue) -> None:
    for entry in catalogue:
        if entry.is_embedded:
            assert not entry.stand_in
            assert entry.load(None).backend_id == f"{entry.name}@seed0"
        else:
            assert entry.weights == (entry.name,)
            assert catalogue[entry.stand_in].is_embedded
            assert bool(entry.licence) != registry.find_weight(entry.name).commercial_ok
    windows = [entry.name for entry in FEATURE_NETWORKS if entry.vector_of == "windows"]
    assert windows[:2] == ["random-conv3d-v1", "i3d-400"]
    assert FEATURE_NETWORKS["i3d-400"].stand_in == "random-conv3d-v1"


def test_a_file_that_nobody_reads_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="random-conv-v1 takes no file"):
        load_extractor("random-conv-v1", tmp_path / "mine.pt")
    with pytest.raises(BadInputError, match="takes no file"):
        load_perceptual(backbone=tmp_path / "mine.pt")


def test_the_sets_hold_what_their_networks_need() -> None:
    embedded, learned = NETWORK_SETS
    assert (embedded.weights, embedded.licence) == ((), "")
    assert learned.weights == ("inception-v3-fid", "i3d-400", "arcface-r100", "lpips-alex", "syncnet-v2")
    assert learned.licence == "arcface-r100: non-commercial research only"
    stand_ins = (
        FEATURE_NETWORKS[learned.image_features].stand_in,
        FEATURE_NETWORKS[learned.video_features].stand_in,
        FEATURE_NETWORKS[learned.identity_features].stand_in,
        PERCEPTUAL_DISTANCES[learned.perceptual].stand_in,
    )
    assert stand_ins == (
        embedded.image_features,
        embedded.video_features,
        embedded.identity_features,
        embedded.perceptual,
    )


class FakeFeatures:
    """Loaded from a file, or from none."""

    def __init__(self, path: Path | None) -> None:
        self.backend_id = f"fake@{path and path.read_text()}"


def _append(patch: pytest.MonkeyPatch, catalogue: Catalogue, *entries: Entry) -> None:
    """More entries in a table; the frozen class is circumvented, as no user should."""
    patch.setitem(catalogue.__dict__, "entries", (*catalogue.entries, *entries))


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network without a file, one with, and a set that uses both: an entry each, and one of the registry."""
    plain = FeatureNetwork(
        name="fake", summary="A fake.", load=FakeFeatures, num_features=9, vector_of="frames"
    )
    heavy = replace(plain, name="fake-heavy", weights=("fake-heavy",), stand_in="fake")
    weight = replace(
        registry.find_weight("i3d-400"),
        name="fake-heavy",
        files=(registry.WeightFile(path="metrics/fake.pt"),),
    )
    known = (*registry.all_weights(), weight)
    monkeypatch.setattr(registry, "all_weights", lambda: known)
    _append(monkeypatch, FEATURE_NETWORKS, plain, heavy)
    chosen = replace(
        NETWORK_SETS["embedded"], name="fakes", image_features="fake", video_features="fake-heavy"
    )
    _append(monkeypatch, NETWORK_SETS, replace(chosen, weights=("fake-heavy",)))


@pytest.mark.usefixtures("fakes")
def test_a_new_network_costs_its_file_and_one_entry(tmp_path: Path) -> None:
    assert needed_weights("fakes") == ["fake-heavy"]
    with pytest.raises(MissingWeightsError, match=r"fake-heavy.*fake\.pt"):
        find_files(Scorers(networks="fakes", weights=tmp_path))
    path = tmp_path / "metrics" / "fake.pt"
    path.parent.mkdir()
    path.write_text("content")
    files = find_files(Scorers(networks="fakes", weights=tmp_path))
    backends = load_backends("fakes", files, detector=None)
    assert backends.ids["image features"] == "fake@None"
    assert backends.ids["video features"] == "fake@content"
    with pytest.raises(MissingWeightsError, match=r"fake-heavy: no file was given.*or use 'fake'"):
        load_extractor("fake-heavy")
    with pytest.raises(BadInputError, match=r"known: .*fake, fake-heavy"):
        load_extractor("fak")
    with pytest.raises(BadInputError, match="known: embedded, learned, fakes"):
        load_backends("none", {}, detector=None)
    note = few_samples_note("fid", 9, "fake@content")
    assert note is not None
    assert "FID from 9 frames, no more than the 9 features of fake@content" in note


def test_the_command_line_offers_the_sets_of_the_table() -> None:
    code = (
        "import sys\n"
        "from dataclasses import replace\n"
        "from lipforcing_core.metrics.backends import NETWORK_SETS\n"
        "fake = replace(NETWORK_SETS['learned'], name='fakes')\n"
        "NETWORK_SETS.__dict__['entries'] = (*NETWORK_SETS.entries, fake)\n"
        "from apps.cli.main import main\n"
        "sys.argv = ['lipforcing', 'evaluate', '--help']\n"
        "main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"COLUMNS": "200", "PATH": "", "PYTHONPATH": ":".join(sys.path)},
    )
    assert "Set of networks: embedded, learned or fakes." in done.stdout


def test_ids_of_sets_come_from_what_was_loaded() -> None:
    backends = replace(
        load_backends("embedded", {}, detector=None), detector=SimpleNamespace(backend_id="lbp-7")
    )
    assert backends.ids["detector"] == "lbp-7"


@pytest.mark.parametrize(
    ("backend", "expected"),
    [
        ("random-conv-v1@seed0", True),
        ("lpips-random-conv-v1@seed0", True),
        ("inception-v3-fid@1234", False),
        ("pixels-v1", False),
        ("", False),
    ],
)
def test_stand_ins_are_known_by_the_id_of_their_scores(backend: str, expected: bool) -> None:
    assert is_stand_in(backend) is expected
