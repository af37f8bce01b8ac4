"""The sets of networks: what each needs and is called, and a clip scored with learned networks of random weights."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from lipforcing_core.base.errors import BadInputError, IncompatibleCheckpointError, MissingWeightsError
from lipforcing_core.base.products import file_sha256
from lipforcing_core.metrics.aggregate import SetResult, aggregate
from lipforcing_core.metrics.backends import Backends, load_backends, needed_weights
from lipforcing_core.metrics.frechet import frechet_distance
from lipforcing_core.metrics.item import evaluate_item, item_key
from lipforcing_core.metrics.item_result import ItemResult
from lipforcing_core.metrics.manifest import EvalItem, PredictionRecord, record_prediction
from lipforcing_core.metrics.networks.i3d import I3D
from lipforcing_core.metrics.networks.inception import InceptionPool
from lipforcing_core.sync.experts.catalogue import SYNC_EXPERTS, load_sync_expert
from lipforcing_core.sync.experts.syncnet_v2 import SyncNetV2
from lipforcing_core.weights.registry import WeightFile, find_weight, require_all_weights
from tasks.evaluation import Scorers, find_files, load_scorers
from tests.metrics.drawn import PRECROPPED, gaps, head, make_item, write_video
from tests.metrics.networks.test_arcface import write_graph
from tests.metrics.networks.test_lpips import backbone, state_of_file

LEARNED = ("inception-v3-fid", "i3d-400", "arcface-r100", "lpips-alex", "syncnet-v2")


def he_scaled(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """torch's own start values shrink activations with every layer, to nothing in networks this deep."""
    return {name: value * 6**0.5 if value.ndim > 3 else value for name, value in state.items()}


def embedded_ids() -> dict[str, str]:
    """Written out, since they are part of content keys: with other ids, finished work would be done again."""
    return {
        "pixels": "pixels-v1",
        "aperture": "aperture-v1",
        "perceptual": "lpips-random-conv-v1@seed0",
        "image features": "random-conv-v1@seed0",
        "video features": "random-conv3d-v1@seed0",
        "identity features": "random-conv-v1@seed0",
        "sync expert": load_sync_expert("nano").backend_id,
        "detector": "none",
    }


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weights folder with random values in the files of the learned set."""
    folder = tmp_path_factory.mktemp("weights")
    for name in LEARNED:
        find_weight(name).path(folder).parent.mkdir(exist_ok=True)
    torch.manual_seed(0)
    for name, network in (("inception-v3-fid", InceptionPool), ("i3d-400", I3D), ("syncnet-v2", SyncNetV2)):
        torch.save(he_scaled(network().state_dict()), find_weight(name).path(folder))
    torch.save(state_of_file(backbone("lpips-alex")), find_weight("lpips-alex").path(folder))
    write_graph(find_weight("arcface-r100").path(folder))
    return folder


@pytest.fixture(scope="module")
def learned(weights: Path) -> Iterator[Backends]:
    """The learned set as a worker loads it, for clips that are crops already."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WeightFile, "check_content", lambda self, path: None)  # LPIPS wants the very file
        backends = load_scorers(Scorers(networks="learned", weights=weights))
    yield replace(backends, detector=None)
    load_scorers.cache_clear()


@pytest.fixture(scope="module")
def item(tmp_path_factory: pytest.TempPathFactory) -> EvalItem:
    return make_item(tmp_path_factory.mktemp("items") / "0", 0)


@pytest.fixture(scope="module")
def predictions(item: EvalItem) -> list[PredictionRecord]:
    """The truth itself, and another face with the right lips."""
    stranger = write_video(item.truth_video.with_name("stranger.mp4"), head(99, gaps(0)))
    return [
        record_prediction(item.clip_id, "oracle", item.truth_video),
        record_prediction(item.clip_id, "stranger", stranger),
    ]


@pytest.fixture(scope="module")
def scored(item: EvalItem, predictions: list[PredictionRecord], learned: Backends) -> ItemResult:
    return evaluate_item(item, predictions, PRECROPPED, learned)


@pytest.fixture(scope="module")
def whole(scored: ItemResult, learned: Backends) -> SetResult:
    """Set-level rows; distances of one system only, since those of 2048 numbers take seconds each."""
    return aggregate(
        [replace(scored, features={"stranger": scored.features["stranger"]})], PRECROPPED, learned
    )


def test_every_value_names_its_network(weights: Path, scored: ItemResult, whole: SetResult) -> None:
    digest = {name: file_sha256(find_weight(name).path(weights))[:12] for name in LEARNED}
    lpips, sync = (
        f"lpips0.1.4-alex@sha256:{digest['lpips-alex']}",
        f"syncnet-v2@sha256:{digest['syncnet-v2']}",
    )
    expected = {
        "lpips": lpips,
        "mouth_lpips": lpips,
        "csim": f"arcface-r100@sha256:{digest['arcface-r100']}",
        "sync_c": sync,
        "sync_d": sync,
        "av_offset_frames": sync,
        "ssim": "pixels-v1",
        "aperture_truth_corr": "aperture-v1",
    }
    clip = {value.metric: value.backend for value in scored.values}
    assert clip.items() >= expected.items()
    expected |= {f: f"{n}@sha256:{digest[n]}" for f, n in (("fid", "inception-v3-fid"), ("fvd", "i3d-400"))}
    assert {value.metric: value.backend for value in whole.values}.items() >= expected.items()


