"""What a large corpus costs beside its work: ``python -m benchmarks.scale --sources 30000 --work-ms 0``.

The sources are names without files, and the two kinds of workers sleep instead of reading and measuring. All else is
what ``lipforcing curate`` does: shards, the conveyor over a local Ray, the tally, outcomes kept in the store, the data
set put together from them with its near-duplicates, contract and pages, and its rows in the warehouse. Every source has
three pieces, of which two become clips with random fingerprints and files of one byte.

Told are the time beyond that of the sleep, for each source and as a share of what a real source takes, and the memory
of this process, which is to stay below 500 MB, and of the process apart that puts a large data set together.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import psutil

from lipforcing_core.base.products import content_key, write_json
from lipforcing_core.curation.assemble import CurationReport
from lipforcing_core.curation.reasons import RejectReason
from lipforcing_core.curation.records import (
    ClipRecord,
    Decision,
    Scores,
    SourceFacts,
    SourceOutcome,
    Status,
    StoredClip,
)
from lipforcing_core.curation.results import FingerprintResult
from lipforcing_core.curation.settings import CurationSettings
from lipforcing_core.fingerprints.clips import ClipFingerprint
from lipforcing_core.fingerprints.picture import NUM_BLOCKS, STEP_FRAMES, PictureFingerprint
from lipforcing_core.fingerprints.sound import CODES_PER_S
from tasks.cluster import connect, disconnect, num_slots
from tasks.curation import Judged, Source, shards
from tasks.dispatch import Station, convey
from tasks.outcomes import keep_outcome
from tasks.resources import Need, Work
from tasks.tally import Tally
from tasks.together import LARGE, StoredOutcomes, put_together_where_it_fits
from tasks.warehousing import RunInfo, RunRows, load_if_possible
from tasks.workspace import Workspace

PIECES = 3
PIECE_FRAMES = 200
REAL_SOURCE_S = 36.0
"""CPU seconds of a source of a minute at 0.6 for each second of 1080p."""
LOOK_EVERY = 500


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, measure, print, and write the result file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--sources", type=int, default=2_000, help="how many")
    parser.add_argument(
        "--work-ms", type=float, default=0.0, help="sleep of each of the two kinds of workers"
    )
    parser.add_argument(
        "--output", type=Path, default=Path("benchmarks/results"), help="folder of the result file"
    )
    given = parser.parse_args(arguments)
    connect()
    try:
        with tempfile.TemporaryDirectory(prefix="scale-") as folder:
            result = measure(Path(folder), given.sources, given.work_ms / 1000)
    finally:
        disconnect()
    # Imported last: torch would be half of the memory that is measured, and curation does not need it here.
    import torch

    from benchmarks.timing import machine, publish

    publish(machine(torch.device("cpu")) | result, f"scale_{given.sources}", given.output)


def measure(folder: Path, num_sources: int, work_s: float) -> dict[str, float]:
    """Send the sources through, keep their outcomes, and make a data set of them."""
    workspace, process = Workspace(folder), psutil.Process()
    store = workspace.store
    sources = [Source(path=folder / f"{number:06d}.mp4", root=folder) for number in range(num_sources)]
    slots = num_slots(Need())
    convey(range(2 * slots), _stations(folder, 0.0))  # workers start, and load what they need
    before_mb = _megabytes(process)
    started, cpu_s = time.perf_counter(), time.process_time()
    shown = _Shown(process)
    tally = Tally(sources, shown)
    for shard in shards(tally.sources):
        told = [(source, int(source.path.stem)) for source in shard]
        made = convey(
            told,
            _stations(folder, work_s),
            is_final=lambda value: isinstance(value, Judged),
            on_done=partial(_tell, tally, shard),
            on_wait=tally.show,
        )
        for source, judged in zip(shard, made, strict=True):
            keep_outcome(store, _key(source), judged.outcome)
    wall_s, cpu_s = time.perf_counter() - started, time.process_time() - cpu_s
    scheduling_mb = max(shown.peak_mb, _megabytes(process))
    for number in range(num_sources):
        _write_products(store.root, outcome(number))
    started = time.perf_counter()
    report = _together(workspace, sources, folder / "data set")
    together_s, together_mb = time.perf_counter() - started, _peak_mb(resource.RUSAGE_SELF)
    rows = RunRows(workspace, RunInfo(run_id="curate-scale", flow="curate", config={}))
    rows.put_curation(report, "scale")
    rows.put_run()
    rows_mb = _peak_mb(resource.RUSAGE_SELF)
    load_if_possible(workspace, by_itself=num_sources >= LARGE)
    beyond_s = (wall_s - num_sources * 2 * work_s / slots) / num_sources
    return {
        "sources": num_sources,
        "slots": slots,
        "work_s_per_source": 2 * work_s,
        "wall_s": round(wall_s, 1),
        "driver_mb_before": round(before_mb),
        "driver_mb_while_scheduling": round(scheduling_mb),
        "driver_mb_peak_until_put_together": round(together_mb),
        "driver_mb_peak_until_rows_are_written": round(rows_mb),
        "driver_mb_peak_until_warehouse_is_loaded": round(_peak_mb(resource.RUSAGE_SELF)),
        "apart_mb_peak": round(_peak_mb(resource.RUSAGE_CHILDREN)),
        "together_s": round(together_s, 1),
        "clips": report.balance.clips,
        "contract_failures": len(report.contract.failures),
        "driver_cpu_ms_per_source": round(1000 * cpu_s / num_sources, 2),
        "wall_ms_per_source_beyond_work": round(1000 * beyond_s, 2),
        "overhead_of_a_real_source": round(beyond_s * slots / REAL_SOURCE_S, 5),
    }


def _together(workspace: Workspace, sources: Sequence[Source], folder: Path) -> CurationReport:
    """The data set of all sources, put together as ``curate`` does."""
    numbers = range(len(sources))
    outcomes = StoredOutcomes(
        store=workspace.store,
        keys=[_key(source) for source in sources],
        hashes=[f"{number:064x}" for number in numbers],
    )
    facts = {
        _name(number): SourceFacts(
            identity=f"person {number:06d}", licence="CC-BY-4.0", commercial_ok=True, split="train"
        )
        for number in numbers
    }
    report, _ = put_together_where_it_fits(
        outcomes,
        folder,
        CurationSettings(),
        facts=facts,
        folders={_name(number): sources[number].root for number in numbers},
        name="scale",
    )
    return report


def _write_products(root: Path, made: SourceOutcome) -> None:
    """What the clips of a source name in the store: files of one byte, and random fingerprints."""
    for clip in made.clips:
        for name in (clip.clip, clip.audio, clip.alignment):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(b"-")
        assert clip.fingerprint is not None, "every clip has one"
        rng = np.random.default_rng(int(clip.record.clip_id, 16))
        motion_TB = rng.normal(0, 8, (PIECE_FRAMES // STEP_FRAMES - 1, NUM_BLOCKS)).round().astype(np.int8)
        print_ = ClipFingerprint(
            picture=PictureFingerprint(look=int(rng.integers(2**63)), motion_TB=motion_TB),
            codes_N=rng.integers(0, 2**32, 8 * CODES_PER_S, dtype=np.uint32),
        )
        write_json(root / clip.fingerprint, FingerprintResult.of(print_).to_json())


def _tell(tally: Tally, shard: Sequence[Source], index: int, judged: Judged) -> None:
    tally.done(shard[index], judged)


def _stations(folder: Path, work_s: float) -> list[Station]:
    return [
        Station(function=partial(_read, work_s=work_s), name="read-nothing", work=Work.CLIPS),
        Station(
            function=partial(_judge, folder=folder, work_s=work_s), name="judge-nothing", work=Work.MEASURE
        ),
    ]


def _read(told: object, *, work_s: float) -> object:
    time.sleep(work_s)
    return told


def _judge(told: tuple[Source, int] | int, *, folder: Path, work_s: float) -> Judged:
    time.sleep(work_s)
    number = told if isinstance(told, int) else told[1]
    return Judged(outcome=outcome(number), costs={})


def outcome(number: int) -> SourceOutcome:
    """A source of three pieces, of which the first two became clips; every value is another for another number."""
    sha256 = f"{number:064x}"
    name = _name(number)
    scores = [_scores(number + piece / PIECES) for piece in range(PIECES)]
    clips = [
        StoredClip(
            record=_record(name, sha256, piece, scores[piece]),
            clip=f"read/{sha256[-16:]}/{piece}.mp4",
            audio=f"sync/{sha256[-16:]}/{piece}.wav",
            alignment=f"read/{sha256[-16:]}/{piece}.npz",
            fingerprint=f"fingerprint/{content_key(sha256, piece)}/result.json",
        )
        for piece in range(PIECES - 1)
    ]
    decisions = [
        Decision(
            source=name,
            source_id=sha256[-16:],
            level="segment",
            start_frame=piece * PIECE_FRAMES,
            stop_frame=(piece + 1) * PIECE_FRAMES,
            seconds=8.0,
            status=Status.ACCEPTED if piece < PIECES - 1 else Status.REJECTED,
            reason=None if piece < PIECES - 1 else RejectReason.SYNC_CONFIDENCE_LOW,
            clip_id=clips[piece].record.clip_id if piece < PIECES - 1 else None,
            scores=scores[piece],
        )
        for piece in range(PIECES)
    ]
    return SourceOutcome(
        source=name,
        source_id=sha256[-16:],
        sha256=sha256,
        frames_in=PIECES * PIECE_FRAMES,
        clips=tuple(clips),
        decisions=tuple(decisions),
    ).check_balance()


def _record(name: str, sha256: str, piece: int, scores: Scores) -> ClipRecord:
    clip_id = content_key(sha256, piece)
    return ClipRecord(
        clip_id=clip_id,
        source_id=sha256[-16:],
        source=name,
        source_sha256=sha256,
        shot=0,
        start_frame=piece * PIECE_FRAMES,
        stop_frame=(piece + 1) * PIECE_FRAMES,
        num_frames=PIECE_FRAMES,
        seconds=8.0,
        identity=f"person {sha256[-4:]}",
        licence="CC-BY-4.0",
        commercial_ok=True,
        split="train",
        clip_path=f"clips/{clip_id}.mp4",
        audio_path=f"clips/{clip_id}.wav",
        alignment_path=f"clips/{clip_id}.npz",
        clip_sha256=clip_id * 4,
        audio_sha256=clip_id[::-1] * 4,
        scores=scores,
        num_lossy_encodes=1,
    )


def _scores(number: float) -> Scores:
    """Scores within their limits, which differ from piece to piece."""
    value = number * 0.618 % 1
    return Scores(
        loudness_dbfs=value - 20,
        speech_share=0.5 + value / 2,
        longest_silence_s=value,
        snr_db=20 + value,
        clipping_share=value / 100,
        bandwidth_hz=7000 + value,
        modulation_4hz=value,
        activity_backend="silero-vad-5",
        detected_fraction=0.5 + value / 2,
        absent_frames=0,
        face_height_px=100 + value,
        num_faces=1,
        yaw_deg=20 * value,
        pitch_deg=20 * value - 10,
        lips_outside=0.0,
        mouth_likeness=0.5 + value / 2,
        longest_repeat_frames=1,
        repeated_fraction=value / 10,
        invented_frames=0,
        detector_backend="scrfd",
        sync_confidence=5 + value,
        sync_distance=7 + value,
        av_offset_measured=0,
        av_offset_applied=0,
        av_offset_remaining=0,
        sync_backend="syncnet-v2",
        quality=30 + value,
        quality_backend="piqe",
    )


def _key(source: Source) -> str:
    return content_key(source.path.name)


def _name(number: int) -> str:
    return f"{number:06d}.mp4"


def _peak_mb(whose: int) -> float:
    """The most memory that this process, or one of those that it has waited for, ever took."""
    return resource.getrusage(whose).ru_maxrss * 1024 / 1e6


def _megabytes(process: psutil.Process) -> float:
    return process.memory_info().rss / 1e6


class _Shown:
    """Where the tally tells how far it is; looks at the memory meanwhile."""

    def __init__(self, process: psutil.Process) -> None:
        self._process, self._looks = process, 0
        self.peak_mb = 0.0

    def __call__(self, done: int, total: int) -> None:
        self._looks += 1
        if self._looks % LOOK_EVERY == 0:
            self.peak_mb = max(self.peak_mb, _megabytes(self._process))
            print(f"{done}/{total} sources, {self.peak_mb:.0f} MB", file=sys.stderr, flush=True)

    def at_work(self, words: str) -> None:
        """The words are for people."""


if __name__ == "__main__":
    main()
