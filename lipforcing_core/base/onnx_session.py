"""ONNX Runtime sessions: on the CPU with one thread each, since clips are what runs in parallel."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


def open_session(path: Path, *, quiet: bool = False) -> InferenceSession:
    """The model on the CPU, with one thread; raises what ONNX Runtime raises for a file it cannot use.

    quiet: errors are logged and no warnings.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    if quiet:
        options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def signature(entries: list[Any]) -> str:
    """The inputs or outputs of a session in words: their names and shapes."""
    return ", ".join(f"{entry.name} {entry.shape}" for entry in entries)
