"""The benchmark flow: how fast a student's chunk and a teacher's clip are on random weights."""

from __future__ import annotations

from prefect import flow

from flows.request_models import BenchmarkRequest
from flows.summaries import BenchmarkSummary
from lipforcing_core import __version__
from lipforcing_core.base.products import write_json
from lipforcing_core.runtime.encoders import choose_device
from tasks.benchmark_rows import benchmark_rows, benchmark_run
from tasks.progress import step
from tasks.recording import say_what_to_do
from tasks.session import orchestration, run_folder
from tasks.settings import preset_of
from tasks.time_limit import limited
from tasks.warehousing import RunRows, load_if_possible
from tasks.workspace import Workspace, latest_link


@flow(
    name="benchmark", version=__version__, description=BenchmarkRequest.__doc__, on_failure=[say_what_to_do]
)
@limited
def benchmark(request: BenchmarkRequest) -> BenchmarkSummary:
    """Measure in this process, store every sample; each run is one of its own, since a clock is what it asks."""
    import torch

    from benchmarks.streaming import measure

    workspace, preset = Workspace(request.workspace), preset_of(request.preset)
    device = choose_device(request.device, preset)
    run = benchmark_run(preset, device, request.repeats)
    with orchestration(workspace, request.resources), run_folder(workspace, run) as folder:
        with step(f"time {preset.name} on {device}"):
            result = measure(preset, torch.device(device), request.repeats)
        write_json(folder / "result.json", result)
        rows = RunRows(workspace, run)
        rows.put("benchmark_samples", benchmark_rows(preset, result))
        rows.put_run()
        problem = load_if_possible(workspace)
        latest_link(folder)
        return BenchmarkSummary.of(run.run_id, folder, result, problem)
