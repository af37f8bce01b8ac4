"""Networks filled from registered checkpoints: which files, whose names, and the id that results carry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from lipforcing_core.base.catalogue import Entry
from lipforcing_core.base.products import ByteProgress
from lipforcing_core.weights.digest import remembered_sha256
from lipforcing_core.weights.keymaps import find_key_map
from lipforcing_core.weights.load import Fit, load_network
from lipforcing_core.weights.registry import find_weight, require_all_weights, require_weights

_Network = TypeVar("_Network", bound=nn.Module)


def fill_registered(
    network: nn.Module,
    name: str,
    weights_dir: Path,
    *,
    fit: Fit | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
    on_progress: ByteProgress | None = None,
) -> None:
    """Fill ``network``, built on the meta device, from the files of the registered checkpoint ``name``.

    Names are mapped as the registry says; the other arguments are those of ``load_network``.
    Raises ``MissingWeightsError`` saying how to get a file that is not here, and as ``load_network`` does.
    """
    spec = find_weight(name)
    require_weights(name, weights_dir)
    load_network(
        network,
        spec.tensor_files(weights_dir),
        key_map=find_key_map(spec.key_map) if spec.key_map else None,
        root=spec.root,
        fit=fit,
        dtype=dtype,
        device=device,
        on_progress=on_progress,
    )


@dataclass(frozen=True, kw_only=True)
class RegisteredNetwork:
    """A registered checkpoint of one network in a weights folder.

    backend: what the catalogue of its seam calls the implementation. weights: the registered name.
    """

    backend: str
    weights: str
    folder: Path

    def build(
        self,
        make: Callable[[], _Network],
        *,
        dtype: torch.dtype,
        device: torch.device | str = "cpu",
        fit: Fit | None = None,
    ) -> _Network:
        """What ``make()`` builds, filled, in evaluation mode and without gradients; errors as ``fill_registered``."""
        with torch.device("meta"):
            network = make()
        fill_registered(network, self.weights, self.folder, fit=fit, dtype=dtype, device=device)
        return network.eval().requires_grad_(False)

    @property
    def tensor_file(self) -> Path:
        """The one file that holds the tensors."""
        (file,) = find_weight(self.weights).tensor_files(self.folder)
        return file

    @property
    def other_files(self) -> list[Path]:
        """The files without tensors, such as a tokenizer."""
        return [self.folder / file.path for file in find_weight(self.weights).files if not file.tensors]

    @property
    def sha256(self) -> str:
        """Hex SHA-256 of the tensors' file; read at most once (``weights.digest``)."""
        return remembered_sha256(self.tensor_file)

    @property
    def backend_id(self) -> str:
        """The id that everything made with this network carries: ``wan-vae@sha256:...``."""
        return f"{self.backend}@sha256:{self.sha256[:12]}"


def find_registered(entry: Entry, weights_dir: Path | None) -> RegisteredNetwork:
    """The checkpoint behind a catalogue's entry of one network; raises as ``require_all_weights`` does."""
    require_all_weights(entry.weights, weights_dir)
    assert weights_dir is not None, "an entry without weights is not read from a folder"
    (name,) = entry.weights
    return RegisteredNetwork(backend=entry.name, weights=name, folder=weights_dir)