def test_known_answers_of_learned_networks(scored: ItemResult, whole: SetResult) -> None:
    oracle, stranger = (
        {value.metric: value.value for value in scored.values if value.system == system}
        for system in ("oracle", "stranger")
    )
    assert (oracle["lpips"], oracle["mouth_lpips"], oracle["csim"]) == (0.0, 0.0, pytest.approx(1.0))
    assert stranger["lpips"] > 0.01
    assert stranger["mouth_lpips"] > 0.01
    assert stranger["csim"] < 0.9999
    assert stranger["sync_d"] != oracle["sync_d"]
    distances = {value.metric: value.value for value in whole.values if value.num_vectors is not None}
    for metric, kind, width in (("fid", "image", 2048), ("fvd", "video", 400)):
        truth, features = scored.truth_features[kind], scored.features["stranger"][kind]
        assert truth.shape[1] == width
        assert distances[metric] > 0
        assert distances[metric] == pytest.approx(frechet_distance(truth, features), rel=1e-4)


def test_the_sets_do_not_share_finished_work(
    item: EvalItem, predictions: list[PredictionRecord], learned: Backends
) -> None:
    embedded = load_backends("embedded", {}, detector=None)
    assert item_key(item, predictions, PRECROPPED, learned) != item_key(
        item, predictions, PRECROPPED, embedded
    )
    shared = {"pixels", "aperture", "detector"}
    assert {kind for kind, name in learned.ids.items() if name == embedded.ids[kind]} == shared


def test_the_embedded_set_keeps_its_names() -> None:
    assert load_backends("embedded", {}, detector=None).ids == embedded_ids()
    assert load_backends("embedded", {}, detector=None, sync_expert="nano").ids == embedded_ids()


def test_another_sync_expert_alone(weights: Path) -> None:
    scorers = Scorers(sync_expert="syncnet-v2", weights=weights)
    files = find_files(scorers)
    assert list(files) == ["syncnet-v2"]
    ids = load_backends("embedded", files, detector=None, sync_expert=scorers.sync_expert).ids
    assert ids["sync expert"].startswith("syncnet-v2@sha256:")
    assert {**ids, "sync expert": load_sync_expert("nano").backend_id} == embedded_ids()
    assert needed_weights("learned", "nano") == list(LEARNED[:-1])


def test_all_missing_files_are_named_at_once(tmp_path: Path) -> None:
    spec = find_weight("i3d-400")
    spec.path(tmp_path).parent.mkdir()
    spec.path(tmp_path).touch()
    with pytest.raises(MissingWeightsError) as error:
        find_files(Scorers(networks="learned", detector="scrfd", weights=tmp_path))
    missing = [name for name in [*LEARNED, "scrfd-500m"] if name != "i3d-400"]
    with pytest.raises(MissingWeightsError) as all_of_them:
        require_all_weights(missing, tmp_path)
    assert str(error.value) == str(all_of_them.value)
    assert all(str(find_weight(name).path(tmp_path)) in str(error.value) for name in missing)
    assert find_files(Scorers(detector="scrfd", detector_model=tmp_path / "mine.onnx")) == {}


def test_a_file_of_another_network_is_refused(weights: Path) -> None:
    files = {name: find_weight(name).path(weights) for name in LEARNED}
    with pytest.raises(IncompatibleCheckpointError, match=r"alexnet.*expected 7be5be79"):
        load_backends("learned", files, detector=None)
    files["syncnet-v2"] = files["i3d-400"]
    with pytest.raises(IncompatibleCheckpointError, match="i3d_pretrained_400"):
        load_backends("learned", files, detector=None)


@pytest.mark.parametrize("networks", ["embedded", "learned"])
def test_unknown_names_list_the_known_ones(networks: str) -> None:
    with pytest.raises(BadInputError, match="known: embedded, learned"):
        load_backends(f"{networks}s", {}, detector=None)
    with pytest.raises(BadInputError, match=f"known: {', '.join(SYNC_EXPERTS.names)}"):
        load_backends(networks, {}, detector=None, sync_expert="wav2lip")


def test_scorers_travel_to_workers(tmp_path: Path) -> None:
    scorers = Scorers(networks="learned", sync_expert="nano", weights=tmp_path)
    assert pickle.loads(pickle.dumps(scorers)) == scorers
    assert hash(pickle.loads(pickle.dumps(scorers))) == hash(scorers)


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--networks", "learned"], 3, [f"`lipforcing weights fetch {' '.join(LEARNED)} --accept-licence`"]),
        (["--sync-expert", "syncnet-v2"], 3, ["lipforcing weights fetch syncnet-v2"]),
        (["--networks", "resnet"], 2, ["unknown set of networks 'resnet'; known: embedded, learned"]),
        (["--frames", "16"], 2, ["25"]),
    ],
)
def test_the_command_says_in_one_line_what_it_needs(
    tmp_path: Path, options: list[str], code: int, words: list[str]
) -> None:
    arguments = ["--workspace", str(tmp_path), "evaluate", "p.csv", "--items", "i.csv", *options]
    done = subprocess.run(
        [sys.executable, "-m", "apps.cli.main", *arguments],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == code, done.stderr
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("error:")
    assert all(word in line for word in words)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
