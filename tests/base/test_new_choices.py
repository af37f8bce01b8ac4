"""The price of a new implementation: its file, one entry, and with weights one line of the registry; nothing else.

A fresh process adds fake entries to the tables before anything reads them, as an edit of the tables would, and asks
the rest of the house what it knows of them.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Any

import pytest
import torch

from lipforcing_core.base.catalogue import either
from lipforcing_core.metrics.measures.catalogue import MEASURES
from lipforcing_core.quality.catalogue import QUALITY_SCORERS
from lipforcing_core.seams.catalogues import all_seams
from lipforcing_core.sync.experts.catalogue import SYNC_EXPERTS
from lipforcing_core.training.strategies.catalogue import STRATEGIES

ASK = """
import dataclasses, json, sys
from pathlib import Path

from lipforcing_core.faces.detectors import catalogue as detectors
from lipforcing_core.quality import catalogue as scorers
from lipforcing_core.sync.experts import catalogue as experts
from lipforcing_core.weights import registry


def extend(catalogue, *entries):
    object.__setattr__(catalogue, "entries", (*catalogue.entries, *entries))


def loader(label):  # what a file of an implementation holds
    return lambda *arguments: (label, [str(getattr(a, "path", a)) for a in arguments[:1]])


extend(
    detectors.DETECTORS,
    detectors.DetectorEntry(name="fake-boxes", summary="one box", load=loader("boxes")),
    detectors.DetectorEntry(
        name="fake-onnx", summary="one box, from a file", weights=("fake-weights",), files=("fake.onnx",),
        licence="nobody but us", load=lambda files, rule: ("onnx", [file.path.name for file in files], rule.min_width),
    ),
)
extend(
    experts.SYNC_EXPERTS,
    experts.SyncExpertEntry(
        name="fake-sync", summary="always in sync", weights=("fake-weights",), files=("fake.onnx",),
        load=loader("sync"), knows_people=True,
    ),
)
extend(
    scorers.QUALITY_SCORERS,
    scorers.QualityEntry(name="fake-eye", summary="likes all", load=loader("eye"), best=1, worst=0, threshold=0.25),
)
FAKE = registry.WeightSpec(
    name="fake-weights", files=(registry.WeightFile(path="fakes/fake.onnx"),), source="a friend",
    page="https://example.org/fakes", size_mb=7, licence="nobody but us", commercial_ok=False, used_by="the fakes",
)
known = registry.all_weights()
registry.all_weights = lambda: (*known, FAKE)

from typer.testing import CliRunner

from apps.cli.doctor import choices_finding, examine
from apps.cli.main import app
from lipforcing_core.base.errors import LipForcingError
from lipforcing_core.curation.backends import load_backends, require_backends
from lipforcing_core.curation.settings import CurationSettings
from lipforcing_core.presets import Preset, load_preset
from tasks.evaluation import Scorers, find_files
from tasks.training import reward_file
from tasks.workspace import Workspace

folder = Path(sys.argv[1])
seams = (detectors.DETECTORS, experts.SYNC_EXPERTS, scorers.QUALITY_SCORERS)


def told(call, *arguments, **named):
    try:
        return call(*arguments, **named)
    except LipForcingError as error:
        return f"{type(error).__name__}: {error}"


def help_of(command):
    return " ".join(CliRunner(env={"COLUMNS": "400"}).invoke(app, [command, "--help"]).output.split())


