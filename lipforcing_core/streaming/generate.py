"""Files in, file out: re-sync a video to a speech track, streaming, in bounded memory."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from lipforcing_core.base.ledger import ChunkStages, Stage, StageLedger
from lipforcing_core.base.products import file_sha256, write_json
from lipforcing_core.faces.align import warp_face, warp_face_latentsync
from lipforcing_core.faces.choice import FaceChoice
from lipforcing_core.faces.detectors.protocol import FaceDetector
from lipforcing_core.faces.paste import paste_back
from lipforcing_core.media.encode import VideoWriter, mux
from lipforcing_core.models.audio_encoders.protocol import AudioEncoder
from lipforcing_core.streaming.clock import ChunkClock
from lipforcing_core.streaming.generators import ChunkGenerator, ChunkInput
from lipforcing_core.streaming.prepared import PreparedSource, prepared
from lipforcing_core.streaming.source import SourceFrame

ALIGNED_SIZE = 512


@dataclass(frozen=True, kw_only=True)
class GenerationReport:
    """What was generated, and the ledger of where the wall time went (``metrics.speed`` reads it).

    several_faces: a line for people where there was a choice of faces.
    """

    output: Path
    num_frames: int
    num_passed_through: int
    model_id: str
    ledger: StageLedger
    several_faces: str = ""


def generate_video(
    source: Path,
    audio: Path,
    output: Path,
    *,
    generator: ChunkGenerator,
    audio_encoder: AudioEncoder,
    detector: FaceDetector | None,
    choice: FaceChoice | None = None,
    seed: int = 42,
    on_progress: Callable[[int, int], None] | None = None,
) -> GenerationReport:
    """Write ``output``: ``source`` with its lips redrawn to ``audio``.

    Without a detector the source is a video of aligned crops. Of several faces the largest is redrawn, or the chosen
    one. Raises ``BadInputError`` for unusable inputs; nothing is left half-written.
    """
    with prepared(source, audio, output, detector=detector, choice=choice) as ready:
        return redraw(
            ready,
            output,
            generator=generator,
            audio_encoder=audio_encoder,
            seed=seed,
            on_progress=on_progress,
        )


def redraw(
    ready: PreparedSource,
    output: Path,
    *,
    generator: ChunkGenerator,
    audio_encoder: AudioEncoder,
    seed: int = 42,
    on_progress: Callable[[int, int], None] | None = None,
) -> GenerationReport:
    """Write ``output``: the lips of a source that was made ready, redrawn to its speech.

    The output has floor(25 x audio seconds) frames; a shorter source is ping-ponged. Frames without a face are
    passed through untouched. Beside the file a ``.provenance.json`` says that it is synthetic, by which model, from
    which source and which face of it. An audio encoder that listens to the whole clip runs once, before the first
    chunk; beside the waveform its features are all that grows with the clip. Nothing is left half-written.
    """
    started = time.perf_counter()
    waveform, num_frames, face = ready.waveform_S, ready.num_frames, ready.face
    generator.reset(seed)
    chunks: list[ChunkStages] = []
    passed_through = position = 0
    silent = ready.scratch / "video.mp4"
    setup_s = {"normalise and track": ready.prepare_s}
    plan = generator.plan(num_frames)
    features_of = _audio_features(audio_encoder, waveform, sum(plan))
    if math.isinf(audio_encoder.lookahead_s):
        setup_s["audio features"] = time.perf_counter() - started
    with VideoWriter(silent, width=ready.width, height=ready.height) as writer:
        for chunk_frames in plan:
            clock, stop = ChunkClock(), position + chunk_frames
            kept = min(stop, num_frames) - position
            with clock.stage(Stage.READ):
                frames = face.read(position, stop)
            with clock.stage(Stage.ALIGN):
                faces = aligned_faces(frames, generator.size, as_released=generator.mask is not None)
            with clock.stage(Stage.AUDIO):
                features_FD = features_of(position, stop)
            redrawn = generator.generate(ChunkInput(faces=faces, audio_FD=features_FD), clock)
            for source_frame, pixels in zip(frames[:kept], redrawn, strict=False):
                with clock.stage(Stage.COMPOSITE):
                    picture = _composite(source_frame, pixels, generator.mask)
                with clock.stage(Stage.WRITE):
                    writer.write(picture)
                passed_through += not source_frame.has_face
            if stop < num_frames:
                generator.commit(clock)
            chunks.append(clock.finished(kept))
            position = stop
            if on_progress:
                on_progress(min(position, num_frames), num_frames)
    chunks_done = time.perf_counter()
    tag = f"Synthetic video: lips redrawn by Lip Forcing Factory, model {generator.model_id}"
    mux(silent, waveform, output, metadata={"comment": tag})
    _write_provenance(ready, output, generator.model_id, seed, tag)
    ended = time.perf_counter()
    return GenerationReport(
        output=output,
        num_frames=num_frames,
        num_passed_through=passed_through,
        model_id=generator.model_id,
        ledger=StageLedger(
            chunks=tuple(chunks),
            wall_s=ready.prepare_s + ended - started,
            setup_s=setup_s,
            finish_s={"mux and provenance": ended - chunks_done},
        ),
        several_faces=ready.several_faces,
    )


def _audio_features(
    encoder: AudioEncoder, waveform: np.ndarray, num_frames: int
) -> Callable[[int, int], np.ndarray]:
    """Features of a range of the ``num_frames`` frames that will be asked for.

    With an encoder that needs the whole clip all of them come from one run over the clip and the silence after it: the
    last chunk may reach beyond the sound, and a run of another length would give other features everywhere.
    """
    if not math.isinf(encoder.lookahead_s):
        return lambda start, stop: encoder.encode_range(waveform, start, stop)
    whole_FD = encoder.encode_range(waveform, 0, num_frames)
    return lambda start, stop: whole_FD[start:stop]


def aligned_faces(frames: list[SourceFrame], size: int, *, as_released: bool = False) -> np.ndarray:
    """``[f, size, size, 3] uint8``: faces warped to the 512 px template, then reduced by area averaging.

    as_released: by the reference's own two steps, whose crops released students were trained on.
    """
    warp = partial(warp_face_latentsync, resolution=ALIGNED_SIZE) if as_released else warp_face
    crops = [warp(f.frame, f.matrix) for f in frames]
    if size != ALIGNED_SIZE:
        crops = [cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA) for crop in crops]
    return np.stack(crops)


def _write_provenance(ready: PreparedSource, output: Path, model_id: str, seed: int, tag: str) -> None:
    facts: dict[str, Any] = {
        "synthetic": True,
        "statement": tag,
        "model_id": model_id,
        "seed": seed,
        "face": None if ready.choice is None else str(ready.choice),
        "shots": [asdict(shot) for shot in ready.face.shots],
        "source_sha256": file_sha256(ready.source),
        "audio_sha256": file_sha256(ready.audio),
        "output_sha256": file_sha256(output),
    }
    write_json(output.with_name(output.name + ".provenance.json"), facts)


def _composite(source: SourceFrame, face_pixels: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    if not source.has_face:
        return source.frame
    return paste_back(source.frame, face_pixels, source.matrix, source=mask)
