"""Files in, file out: re-sync a video to a speech track, streaming, in bounded memory."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np

from lipforcing_core.errors import BadInputError
from lipforcing_core.faces.align import warp_face
from lipforcing_core.faces.detect import FaceDetector
from lipforcing_core.faces.paste import paste_back
from lipforcing_core.media.clock import frames_for_samples
from lipforcing_core.media.decode import read_audio
from lipforcing_core.media.encode import VideoWriter, mux
from lipforcing_core.media.normalise import normalise
from lipforcing_core.models.audio import AudioEncoder
from lipforcing_core.products import file_sha256, write_json
from lipforcing_core.streaming.generators import ChunkGenerator, ChunkInput
from lipforcing_core.streaming.source import SourceFace, SourceFrame

ALIGNED_SIZE = 512


@dataclass(frozen=True, kw_only=True)
class ChunkTiming:
    """Seconds spent on one chunk by stage, and the frames it gave."""

    num_frames: int
    read_s: float
    model_s: float
    paste_s: float
    commit_s: float


@dataclass(frozen=True, kw_only=True)
class GenerationReport:
    """What was generated and how long it took.

    ttff_s and fps follow the paper's clock (method E.4): from the first encode to the end of the first chunk's
    decode, and frames over model time; face tracking, pasting and encoding are not in them. wall_s is all of it.
    """

    output: Path
    num_frames: int
    num_passed_through: int
    model_id: str
    ttff_s: float
    fps: float
    wall_s: float
    chunks: list[ChunkTiming]


def generate_video(
    source: Path,
    audio: Path,
    output: Path,
    *,
    generator: ChunkGenerator,
    audio_encoder: AudioEncoder,
    detector: FaceDetector,
    seed: int = 42,
    on_progress: Callable[[int, int], None] | None = None,
) -> GenerationReport:
    """Write ``output``: ``source`` with its lips redrawn to ``audio``.

    The output has floor(25 x audio seconds) frames; a shorter source is ping-ponged. Frames without a face are
    passed through untouched. Beside the file a ``.provenance.json`` says that it is synthetic, by which model,
    from which source. Raises ``BadInputError`` for unusable inputs; nothing is left half-written.
    """
    started = time.perf_counter()
    _refuse_overwriting(source, audio, output)
    waveform = read_audio(audio)
    num_frames = frames_for_samples(len(waveform))
    if num_frames < 1:
        raise BadInputError(f"{audio}: {len(waveform) / 16000:.3f} s of audio is less than one video frame")
    plan = generator.plan(num_frames)
    generator.reset(seed)
    timings: list[ChunkTiming] = []
    passed_through = 0
    with TemporaryDirectory(prefix="lipforcing-") as scratch:
        cfr = Path(scratch) / "source.mp4"
        info = normalise(source, cfr, None)
        face = SourceFace(cfr, detector, max_frames=num_frames)
        silent = Path(scratch) / "video.mp4"
        position = 0
        with VideoWriter(silent, width=info.width, height=info.height) as writer:
            for chunk_frames in plan:
                stop = position + chunk_frames
                t0 = time.perf_counter()
                frames = face.read(position, stop)
                features_FD = audio_encoder.encode_range(waveform, position, stop)
                chunk = ChunkInput(faces=aligned_faces(frames, generator.size), audio_FD=features_FD)
                t1 = time.perf_counter()
                redrawn = generator.generate(chunk)
                t2 = time.perf_counter()
                for source_frame, face_pixels in zip(frames[: num_frames - position], redrawn, strict=False):
                    writer.write(_composite(source_frame, face_pixels))
                    passed_through += not source_frame.has_face
                t3 = time.perf_counter()
                if stop < num_frames:
                    generator.commit()
                t4 = time.perf_counter()
                timings.append(
                    ChunkTiming(
                        num_frames=min(stop, num_frames) - position,
                        read_s=t1 - t0,
                        model_s=t2 - t1,
                        paste_s=t3 - t2,
                        commit_s=t4 - t3,
                    )
                )
                position = stop
                if on_progress:
                    on_progress(min(position, num_frames), num_frames)
        face.close()
        tag = f"Synthetic video: lips redrawn by Lip Forcing Factory, model {generator.model_id}"
        mux(silent, waveform, output, metadata={"comment": tag})
    write_json(
        output.with_suffix(output.suffix + ".provenance.json"),
        {
            "synthetic": True,
            "statement": tag,
            "model_id": generator.model_id,
            "seed": seed,
            "source_sha256": file_sha256(source),
            "audio_sha256": file_sha256(audio),
            "output_sha256": file_sha256(output),
        },
    )
    model_s = sum(t.model_s + t.commit_s for t in timings)
    return GenerationReport(
        output=output,
        num_frames=num_frames,
        num_passed_through=passed_through,
        model_id=generator.model_id,
        ttff_s=timings[0].model_s,
        fps=num_frames / model_s,
        wall_s=time.perf_counter() - started,
        chunks=timings,
    )


def aligned_faces(frames: list[SourceFrame], size: int) -> np.ndarray:
    """``[f, size, size, 3] uint8``: faces warped to the 512 px template, then reduced by area averaging."""
    crops = [warp_face(f.frame, f.matrix, ALIGNED_SIZE) for f in frames]
    if size != ALIGNED_SIZE:
        crops = [cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA) for crop in crops]
    return np.stack(crops)


def _composite(source: SourceFrame, face_pixels: np.ndarray) -> np.ndarray:
    return paste_back(source.frame, face_pixels, source.matrix) if source.has_face else source.frame


def _refuse_overwriting(source: Path, audio: Path, output: Path) -> None:
    for path in (source, audio):
        if not path.is_file():
            raise BadInputError(f"{path} does not exist")
        if output.exists() and output.samefile(path):
            raise BadInputError(f"{output}: the output would overwrite an input")
    if output.suffix.lower() != ".mp4":
        raise BadInputError(f"{output}: the output must be an .mp4 file")
    if not output.parent.is_dir():
        raise BadInputError(f"{output.parent} is not a folder")
