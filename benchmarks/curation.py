"""CPU time, memory and disk of curation, beside LatentSync's recipe: ``python -m benchmarks.curation CLIP...``.

Both go through the same clips with the same detector, sync expert and quality scorer, in turns, in one fresh process
that has the environment of a worker. The absolute numbers belong to one machine; the ratio is what to compare. Without
a clip a puppet is rendered and enlarged. The least of all repeats is told, since other work can only add to it.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from benchmarks.recipe import CLIPS, Recipe, ffmpeg
from benchmarks.stages import CLIP_DECODE, DECODE, REST, Clocks, Stages
from benchmarks.timing import GIGABYTE, machine, positive, progress, publish
from lipforcing_core.base.errors import LipForcingError
from lipforcing_core.base.machine import usable_cpus
from lipforcing_core.base.process_environment import FAST_PROCESS
from lipforcing_core.base.products import StepStore
from lipforcing_core.curation.backends import CurationBackends, load_backends
from lipforcing_core.curation.pipeline import curate_source
from lipforcing_core.curation.records import SourceOutcome
from lipforcing_core.curation.settings import CurationSettings
from lipforcing_core.faces.detectors.catalogue import DETECTORS
from lipforcing_core.media.clock import FPS
from lipforcing_core.media.encode import VideoWriter, mux

TINY_SOURCES = 10
TINY_SIZE = 64
LOOK_S = 0.02
LARGE_S = 6
HASH = "hash of the source"
FOUR_K = ("h264 8 bit", "hevc 10 bit")

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What the command line asks for."""

    settings: CurationSettings
    repeats: int = 3
    skip_recipe: bool = False
    copies_25fps: bool = False
    four_k: bool = False


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, measure, print, and write the result file."""
    given = _parser().parse_args(arguments)
    for name, value in FAST_PROCESS.items():
        os.environ.setdefault(name, value)
    try:
        settings = CurationSettings(detector=given.detector, detector_model=given.detector_model)
        plan = Plan(
            settings=settings,
            repeats=given.repeats,
            skip_recipe=given.skip_recipe,
            copies_25fps=given.recipe_copies_25fps,
            four_k=given.four_k,
        )
        result = measure(given.clip, plan)
    except LipForcingError as error:
        raise SystemExit(f"error: {error}") from error
    print(report(result))
    publish(result, f"curation_{given.detector}", given.output)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("clip", type=Path, nargs="*", help="videos to curate; none renders a puppet")
    parser.add_argument("--detector", choices=DETECTORS.names, default="lbp", help="face detector of both")
    parser.add_argument("--detector-model", type=Path, help="model file of the detector")
    parser.add_argument("--repeats", type=positive, default=3, help="samples of each time")
    parser.add_argument("--skip-recipe", action="store_true", help="measure curation alone")
    parser.add_argument(
        "--recipe-copies-25fps",
        action="store_true",
        help="let the recipe copy the picture of a source of 25 fps, as its script does, instead of encoding it",
    )
    parser.add_argument("--four-k", action="store_true", help="measure the memory on enlarged clips, too")
    parser.add_argument(
        "--output", type=Path, default=Path("benchmarks/results"), help="folder for the result file"
    )
    return parser


def measure(clips: Sequence[Path], plan: Plan) -> dict[str, object]:
    """Everything that the benchmark measures, as a JSON value."""
    with tempfile.TemporaryDirectory(prefix="lipforcing-benchmark-") as scratch:
        work = Path(scratch)
        sources = [clip.resolve() for clip in clips] or [large_puppet(work / "puppet")]
        compared = [_in_fresh_process(compare, source, plan, work) for source in sources]
        progress(f"{TINY_SOURCES} tiny sources")
        per_source = _in_fresh_process(overhead, plan.settings, work)
        extents = {"as it is": _in_fresh_process(extent, sources[0], plan.settings, work)}
        for kind in FOUR_K if plan.four_k else ():
            progress(f"memory at 4K, {kind}")
            large = enlarged(sources[0], work / f"{kind.replace(' ', '-')}.mp4", ten_bit="10" in kind)
            extents[f"4K {kind}"] = _in_fresh_process(extent, large, plan.settings, work)
    return machine(torch.device("cpu")) | {
        "cores": usable_cpus(),
        "detector": plan.settings.detector,
        "recipe_reencodes_25fps": not plan.copies_25fps,
        "overhead_per_source": per_source,
        "clips": compared,
        "extents": extents,
    }


def _in_fresh_process(work: Callable[..., Result], *arguments: object) -> Result:
    spawning = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=spawning) as executor:
        return executor.submit(work, *arguments).result()


def compare(source: Path, plan: Plan, work: Path) -> dict[str, Any]:
    """Curation and the recipe on one clip, in turns; then the stages of curation."""
    one_thread()
    backends = load_backends(plan.settings)
    ours: list[dict[str, Any]] = []
    theirs: list[dict[str, Any]] = []
    watched: list[tuple[Stages, int]] = []
    for repeat in range(plan.repeats):
        progress(f"{source.name}: {repeat + 1} of {plan.repeats}")
        with tempfile.TemporaryDirectory(dir=work) as folder:
            ours.append(spent(partial(curated, source, Path(folder), plan.settings, backends)))
        with tempfile.TemporaryDirectory(dir=work) as folder:
            stages = Stages()
            with stages.attached():
                outcome = curated(source, Path(folder), plan.settings, backends)
            watched.append((stages, outcome.frames_in))
        if not plan.skip_recipe:
            theirs.append(_recipe(source, plan, backends, work))
    stages, frames = min(watched, key=lambda one: sum(s.cpu for s in one[0].seconds.values()))
    best = min(ours, key=lambda one: float(one["cpu_s"]))
    result = {
        "clip": source.name,
        "frames": frames,
        "curation": _per_second(best, frames)
        | {"source_passes": stages.source_frames / frames, "clip_passes": stages.clip_frames / frames},
        "stages": table(stages, frames),
        "limit": limit(stages, frames),
        "samples": {"curation": ours, "recipe": theirs},
    }
    if theirs:
        least = min(theirs, key=lambda one: float(one["cpu_s"]))
        result["recipe"] = _per_second(least, frames)
        result["recipe_over_curation_cpu"] = round(least["cpu_s"] / best["cpu_s"], 2)
        result["recipe_over_curation_wall"] = round(
            min(one["wall_s"] for one in theirs) / min(one["wall_s"] for one in ours), 2
        )
    return result


def one_thread() -> None:
    """Keep OpenCV to the calling thread, so that only the decoder has threads of its own."""
    import cv2

    cv2.setNumThreads(1)


def curated(
    source: Path, folder: Path, settings: CurationSettings, backends: CurationBackends
) -> SourceOutcome:
    """One source curated into an empty store."""
    return curate_source(
        source, settings=settings, backends=backends, store=StepStore(folder), root=source.parent
    )


def _recipe(source: Path, plan: Plan, backends: CurationBackends, work: Path) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(dir=work) as folder:
        recipe = Recipe(Path(folder), backends, copies_25fps=plan.copies_25fps)
        sample = spent(partial(recipe.run, source))
        written = _bytes_below(Path(folder))
        products = _bytes_below(Path(folder) / CLIPS)
    return sample | {
        "clips": len(recipe.clips),
        "source_frames": recipe.source_frames,
        "clip_frames": recipe.clip_frames,
        "beside_over_source": round((written - products) / source.stat().st_size, 4),
    }


def spent(work: Callable[[], object]) -> dict[str, Any]:
    """CPU seconds of this process and of the children that it waited for, and wall seconds."""
    started, before = time.perf_counter(), _cpu_s()
    work()
    return {"cpu_s": _cpu_s() - before, "wall_s": time.perf_counter() - started}


def _cpu_s() -> float:
    whose = (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in whose)


def _per_second(sample: dict[str, Any], frames: int) -> dict[str, Any]:
    """A sample with CPU seconds a second of video, and passes instead of frames."""
    told = {key: value for key, value in sample.items() if not key.endswith("_frames")}
    passes = {
        key.replace("_frames", "_passes"): value / frames
        for key, value in sample.items()
        if key.endswith("_frames")
    }
    return told | passes | {"cpu_s_per_s": round(sample["cpu_s"] * float(FPS) / frames, 3)}


def table(stages: Stages, frames: int) -> list[dict[str, Any]]:
    """One row a stage, the most expensive first: CPU milliseconds a frame, frames a second of one core, and share."""
    total = sum(spent.cpu for spent in stages.seconds.values())
    rows = sorted(stages.seconds.items(), key=lambda item: -item[1].cpu)
    return [
        {
            "stage": name,
            "cpu_ms_per_frame": round(1000 * spent.cpu / frames, 3),
            "frames_per_s": round(frames / spent.cpu, 1) if spent.cpu else None,
            "share": round(spent.cpu / total, 4),
            "limit": _holds_up(name, spent),
        }
        for name, spent in rows
    ]


def _holds_up(name: str, spent: Clocks) -> str:
    """Which threads a stage spends its time in."""
    if spent.caller >= spent.others:
        return "the calling thread"
    return "threads of the decoder" if name in (DECODE, CLIP_DECODE) else "threads of its own"


def limit(stages: Stages, frames: int) -> str:
    """What holds curation up, in one sentence: the calling thread, or the cores of this machine."""
    caller_s = sum(spent.caller for spent in stages.seconds.values())
    cpu_s = sum(spent.cpu for spent in stages.seconds.values())
    cores = usable_cpus()
    one, all_cores = frames / caller_s, frames * cores / cpu_s
    if one < all_cores:
        return f"the calling thread: {one:.0f} frames/s, while {cores} cores could do {all_cores:.0f}"
    return f"the {cores} cores: {all_cores:.0f} frames/s, while the calling thread could do {one:.0f}"


def overhead(settings: CurationSettings, work: Path) -> dict[str, float]:
    """Milliseconds a source that are neither decoding nor inference: looking, hashing, storing, deciding.

    Measured on sources of one second whose other stages are told apart; the least of two rounds.
    """
    one_thread()
    backends = load_backends(settings)
    sources = tiny_sources(work / "tiny")
    rounds = []
    for _ in range(2):
        with tempfile.TemporaryDirectory(dir=work) as folder:
            stages = Stages()
            with stages.attached():
                for source in sources:
                    curated(source, Path(folder), settings, backends)
            rounds.append(stages.seconds[REST].plus(stages.seconds[HASH]))
    return {
        "cpu_ms": round(1000 * min(spent.cpu for spent in rounds) / len(sources), 2),
        "wall_ms": round(1000 * min(spent.wall for spent in rounds) / len(sources), 2),
    }


def extent(source: Path, settings: CurationSettings, work: Path) -> dict[str, float]:
    """Peak memory of this process, which must be a fresh one, and most bytes beside the products on the way."""
    one_thread()
    backends = load_backends(settings)
    idle = _peak_memory()
    with tempfile.TemporaryDirectory(dir=work) as name:
        folder = Path(name)
        with _most_bytes_below(folder) as most:
            curated(source, folder, settings, backends)
        products = sum(path.stat().st_size for path in folder.rglob("*") if _is_product(path))
    return {
        "peak_memory_gb": round(_peak_memory() / GIGABYTE, 3),
        "of_it_before_the_source_gb": round(idle / GIGABYTE, 3),
        "beside_over_source": round((max(most) - products) / source.stat().st_size, 4),
    }


def _peak_memory() -> int:
    """Bytes. Unlike ``ru_maxrss`` this does not count what the process was forked from."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        in_bytes = sys.platform == "darwin"
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if in_bytes else 1024)
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def _is_product(path: Path) -> bool:
    """Whether a file of the store is one that a clip consists of."""
    return path.suffix in (".mp4", ".npz") or path.name == "audio.wav"


