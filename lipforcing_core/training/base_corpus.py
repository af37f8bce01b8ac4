"""The corpus of a shipped base: puppets drawn from a seed, aligned as curation does it, never written as video.

On disk it is ``clips/clip_NNN.npz`` (faces and sound), ``codec.safetensors`` and ``windows/clip_NNN.safetensors``.
Each is written atomically and made once, so a killed run goes on where it was. The seeds of its clips are never those
of training reels or held-out pairs.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.products import atomic_path, content_key, read_json, write_json
from lipforcing_core.media.window_plan import PLAN_VERSION, is_replanned
from lipforcing_core.presets.schema import Preset
from lipforcing_core.puppets.recording import RENDER_VERSION

OnItem = Callable[[int, int], None]
"""Called with the number of finished items and of all items."""

RENDER_SIZE = 320
_RECIPE = "corpus.json"
_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class BaseCorpusSettings:
    """How much is drawn: ``num_clips`` performances of ``num_frames`` frames at 25 frames/s, portraits in turn."""

    seed: int = 2026
    num_clips: int = 48
    num_frames: int = 169

    def __post_init__(self) -> None:
        if self.num_clips < 1:
            raise BadInputError(f"a corpus needs at least one clip, not {self.num_clips}")


@dataclass(frozen=True, kw_only=True)
class BaseCorpus:
    """Where the corpus is."""

    codec_file: Path
    windows: tuple[Path, ...]


def make_base_corpus(
    settings: BaseCorpusSettings, preset: Preset, folder: Path, on_item: OnItem = lambda done, total: None
) -> BaseCorpus:
    """Draw the clips, fit the preset's codec on their first frames, encode all their windows.

    Raises ``BadInputError`` for a preset whose codec is not fitted, for clips shorter than its training window, and for
    a folder that holds a corpus of other settings.
    """
    from lipforcing_core.models.codecs.catalogue import fit_codec
    from lipforcing_core.runtime.encoders import load_audio_encoder, load_codec
    from lipforcing_core.training.dataset import CODEC_FIT_FRAMES, encode_frames

    if preset.codec is None:
        raise BadInputError(
            f"preset {preset.name} builds on a downloaded codec; a base is trained with a fitted one"
        )
    if settings.num_frames < preset.video.window_frames:
        raise BadInputError(
            f"clips of {settings.num_frames} frames hold no training window of {preset.video.window_frames}"
        )
    recipe = [_VERSION, RENDER_VERSION, settings, preset.video, preset.codec, preset.backends]
    if is_replanned(
        settings.num_frames,
        window_frames=preset.video.window_frames,
        stride_frames=preset.video.window_stride_frames,
    ):
        recipe.append(PLAN_VERSION)
    _claim(folder, content_key(*recipe))
    clips = []
    for index in range(settings.num_clips):
        clips.append(_drawn(folder / "clips" / f"clip_{index:03d}.npz", settings, index, preset.video.size))
        on_item(len(clips), settings.num_clips)
    codec_file = folder / "codec.safetensors"
    if not codec_file.is_file():
        first = (_load(clip)[0][:CODEC_FIT_FRAMES] for clip in clips)
        fit_codec(preset.backends.codec, first, preset.codec.model_dump()).save(codec_file)
    codec, audio_encoder = load_codec(preset, None, codec_file=codec_file), load_audio_encoder(preset)
    windows = tuple(folder / "windows" / f"{clip.stem}.safetensors" for clip in clips)
    for clip, path in zip(clips, windows, strict=True):
        if not path.is_file():
            faces, waveform = _load(clip)
            encode_frames(
                faces,
                waveform,
                path,
                clip_id=clip.stem,
                codec=codec,
                audio_encoder=audio_encoder,
                video=preset.video,
            )
    return BaseCorpus(codec_file=codec_file, windows=windows)


def draw_performance(seed: int, index: int, *, num_frames: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Aligned faces ``[F, size, size, 3]`` uint8 RGB of one performance, and its sound ``[S]`` float32 at 16 kHz.

    The face is found by the embedded detector and warped to the template, as curation does it.
    """
    from lipforcing_core.faces.align import align_track, warp_face
    from lipforcing_core.faces.detectors.catalogue import load_detector
    from lipforcing_core.faces.track import track_face
    from lipforcing_core.puppets.portraits import portrait_names
    from lipforcing_core.puppets.recording import ClipPlan, Recording, Shot
    from lipforcing_core.puppets.rig import PuppetScript
    from lipforcing_core.puppets.seeds import child_seed

    own, names = child_seed(seed, "base", index), portrait_names()
    script = PuppetScript.varied(
        portrait=names[index % len(names)],
        seed=child_seed(own, "picture"),
        num_frames=num_frames,
        size=RENDER_SIZE,
    )
    shot = Shot(script=script, speech_seed=child_seed(own, "speech"))
    recording = Recording(ClipPlan(kind="base", seed=seed, shots=(shot,)))
    frames = list(recording.frames())
    track = track_face(iter(frames), load_detector("lbp"), shot_starts=[0])
    alignment = align_track(track, shot_starts=[0])
    assert alignment.usable_F.all(), "a puppet always shows its face"
    crops = (warp_face(frame, matrix) for frame, matrix in zip(frames, alignment.matrices_F23, strict=True))
    return np.stack(list(_reduced(crops, size))), recording.waveform()


def _reduced(crops: Iterator[np.ndarray], size: int) -> Iterator[np.ndarray]:
    for crop in crops:
        yield cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA)


def _drawn(path: Path, settings: BaseCorpusSettings, index: int, size: int) -> Path:
    """The file of a clip, drawn if it is not there."""
    if not path.is_file():
        faces, waveform = draw_performance(settings.seed, index, num_frames=settings.num_frames, size=size)
        with atomic_path(path) as temporary, open(temporary, "wb") as stream:
            np.savez(stream, faces=faces, waveform=waveform)
    return path


def _load(path: Path) -> tuple[np.ndarray, np.ndarray]:
    try:
        with np.load(path) as stored:
            return stored["faces"], stored["waveform"]
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise BadInputError(f"{path} cannot be read ({error}); delete it, and it is drawn again") from error


def _claim(folder: Path, recipe: str) -> None:
    """Note what the folder is for, or refuse one that is for something else."""
    note = folder / _RECIPE
    if note.is_file() and read_json(note) != {"recipe": recipe}:
        raise BadInputError(f"{folder} holds the corpus of other settings; give another folder or delete it")
    write_json(note, {"recipe": recipe})