values = load_preset("nano").model_dump()
values["backends"]["sync"] = "fake-sync"
preset = Preset.model_validate(values)
chosen = dict(detector="fake-onnx", sync_expert="fake-sync", quality="fake-eye")
here = folder / "fakes" / "fake.onnx"
here.parent.mkdir()
answers = {
    "help": {command: help_of(command) for command in ("curate", "generate", "evaluate")},
    "settings": {name: field.description for name, field in CurationSettings.model_fields.items()},
    "threshold": CurationSettings(**chosen).quality_threshold,
    "off the scale": told(CurationSettings.from_mapping, {"quality": "fake-eye", "quality_threshold": 2}),
    "unknown": [told(CurationSettings.from_mapping, {key: "nothing"}) for key in chosen],
    "doctor": [choices_finding(catalogue, Workspace(folder.parent)).detail for catalogue in seams],
    "missing": told(require_backends, CurationSettings(**chosen)),
    "missing in the folder": told(Workspace(folder.parent).detector_model, "fake-onnx", None),
    "missing of evaluate": told(find_files, Scorers(detector="fake-onnx", weights=folder)),
    "missing reward": told(reward_file, preset, folder),
    "without a file": told(detectors.load_detector, "fake-boxes", Path("own.onnx")),
}
here.write_bytes(b"weights")
loaded = load_backends(CurationSettings(**chosen, detector_model=here, sync_weights=here))
answers["loaded"] = [loaded.detector, loaded.sync_expert, loaded.quality, detectors.load_detector("fake-boxes")]
answers["found"] = [str(Workspace(folder.parent).detector_model("fake-onnx", None)), str(reward_file(preset, folder))]
answers["found by evaluate"] = list(find_files(Scorers(detector="fake-onnx", weights=folder)))
answers["doctor then"] = [choices_finding(catalogue, Workspace(folder.parent)).detail for catalogue in seams]
answers["doctor's lines"] = {finding.subject: finding.detail for finding in examine(Workspace(folder.parent))}
print(json.dumps(answers))
"""

pytestmark = pytest.mark.timeout(600)  # a busy machine takes long to import everything


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("weights") / "weights"
    folder.mkdir()
    command = [sys.executable, "-c", ASK, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) | {"folder": folder}


def test_help_texts_name_it(answers: dict[str, Any]) -> None:
    for command, text in answers["help"].items():
        assert re.search(r"Face detector: lbp, .*, fake-boxes or fake-onnx\.", text), command
        assert "fake-onnx: fake.onnx" in text, command
    assert f"Sync expert: {either((*SYNC_EXPERTS.names, 'fake-sync'))}." in answers["help"]["evaluate"]
    for_people = [entry.name for entry in SYNC_EXPERTS if entry.knows_people]
    assert f"for real people give {either((*for_people, 'fake-sync'))}." in answers["help"]["curate"]


def test_settings_describe_and_check_it(answers: dict[str, Any]) -> None:
    described = answers["settings"]
    assert "fake-boxes or fake-onnx" in described["detector"]
    assert "fake-sync: fake.onnx" in described["sync_weights"]
    assert either((*QUALITY_SCORERS.names, "fake-eye")) in described["quality"]
    assert "fake-eye: 1 is best, 0 is worst, 0.25 is usual" in described["quality_threshold"]
    assert answers["threshold"] == 0.25
    assert "quality_threshold (2) is not on the scale of fake-eye" in answers["off the scale"]
    for message, last in zip(answers["unknown"], ("fake-onnx", "fake-sync", "fake-eye"), strict=True):
        assert message.startswith("BadInputError: curation settings: ")
        assert f", {last} (got 'nothing')" in message


def test_doctor_tells_what_it_waits_for(answers: dict[str, Any]) -> None:
    boxes, sync, quality = answers["doctor"]
    assert re.match("ready: lbp, .*fake-boxes; scrfd ", boxes)
    assert boxes.endswith("; fake-onnx (licence: nobody but us) needs fake-weights")
    assert re.fullmatch(
        "ready: nano(, [^;]*)?; syncnet-v2 needs syncnet-v2;( .*;)? fake-sync needs fake-weights", sync
    )
    assert "; hyperiqa " in quality
    assert ", fake-eye; " in quality
    assert ", fake-onnx (licence: nobody but us); " in answers["doctor then"][0]
    ready, first, *_ = answers["doctor then"][1].split("; ")
    assert re.fullmatch("ready: nano, (.*, )?fake-sync", ready)
    assert first == "syncnet-v2 needs syncnet-v2"


def test_doctor_has_a_line_for_every_seam(answers: dict[str, Any]) -> None:
    lines = answers["doctor's lines"]
    assert answers["doctor then"][0] == lines["face detectors"]
    for plural in (
        "presets",
        "base checkpoints",
        "video codecs",
        "audio encoders",
        "text encoders",
        "sync experts",
        "corpora",
    ):
        assert lines[plural].startswith("ready: ")
    for plural in ("quality scorers", "feature networks", "perceptual distances"):
        assert lines[plural].startswith("ready: ")
    assert lines["measures"] == f"{len(MEASURES.names)} are ready"
    if torch.cuda.is_available():
        assert lines["training strategies"].startswith("ready: cpu, cuda, sharded, sharded-cpu")
    else:
        without = "ready: cpu, sharded-cpu; cuda needs a CUDA device; sharded needs a CUDA device"
        assert lines["training strategies"].startswith(without)
    assert all(name in lines["training strategies"] for name in STRATEGIES.names)
    assert set(lines) >= {seam.catalogue.plural for seam in all_seams()}


def test_missing_weights_are_said_with_the_way_to_get_them(answers: dict[str, Any]) -> None:
    missing = answers["missing"]
    assert missing.startswith("MissingWeightsError: 2 checkpoints are needed and not here")
    assert "get fake.onnx (7 MB; licence: nobody but us) by hand from https://example.org/fakes" in missing
    assert "use 'lbp', which needs no file" in missing
    assert "sync_weights in the [curation] table" in missing
    for call in ("missing in the folder", "missing of evaluate", "missing reward"):
        assert "MissingWeightsError" in answers[call], call
        assert f"{answers['folder']}/fakes/fake.onnx does not exist" in answers[call], call
    assert "backends.sync = 'fake-sync' in preset nano" in answers["missing reward"]
    assert "'fake-boxes' takes no file, but own.onnx was given" in answers["without a file"]


def test_it_is_found_and_loaded(answers: dict[str, Any]) -> None:
    path = f"{answers['folder']}/fakes/fake.onnx"
    assert answers["loaded"] == [
        ["onnx", ["fake.onnx"], 50.0],
        ["sync", [path]],
        ["eye", ["None"]],
        ["boxes", ["[]"]],
    ]
    assert answers["found"] == [path, path]
    assert answers["found by evaluate"] == ["fake-weights"]
