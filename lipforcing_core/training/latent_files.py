"""Files of latent windows: one of a single clip, as it was encoded, or a shard that holds many.

Both are safetensors files. That of a clip has the tensors of ``CLIP_TENSORS`` and says in its header by what it was
encoded. In a shard the tensors of a clip are called ``CLIP_ID/NAME``, and the header repeats what each clip's own file
said, with the SHA-256 of that file: training on a shard is the same, to the bits and to the keys of its results, as
training on the files that went into it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.products import sha256_once
from lipforcing_core.media.segments import Segment
from lipforcing_core.media.window_plan import PlannedWindow, ReferenceKind, with_references

CLIP_TENSORS = ("latents", "masked_latents", "audio", "waveform", "starts", "keep_mask")
"""Latents ``[W, C, T, H, W]`` float16 of the windows and of the windows with a blanked mouth, features of the whole
sound ``[F, D]``, samples ``[S]``, first frames of the windows ``[W]``, and where a latent is kept ``[H, W]``."""

_ABOUT, _CLIPS, _REFERENCES = "about", "clips", "references"


@dataclass(frozen=True, kw_only=True)
class LatentClip:
    """A clip in a file of latent windows.

    sha256: of its own file. starts: first frames of its windows. about: by what it was encoded.
    """

    path: Path
    prefix: str
    sha256: str
    starts: tuple[int, ...]
    plan: tuple[PlannedWindow, ...]
    about: Mapping[str, str]

    def references(self, index: int) -> tuple[Segment, ...]:
        """The reference windows of a target; no partial ones in a file that knows of none (see ``write_clip``)."""
        planned = self.plan[index]
        wanting = planned.kind is ReferenceKind.PARTIAL and _REFERENCES not in self.about
        return () if wanting else planned.references

    def stored(self) -> Any:
        """The open file, for ``with``."""
        return safe_open(self.path, framework="pt")

    def name(self, tensor: str) -> str:
        """What one of ``CLIP_TENSORS`` is called in the file."""
        return f"{self.prefix}{tensor}"


def write_clip(
    path: Path,
    tensors: Mapping[str, Tensor],
    *,
    clip_id: str,
    codec: str,
    audio: str,
    has_partial_references: bool,
) -> None:
    """Write the file of a clip: ``CLIP_TENSORS``, and who encoded them.

    has_partial_references: whether any of its windows has a partial reference; files of versions that knew of none do
    not say so.
    """
    about = {"clip_id": clip_id, "codec": codec, "audio": audio}
    if has_partial_references:
        about[_REFERENCES] = ReferenceKind.PARTIAL.value
    save_file(dict(tensors), path, metadata={_ABOUT: json.dumps(about, sort_keys=True)})


def write_shard(files: Sequence[Path], path: Path) -> None:
    """Write one file with the windows of several clips, from the files of each; equal files give equal bytes.

    All of them are in memory while it is written.
    """
    tensors: dict[str, Tensor] = {}
    clips = []
    for file in files:
        about = _metadata(file)[_ABOUT]
        clip_id = json.loads(about)["clip_id"]
        clips.append({"about": about, "sha256": sha256_once(file)})
        tensors |= {f"{clip_id}/{name}": tensor for name, tensor in load_file(file).items()}
    save_file(tensors, path, metadata={_CLIPS: json.dumps(clips, sort_keys=True)})


def content_of(path: Path) -> list[str]:
    """The SHA-256 of each clip's own file, of a single file as it is, of a shard as its header tells."""
    metadata = _metadata(path)
    if _CLIPS not in metadata:
        return [sha256_once(path)]
    return [clip["sha256"] for clip in json.loads(metadata[_CLIPS])]


def clips_in(path: Path, window_frames: int) -> Iterator[LatentClip]:
    """The clips in a file of ``write_clip`` or ``write_shard``, with references planned for windows of this length.

    Raises ``BadInputError`` for a file that is neither.
    """
    metadata = _metadata(path)
    if _CLIPS in metadata:
        listed = [(json.loads(clip[_ABOUT]), clip["sha256"]) for clip in json.loads(metadata[_CLIPS])]
        prefixed = [(f"{about['clip_id']}/", about, sha256) for about, sha256 in listed]
    else:
        prefixed = [("", json.loads(metadata[_ABOUT]), sha256_once(path))]
    with safe_open(path, framework="pt") as stored:
        for prefix, about, sha256 in prefixed:
            starts = stored.get_tensor(f"{prefix}starts").tolist()
            yield LatentClip(
                path=path,
                prefix=prefix,
                sha256=sha256,
                starts=tuple(starts),
                plan=with_references(starts, window_frames),
                about=about,
            )


def _metadata(path: Path) -> dict[str, str]:
    try:
        with safe_open(path, framework="pt") as stored:
            found = stored.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise BadInputError(f"{path}: is no file of latent windows ({error})") from error
    if not {_ABOUT, _CLIPS} & set(found):
        raise BadInputError(f"{path}: is no file of latent windows")
    return dict(found)
