"""One more implementation of every seam, written into a copy of the tree as a person would write it."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from pathlib import Path

CORE = "lipforcing_core"


@dataclass(frozen=True, kw_only=True)
class Addition:
    """One implementation: the files that are new, and the entries of tables, each with a function that loads it.

    seam: the name of the seam, as ``all_seams`` has it. files: text by path. entries: by ``file:TABLE``, the loader
    and the entry. Paths are relative to the root of the project.
    """

    seam: str
    files: dict[str, str]
    entries: dict[str, tuple[str, str]] = field(default_factory=dict)

    def write(self, root: Path) -> None:
        """Make the files and the entries in the tree at ``root``."""
        for name, text in self.files.items():
            path = root / name
            assert not path.exists(), path
            path.write_text(text, encoding="utf-8")
        for place, (loader, entry) in self.entries.items():
            name, table = place.split(":")
            append_entry(root / name, table, loader, entry)


def append_entry(path: Path, table: str, loader: str, entry: str) -> None:
    """Write the function ``loader`` before a catalogue, and ``entry`` as the last one of its tuple of entries."""
    text = path.read_text(encoding="utf-8")
    (statement,) = (
        node
        for node in ast.parse(text).body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        and ast.unparse(node.target if isinstance(node, ast.AnnAssign) else node.targets[0]) == table
    )
    assert isinstance(statement.value, ast.Call)
    (entries,) = (keyword.value for keyword in statement.value.keywords if keyword.arg == "entries")
    lines = text.splitlines(keepends=True)
    assert entries.end_lineno is not None
    assert lines[entries.end_lineno - 1].strip() == "),", (
        f"{path}: the tuple of {table} ends on a line of its own"
    )
    lines.insert(entries.end_lineno - 1, f"        {entry},\n")
    lines.insert(statement.lineno - 1, f"{loader}\n\n" if loader else "")
    path.write_text("".join(lines), encoding="utf-8")


def _child(module: str, base: str, name: str) -> str:
    """The text of a file whose class does what another does, under an id of its own."""
    return f'"""A trial."""\n\nfrom {module} import {base}\n\n\nclass {name}({base}):\n    """A trial."""\n'


def _loader(function: str, arguments: str, module: str, made: str) -> str:
    return f"def {function}({arguments}):\n    from {module} import Trial\n\n    return {made}\n"


def _seam(name: str, folder: str, table: str, base: str, arguments: str, made: str, entry: str) -> Addition:
    """An implementation ``trial.py`` that inherits ``base`` (``module:Class`` of the same folder)."""
    package = f"{CORE}/{folder}"
    module, _, cls = base.partition(":")
    dotted = package.replace("/", ".")
    place = f"{package}/catalogue.py:{table}"
    return Addition(
        seam=name,
        files={f"{package}/trial.py": _child(f"{dotted}.{module}", cls, "Trial")},
        entries={place: (_loader("_trial", arguments, f"{dotted}.trial", made), entry)},
    )


NETWORKS = f"{CORE}/metrics/networks/catalogue.py"

ADDITIONS = (
    Addition(
        seam="preset",
        files={
            f"{CORE}/presets/mini.toml": 'extends = "nano"\nsummary = "Nano with fewer steps."\n\n[lora]\nsteps = 3\n',
            f"{CORE}/presets/20b.toml": 'extends = "14b"\nsummary = "A larger one."\n\n[model]\nnum_layers = 50\n',
        },
    ),
    Addition(
        seam="base checkpoint",
        files={},
        entries={
            f"{CORE}/models/bases/catalogue.py:BASES": (
                "def _trial():\n    return {}\n",
                'BaseEntry(name="trial-base", summary="a trial", fits=_trial(), model_sha256="0" * 64, '
                'codec_sha256="0" * 64)',
            )
        },
    ),
    _seam(
        "video codec",
        "models/codecs",
        "CODECS",
        "block:BlockCodec",
        "entry, files",
        "Trial.load(files.codec_file)",
        'CodecEntry(name="trial", summary="A trial", latents="trial", latent_channels=16, load=_trial)',
    ),
    _seam(
        "audio encoder",
        "models/audio_encoders",
        "AUDIO_ENCODERS",
        "log_mel:LogMelEncoder",
        "entry, weights_dir, device",
        "Trial()",
        'AudioEncoderEntry(name="trial", summary="A trial", feature_dim=320, load=_trial)',
    ),
    _seam(
        "text encoder",
        "models/text_encoders",
        "TEXT_ENCODERS",
        "hashed:HashTextEncoder",
        "entry, shape, weights_dir, device",
        "Trial(text_len=shape.text_len, text_dim=shape.text_dim)",
        'TextEncoderEntry(name="trial", summary="A trial", text_dim=None, load=_trial)',
    ),
    _seam(
        "face detector",
        "faces/detectors",
        "DETECTORS",
        "lbp:LbpDetector",
        "files, face_filter",
        "Trial(face_filter=face_filter)",
        'DetectorEntry(name="trial", summary="A trial", load=_trial)',
    ),
    _seam(
        "sync expert",
        "sync/experts",
        "SYNC_EXPERTS",
        "nano:NanoExpert",
        "weights",
        "Trial.load(weights)",
        'SyncExpertEntry(name="trial", summary="A trial", weights=("syncnet-v2",), files=("syncnet_v2.model",), '
        "load=_trial, knows_people=True)",
    ),
    _seam(
        "quality scorer",
        "quality",
        "QUALITY_SCORERS",
        "piqe:PiqeScorer",
        "weights",
        "Trial()",
        'QualityEntry(name="trial", summary="A trial", load=_trial, best=1.0, worst=0.0, threshold=0.5)',
    ),
    _seam(
        "feature network",
        "metrics/networks",
        "FEATURE_NETWORKS",
        "random_features:RandomImageFeatures",
        "path",
        "Trial()",
        'FeatureNetwork(name="trial", summary="A trial.", load=_trial, num_features=64, vector_of="frames")',
    ),
    Addition(
        seam="perceptual distance",
        files={
            f"{CORE}/metrics/networks/trial_distance.py": _child(
                f"{CORE}.metrics.networks.random_perceptual", "RandomPerceptual", "Trial"
            )
        },
        entries={
            f"{NETWORKS}:PERCEPTUAL_DISTANCES": (
                _loader("_trial_distance", "path", f"{CORE}.metrics.networks.trial_distance", "Trial()"),
                'PerceptualEntry(name="trial-distance", summary="A trial.", load=_trial_distance)',
            )
        },
    ),
    Addition(
        seam="measure",
        files={
            f"{CORE}/metrics/measures/redness.py": '''"""How red the picture is."""

from lipforcing_core.metrics.backends import Backend
from lipforcing_core.metrics.measures.protocol import ClipMeasure, Direction


def redness(clip) -> float:
    """Mean of the red channel."""
    return float(clip.frames[..., 0].mean())


REDNESS = ClipMeasure(
    name="redness",
    label="Redness",
    unit="levels",
    direction=Direction.LOWER,
    backend=Backend.PIXELS,
    min_frames=7,
    summary="Mean of the red channel.",
    compute=redness,
)
'''
        },
        entries={
            f"{CORE}/metrics/measures/catalogue.py:MEASURES": (
                f"from {CORE}.metrics.measures.redness import REDNESS\n",
                "REDNESS",
            )
        },
    ),
    Addition(
        seam="training strategy",
        files={
            f"{CORE}/training/strategies/fsdp.py": _child(
                f"{CORE}.training.strategies.one_device", "OneDevice", "Trial"
            )
        },
        entries={
            f"{CORE}/training/strategies/catalogue.py:STRATEGIES": (
                _loader("_fsdp", "", f"{CORE}.training.strategies.fsdp", 'Trial("cuda")'),
                'StrategyEntry(name="fsdp", summary="Shards.", load=_fsdp, needs_cuda=True)',
            )
        },
    ),
)
