"""A small, plausible inbox: one run with every kind of row. The numbers are made up and live only here."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from warehouse.inbox import write_rows
from warehouse.loader import load

DATASET = "puppets-heldout@3f2a"
PROTOCOL = "aligned-512@a1b2"
SYNC = "syncnet-nano-v1@sha256:0123456789ab"
IMAGE = "random-conv-v1@seed0"

METRICS = [
    # metric, label, unit, higher is better, published name, wall clock, backend, steps of quality by system
    ("sync_c", "Sync-C", None, True, "Sync-C", False, SYNC),
    ("sync_d", "Sync-D", None, False, "Sync-D", False, SYNC),
    ("aperture_corr", "Aperture-envelope r", None, True, None, False, "aperture-v1"),
    ("ssim", "SSIM", None, True, "SSIM", False, "skimage-0.26"),
    ("fid", "FID", None, False, "FID", False, IMAGE),
    ("fps", "FPS", "frames/s", True, "FPS", True, "clock"),
    ("ttff_s", "TTFF", "s", False, "TTFF", True, "clock"),
]
SYSTEMS = {
    "source": ("control", "Copied source", [1.9, 9.4, -0.08, 0.962, 4.1, None, None]),
    "teacher": ("teacher", "Teacher, 50 steps", [5.2, 6.6, 0.71, 0.921, 18.0, 1.9, 17.4]),
    "pretrained": ("student", "Pretrained student", [4.1, 7.6, 0.52, 0.917, 21.5, 38.0, 0.31]),
    "distilled": ("student", "Distilled student", [5.0, 6.9, 0.66, 0.912, 22.9, 38.4, 0.30]),
    "distilled_unrelated": (
        "control",
        "Distilled, unrelated audio",
        [1.6, 9.6, -0.03, 0.911, 23.1, None, None],
    ),
}
PAIRS = [
    ("distilled", "source"),
    ("distilled", "distilled_unrelated"),
    ("distilled", "pretrained"),
    ("pretrained", "teacher"),
]


def fill_inbox(root: Path, run_id: str = "demo-0001", *, shift: float = 0.0, wall: float = 1.0) -> Path:
    """Write one run. ``shift`` moves every score, ``wall`` scales everything a clock measures."""
    write_rows(root, "runs", run_id, "run", [_run(wall)])
    write_rows(root, "datasets", run_id, "heldout", [_dataset()])
    write_rows(root, "systems", run_id, "systems", [_system(name) for name in SYSTEMS])
    write_rows(root, "metrics", run_id, "registry", [_metric(row) for row in METRICS])
    write_rows(
        root,
        "protocols",
        run_id,
        "protocol",
        [{"protocol_id": PROTOCOL, "description": "aligned crops, lossless", "crop_mode": "aligned_512"}],
    )
    place = {"dataset_id": DATASET, "protocol_id": PROTOCOL}
    for name in SYSTEMS:
        write_rows(root, "metric_values", run_id, f"system-{name}", _scores(name, shift, wall), fill=place)
    write_rows(root, "paired_differences", run_id, "pairs", _differences(), fill=place)
    reels = {"dataset_id": "puppet-reels@77aa"}
    write_rows(root, "curation_decisions", run_id, "shard-0", _decisions(), fill=reels)
    write_rows(root, "funnel", run_id, "funnel", _funnel(), fill=reels)
    write_rows(root, "training_steps", run_id, "all", _curves())
    write_rows(root, "stage_timings", run_id, "all", _timings(wall))
    return root


@pytest.fixture(autouse=True)
def _encodings(encodings_are_named: Callable[[str], None]) -> None:
    encodings_are_named("warehouse")


@pytest.fixture(scope="session")
def shared_inbox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An inbox with one run, for reading."""
    return fill_inbox(tmp_path_factory.mktemp("shared") / "inbox")


@pytest.fixture
def inbox(shared_inbox: Path, tmp_path: Path) -> Path:
    """An inbox with one run, of the test's own."""
    return Path(shutil.copytree(shared_inbox, tmp_path / "inbox"))


@pytest.fixture
def fill() -> Callable[..., Path]:
    """The function that writes a run into an inbox."""
    return fill_inbox


@pytest.fixture(scope="session")
def snapshot(shared_inbox: Path) -> Path:
    """A warehouse loaded from the inbox, for reading."""
    return load(shared_inbox, shared_inbox.parent / "warehouse.duckdb").path


def _run(wall: float) -> dict[str, object]:
    return {
        "flow": "demo",
        "status": "completed",
        "preset": "nano",
        "seed": 0,
        "code_version": "0.1.0",
        "started_at": "2026-01-02T03:04:05+01:00",
        "host": f"machine {wall}",
    }


def _dataset() -> dict[str, object]:
    return {
        "dataset_id": DATASET,
        "name": "puppets-heldout",
        "version": "3f2a",
        "num_clips": 12,
        "commercial_ok": True,
    }


def _system(name: str) -> dict[str, object]:
    kind, label, _ = SYSTEMS[name]
    steps = {"teacher": 50, "student": 2}.get(kind)
    return {"system": name, "kind": kind, "label": label, "variant": "nano", "num_steps": steps}


