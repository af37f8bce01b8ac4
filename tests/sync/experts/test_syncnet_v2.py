"""Which files the SyncNet-v2 expert takes, and what it hands to its network."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lipforcing_core.base.errors import IncompatibleCheckpointError
from lipforcing_core.base.products import file_sha256
from lipforcing_core.sync.experts.catalogue import load_sync_expert
from lipforcing_core.sync.experts.syncnet_v2 import SyncNetV2


def test_syncnet_checkpoint_errors_name_the_key(tmp_path: Path) -> None:
    path = tmp_path / "syncnet_v2.model"
    state = SyncNetV2().state_dict()
    torch.save({**state, "netfcaud.3.weight": torch.zeros(256, 512)}, path)
    with pytest.raises(IncompatibleCheckpointError, match=r"netfcaud\.3\.weight has shape \(256, 512\)"):
        load_sync_expert("syncnet-v2", path)
    del state["netcnnlip.0.bias"]
    torch.save(state, path)
    with pytest.raises(IncompatibleCheckpointError, match=r"netcnnlip\.0\.bias is missing"):
        load_sync_expert("syncnet-v2", path)
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(IncompatibleCheckpointError, match=r"no weight file|damaged"):
        load_sync_expert("syncnet-v2", path)


def test_a_syncnet_file_fills_the_network(tmp_path: Path) -> None:
    """The public file is from 2016, before batch norms counted their batches."""
    torch.manual_seed(0)
    state = {name: value + torch.rand_like(value.float()) for name, value in SyncNetV2().state_dict().items()}
    old = {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}
    path = tmp_path / "syncnet_v2.model"
    torch.save(old, path, _use_new_zipfile_serialization=False)
    loaded = load_sync_expert("syncnet-v2", path)
    assert loaded.backend_id == f"syncnet-v2@sha256:{file_sha256(path)[:12]}"
    network = loaded._network  # type: ignore[attr-defined]
    assert not network.training
    filled = network.state_dict()
    assert filled.keys() == state.keys()
    torch.testing.assert_close({name: filled[name] for name in old}, old, rtol=0, atol=0)
