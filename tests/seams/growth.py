"""One more implementation of every seam, written into a copy of the tree as a person would write it."""

from __future__ import annotations

import ast
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from lipforcing_core.models.bases.catalogue import BASES

CORE = "lipforcing_core"


@dataclass(frozen=True, kw_only=True)
class Addition:
    """One implementation: the files that are new, and the entries of tables, each with a function that loads it.

    seam: the name of the seam, as ``all_seams`` has it. files: text by path. copies: new file by path, the file that it
    is a copy of. entries: by ``file:TABLE``, the loader and the entry. Paths are relative to the root of the project.
    """

    seam: str
    files: dict[str, str] = field(default_factory=dict)
    copies: dict[str, str] = field(default_factory=dict)
    entries: dict[str, tuple[str, str]] = field(default_factory=dict)

    def write(self, root: Path) -> None:
        """Make the files and the entries in the tree at ``root``."""
        for name, text in self.files.items():
            path = root / name
            assert not path.exists(), path
            path.write_text(text, encoding="utf-8")
        for name, source in self.copies.items():
            shutil.copyfile(root / source, root / name)
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


def _child(module: str, base: str) -> str:
    """The text of a file whose class does what another does."""
    return f'"""A trial."""\n\nfrom {module} import {base}\n\n\nclass Trial({base}):\n    """A trial."""\n'


def _network(module: str, base: str, name: str) -> str:
    """The text of a file with a network that does what another does, under the id ``name``."""
    init = f'    def __init__(self) -> None:\n        super().__init__()\n        self.backend_id = "{name}@seed0"\n'
    return f"{_child(module, base)}\n{init}"


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
        files={f"{package}/trial.py": _child(f"{dotted}.{module}", cls)},
        entries={place: (_loader("_trial", arguments, f"{dotted}.trial", made), entry)},
    )


NETWORKS = f"{CORE}/metrics/networks/catalogue.py"
WEIGHTS = f"{CORE}/models/bases/weights"
NANO_BASE = BASES["nano-base"]

ADDITIONS = (
    Addition(
        seam="preset",
        files={
            f"{CORE}/presets/quick.toml": 'extends = "nano"\nsummary = "Nano with fewer steps."\n\n[lora]\nsteps = 3\n',
            f"{CORE}/presets/20b.toml": 'extends = "14b"\nsummary = "A larger one."\n\n[model]\nnum_layers = 50\n',
        },
    ),
    Addition(
        seam="base checkpoint",
        copies={
            f"{WEIGHTS}/trial-base.safetensors": f"{WEIGHTS}/nano-base.safetensors",
            f"{WEIGHTS}/trial-base-codec.safetensors": f"{WEIGHTS}/nano-base-codec.safetensors",
        },
        entries={
            f"{CORE}/models/bases/catalogue.py:BASES": (
                "",
                f'BaseEntry(name="trial-base", summary="a trial", fits={dict(NANO_BASE.fits)!r}, '
                f"model_sha256={NANO_BASE.model_sha256!r}, codec_sha256={NANO_BASE.codec_sha256!r})",
            )
        },
    ),
    _seam(
        "voice activity detector",
        "sound/activity",
        "ACTIVITY_DETECTORS",
        "silero:SileroDetector",
        "rule",
        "Trial(rule=rule)",
        'ActivityEntry(name="trial", summary="A trial", load=_trial)',
    ),
    _seam(
        "corpus",
        "corpora",
        "CORPORA",
        "folder:Folder",
        "",
        "Trial()",
        'CorpusEntry(name="trial", summary="A trial", load=_trial, on_disk="videos", split="none")',
    ),
    _seam(
        "export form",
        "export",
        "EXPORTS",
        "webdataset:WebDatasetForm",
        "",
        "Trial()",
        'ExportEntry(name="trial", summary="A trial", load=_trial)',
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
    Addition(
        seam="feature network",
        files={
            f"{CORE}/metrics/networks/trial.py": _network(
                f"{CORE}.metrics.networks.random_features", "RandomImageFeatures", "trial"
            )
        },
        entries={
            f"{NETWORKS}:FEATURE_NETWORKS": (
                _loader("_trial", "path", f"{CORE}.metrics.networks.trial", "Trial()"),
                'FeatureNetwork(name="trial", summary="A trial.", load=_trial, num_features=64, '
                'vector_of="frames")',
            )
        },
    ),
    Addition(
        seam="perceptual distance",
        files={
            f"{CORE}/metrics/networks/trial_distance.py": _network(
                f"{CORE}.metrics.networks.random_perceptual", "RandomPerceptual", "trial-distance"
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
            f"{CORE}/metrics/measures/greenness.py": '''"""How green the picture is."""

from lipforcing_core.metrics.backends import Backend
from lipforcing_core.metrics.measures.protocol import ClipMeasure, Direction


def greenness(clip) -> float:
    """Mean of the green channel."""
    return float(clip.frames[..., 1].mean())


GREENNESS = ClipMeasure(
    name="greenness",
    label="Greenness",
    unit="levels",
    direction=Direction.LOWER,
    backend=Backend.PIXELS,
    min_frames=7,
    summary="Mean of the green channel.",
    compute=greenness,
)
'''
        },
        entries={
            f"{CORE}/metrics/measures/catalogue.py:MEASURES": (
                f"from {CORE}.metrics.measures.greenness import GREENNESS\n",
                "GREENNESS",
            )
        },
    ),
    _seam(
        "training strategy",
        "training/strategies",
        "STRATEGIES",
        "one_device:OneDevice",
        "",
        'Trial("cuda")',
        'StrategyEntry(name="trial", summary="A trial.", load=_trial, needs_cuda=True)',
    ),
)
