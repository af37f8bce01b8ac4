"""For researchers: a whole experiment from one TOML file, and its scores side by side.

Usage: python examples/run_experiment.py WORKSPACE [EXPERIMENT.toml]

The same runs from the command line as `lipforcing train-eval EXPERIMENT.toml`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from flows.catalogue import read_request_file, run_flow
from flows.summaries import TrainEvalSummary
from tasks.environment import configure


def main(workspace: Path, experiment: Path) -> None:
    """Run the experiment; a second run finds everything finished."""
    configure(workspace)
    summary = run_flow("train_eval", {**read_request_file(experiment), "workspace": workspace})
    assert isinstance(summary, TrainEvalSummary)
    for line in summary.scores:
        if line.metric in {"sync_c", "mouth_ssim"}:
            known = line.ci_low is not None and line.ci_high is not None
            interval = f"[{line.ci_low:.3f}, {line.ci_high:.3f}]" if known else "(no interval)"
            print(f"{line.system:<24} {line.metric:<12} {line.value:7.3f} {interval}")
    print(f"report: {summary.report}")


if __name__ == "__main__":
    if not 2 <= len(sys.argv) <= 3:
        sys.exit(__doc__)
    here = Path(__file__).with_name("experiment.toml")
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) == 3 else here)