@contextmanager
def _most_bytes_below(folder: Path) -> Iterator[list[int]]:
    """The bytes below a folder as a thread sees them every few milliseconds; complete when the block is left."""
    seen = [0]
    done = threading.Event()

    def look() -> None:
        while not done.wait(LOOK_S):
            seen.append(_bytes_below(folder))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()
        seen.append(_bytes_below(folder))


def _bytes_below(folder: Path) -> int:
    total = 0
    for inside, _, names in os.walk(folder):  # which passes over folders that vanish meanwhile
        for name in names:
            with suppress(FileNotFoundError):
                total += Path(inside, name).stat().st_size
    return total


def large_puppet(folder: Path, *, seconds: int = LARGE_S, size: int = 1080) -> Path:
    """A talking puppet, drawn small and enlarged; by default as wide as a 1080p video is high."""
    from lipforcing_core.puppets.portraits import portrait_names
    from lipforcing_core.puppets.recording import ClipPlan, Shot, render_clip
    from lipforcing_core.puppets.rig import PuppetScript

    script = PuppetScript(portrait=portrait_names()[0], seed=1, num_frames=seconds * int(FPS))
    small, large = folder / "small.mp4", folder / "puppet.mp4"
    progress("rendering a puppet")
    render_clip(small, ClipPlan(kind="bench", seed=1, shots=(Shot(script=script, speech_seed=1),)))
    _rescale(small, large, f"scale={size}:{size}:flags=lanczos", "libx264", "yuv420p")
    return large


