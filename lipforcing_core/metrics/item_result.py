"""What one evaluated item contributes, and how it is kept on disk between runs."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from lipforcing_core.base.products import atomic_path, read_json, write_json
from lipforcing_core.metrics.values import MetricValue, Unavailable

_VALUES_FILE, _FEATURES_FILE = "item.json", "features.npz"


@dataclass(frozen=True, kw_only=True)
class ItemResult:
    """Everything that one item contributes: its per-clip rows, and feature vectors for set-level metrics.

    truth_features: name of the features (``measures.protocol.Features``) to ``[n, d] float32``; features: the same for
    each system.
    """

    clip_id: str
    identity: str
    values: tuple[MetricValue, ...]
    unavailable: tuple[Unavailable, ...]
    truth_features: dict[str, np.ndarray] = field(default_factory=dict)
    features: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        """Write ``item.json`` and ``features.npz`` into a folder that exists."""
        systems = sorted(self.features)
        arrays = {f"truth-{kind}": array for kind, array in self.truth_features.items()}
        for index, system in enumerate(systems):
            arrays |= {f"{index}-{kind}": array for kind, array in self.features[system].items()}
        with atomic_path(folder / _FEATURES_FILE) as temporary:
            np.savez(temporary, **arrays)  # type: ignore[arg-type]
        write_json(
            folder / _VALUES_FILE,
            {
                "clip_id": self.clip_id,
                "identity": self.identity,
                "systems": systems,
                "values": [asdict(value) for value in self.values],
                "unavailable": [asdict(entry) for entry in self.unavailable],
            },
        )

    @classmethod
    def load(cls, folder: Path) -> ItemResult:
        """Read what ``save`` wrote."""
        stored = read_json(folder / _VALUES_FILE)
        features: dict[str, dict[str, np.ndarray]] = {system: {} for system in stored["systems"]}
        truth: dict[str, np.ndarray] = {}
        with np.load(folder / _FEATURES_FILE) as arrays:
            for name in arrays.files:
                owner, kind = name.split("-", 1)
                target = truth if owner == "truth" else features[stored["systems"][int(owner)]]
                target[kind] = arrays[name]
        return cls(
            clip_id=stored["clip_id"],
            identity=stored["identity"],
            values=tuple(MetricValue(**value) for value in stored["values"]),
            unavailable=tuple(Unavailable(**entry) for entry in stored["unavailable"]),
            truth_features=truth,
            features=features,
        )
