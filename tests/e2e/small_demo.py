"""The demo on two reels, two held-out pairs and a handful of steps: ``python -m tests.e2e.small_demo WORKSPACE``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from apps.cli.progress import TerminalReporter
from tasks.environment import configure
from tasks.progress import report_to


def small_preset() -> Any:
    from lipforcing_core.presets import Preset, load_preset

    nano = load_preset("nano").model_dump(mode="json")
    for section, steps in (("lora", 2), ("diffusion_forcing", 3)):
        nano[section] |= {"steps": steps, "checkpoint_every": 1, "batch_size": 2}
    nano["distill"]["critic_per_student"] = 2
    nano["distill"]["student"] |= {"steps": 1, "checkpoint_every": 1, "batch_size": 2}
    nano["schedule"] |= {"num_steps": 4, "sync_window_start": 1, "sync_window_stop": 3}
    return Preset.model_validate(nano)


def small_request(workspace: Path, videos: Path | None = None) -> Any:
    from flows.request_models import demo_request

    return demo_request(
        workspace,
        videos=videos,
        corpus={"kind": "puppets", "num_reels": 1, "num_pairs": 2, "side": 256},
        preset=small_preset().model_dump(mode="json"),
    )


def main(workspace: Path, videos: Path | None = None) -> Any:
    configure(workspace)
    report_to(TerminalReporter())
    from apps.cli.show import show
    from flows.catalogue import run_flow

    summary = run_flow("train_eval", small_request(workspace, videos))
    show(summary)
    return summary


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)
