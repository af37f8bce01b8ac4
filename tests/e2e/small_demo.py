"""The demo on two reels, two held-out pairs and a handful of steps: ``python -m tests.e2e.small_demo WORKSPACE``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from tasks.environment import configure, make_prefect_home


def small_preset() -> Any:
    from lipforcing_core.presets import Preset, load_preset

    nano = load_preset("nano").model_dump(mode="json")
    for section, steps in (("base", 4), ("lora", 2), ("diffusion_forcing", 3)):
        nano[section] |= {"steps": steps, "checkpoint_every": 1, "batch_size": 2}
    nano["distill"]["critic_per_student"] = 2
    nano["distill"]["student"] |= {"steps": 1, "checkpoint_every": 1, "batch_size": 2}
    nano["schedule"] |= {"num_steps": 4, "sync_window_start": 1, "sync_window_stop": 3}
    return Preset.model_validate(nano)


def main(workspace: Path, videos: Path | None = None) -> Any:
    configure(workspace)
    make_prefect_home()
    from flows.demo import run_demo
    from tasks.corpus import CorpusSize
    from tasks.workspace import Workspace

    size = CorpusSize(num_reels=1, num_pairs=2, side=256)
    return run_demo(Workspace(workspace), videos=videos, corpus=size, preset=small_preset())


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)