def enlarged(source: Path, large: Path, *, ten_bit: bool) -> Path:
    """The beginning of a clip at 4K: its longer side 3840 pixels; H.264 of 8 bit or HEVC of 10 bit.

    Memory is at its most after a few seconds, since frames wait for a bounded time.
    """
    codec, pixels = ("libx265", "yuv420p10le") if ten_bit else ("libx264", "yuv420p")
    longer = "scale='if(gt(iw,ih),3840,-2)':'if(gt(iw,ih),-2,3840)'"
    return _rescale(source, large, longer, codec, pixels)


def _rescale(source: Path, out: Path, scaling: str, codec: str, pixels: str) -> Path:
    picture = ("-vf", scaling, "-c:v", codec, "-preset", "ultrafast", "-pix_fmt", pixels)
    ffmpeg("-i", source, "-t", LARGE_S, *picture, "-c:a", "copy", out)
    return out


def tiny_sources(folder: Path) -> list[Path]:
    """Videos of one second, all different, with sound and without a face."""
    rng = np.random.default_rng(0)
    sources = []
    for number in range(TINY_SOURCES):
        source, picture = folder / f"{number}.mp4", folder / f"picture-{number}.mp4"
        with VideoWriter(picture, width=TINY_SIZE, height=TINY_SIZE, frame_rate=Fraction(FPS)) as writer:
            for _ in range(int(FPS)):
                writer.write(np.full((TINY_SIZE, TINY_SIZE, 3), rng.integers(256), dtype=np.uint8))
        mux(picture, rng.uniform(-0.1, 0.1, 16000), source)
        sources.append(source)
    return sources