def _metric(row: tuple) -> dict[str, object]:
    metric, label, unit, higher, published, wall_clock, _ = row
    return {
        "metric": metric,
        "label": label,
        "definition": f"{label}, as made up for tests.",
        "unit": unit,
        "higher_is_better": higher,
        "published_name": published,
        "is_wall_clock": wall_clock,
    }


def _scores(name: str, shift: float, wall: float) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for (metric, _, _, _, _, wall_clock, backend), value in zip(METRICS, SYSTEMS[name][2], strict=True):
        if value is None:
            continue
        value = value * wall if wall_clock else value + shift
        spread = 0.06 * abs(value) + 0.02
        row = {"system": name, "metric": metric, "backend": backend}
        rows.append(
            {
                **row,
                "value": value,
                "n": 12,
                "ci_low": value - spread,
                "ci_high": value + spread,
                "num_identities": 4,
            }
        )
        if metric == "sync_c":
            clips = np.linspace(value - 0.5, value + 0.5, 12)
            rows += [
                {**row, "clip_id": f"clip-{index:02d}", "value": float(v), "n": 1}
                for index, v in enumerate(clips)
            ]
    return rows


def _differences() -> list[dict[str, object]]:
    rows = []
    for a, b in PAIRS:
        for index, (metric, *_, backend) in enumerate(METRICS):
            first, second = SYSTEMS[a][2][index], SYSTEMS[b][2][index]
            if first is None or second is None:
                continue
            spread = 0.5 if metric.startswith("sync") else 0.05 * max(1.0, abs(first))
            rows.append(
                {
                    "system_a": a,
                    "system_b": b,
                    "metric": metric,
                    "difference": first - second,
                    "ci_low": first - second - spread,
                    "ci_high": first - second + spread,
                    "n": 12,
                    "backend": backend,
                }
            )
    return rows


def _decisions() -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for index in range(20):
        rows.append(
            {
                "source_id": f"reel{index // 3}",
                "source_name": f"reel_{index // 3:02d}.mp4",
                "segment_start_s": index % 3 * 6.48,
                "segment_stop_s": index % 3 * 6.48 + 6.48,
                "decision": "accepted",
                "stage": "quality",
                "seconds": 6.48,
            }
        )
    losses = [
        ("blurred.mp4", "rejected", "quality_low", "quality", 61.2, 50.0, 6.48, ""),
        ("no_face.mp4", "rejected", "no_face", "face", 0.0, 0.9, 6.48, ""),
        ("no_audio.mp4", "rejected", "no_audio", "sound", None, None, 6.48, ""),
        ("short.mp4", "rejected", "too_short", "length", 2.4, 5.0, 2.4, ""),
        ("truncated.mp4", "quarantined", "truncated", "decode", None, None, None, "moov atom not found <br>"),
    ]
    for name, decision, reason, stage, measured, threshold, seconds, message in losses:
        rows.append(
            {
                "source_id": name.split(".")[0],
                "source_name": name,
                "decision": decision,
                "reason": reason,
                "stage": stage,
                "measured_value": measured,
                "threshold": threshold,
                "seconds": seconds,
                "message": message,
                "backend": "piqe-pyiqa0.1.16" if reason == "quality_low" else None,
            }
        )
    return rows


def _funnel() -> list[dict[str, object]]:
    counts = [("decode", 25, 24), ("sound", 24, 23), ("length", 23, 22), ("face", 22, 21), ("sync", 21, 21)]
    counts.append(("quality", 21, 20))
    return [
        {
            "stage": stage,
            "position": position,
            "unit": "segments",
            "num_in": entered,
            "num_out": left,
            "seconds_in": 6.48 * entered,
            "seconds_out": 6.48 * left,
        }
        for position, (stage, entered, left) in enumerate(counts)
    ]


def _curves() -> list[dict[str, object]]:
    generator = np.random.default_rng(0)
    rows = []
    for stage, names, steps in (
        ("teacher", ("loss",), 300),
        ("pretrain", ("loss",), 300),
        ("distill", ("dmd_loss", "critic_loss", "reward"), 120),
    ):
        for name in names:
            for step in range(1, steps + 1):
                value = 0.2 + math.exp(-step / (0.3 * steps)) + 0.05 * float(generator.normal())
                rows.append({"stage": stage, "step": step, "name": name, "value": value})
        rows += [{"stage": stage, "step": step, "name": "step_s", "value": 0.4} for step in (1, 2)]
    return rows


def _timings(wall: float) -> list[dict[str, object]]:
    stages = [
        ("render puppets", 41.0),
        ("curate", 98.0),
        ("train teacher", 190.0),
        ("pretrain student", 140.0),
    ]
    stages += [("distil student", 170.0), ("generate", 55.0), ("evaluate", 61.0), ("report", 4.0)]
    return [
        {"stage": stage, "item": "all", "position": i, "wall_s": wall * s, "reused": stage == "curate"}
        for i, (stage, s) in enumerate(stages)
    ]