def report(result: dict[str, Any]) -> str:
    """The measurements of every clip as a table."""
    lines = []
    for clip in result["clips"]:
        lines += ["", f"{clip['clip']}: {clip['frames']} frames"]
        for name in ("curation", "recipe"):
            if name in clip:
                lines.append(f"  {name:10}" + _line(clip[name]))
        if "recipe" in clip:
            ratio = clip["recipe_over_curation_cpu"], clip["recipe_over_curation_wall"]
            lines.append("  the recipe takes {} times the CPU and {} times the time".format(*ratio))
        lines.append(f"  {'stage':24}{'ms/frame':>10}{'frames/s':>10}{'share':>8}  limit")
        for row in clip["stages"]:
            speed = "-" if row["frames_per_s"] is None else f"{row['frames_per_s']:.0f}"
            lines.append(
                f"  {row['stage']:24}{row['cpu_ms_per_frame']:10.3f}{speed:>10}{row['share']:8.1%}  {row['limit']}"
            )
        lines.append(f"  limit: {clip['limit']}")
    over = result["overhead_per_source"]
    lines += ["", "overhead a source: {cpu_ms} ms of CPU, {wall_ms} ms".format(**over)]
    for name, extents in result["extents"].items():
        lines.append(
            f"{name:16} {extents['peak_memory_gb']:.2f} GB at most "
            f"({extents['of_it_before_the_source_gb']:.2f} before the source), "
            f"{extents['beside_over_source']:.1%} of the source on disk beside the products"
        )
    return "\n".join([*lines, ""])


def _line(sample: dict[str, Any]) -> str:
    words = [f"{sample['cpu_s_per_s']:.3f} CPU s a second of video", f"{sample['wall_s']:.1f} s"]
    words.append(f"decodes {sample['source_passes']:.2f} x source, {sample['clip_passes']:.2f} x clip")
    if "beside_over_source" in sample:
        words.append(f"writes {sample['beside_over_source']:.0%} of the source beside the products")
    return ", ".join(words)


if __name__ == "__main__":
    main()
