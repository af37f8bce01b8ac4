"""Import torchvision where its compiled operators cannot load.

The torchvision wheel on the package index is a CUDA build. Beside a CPU build of torch its operator library
does not load, and ``import torchvision`` fails with "operator torchvision::nms does not exist". Declaring
the two missing operator schemas is enough for models, transforms and ``roi_align``; ``torchvision.ops.nms``
and ``torchvision.io`` stay unusable, so this project does not call them.

Call ``ensure_torchvision`` before importing anything that imports torchvision: lpips, pyiqa, timm, transformers.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

_declared_schemas: Any = None  # torch drops the operators when this library object is collected


def ensure_torchvision() -> ModuleType:
    """Return the imported torchvision package; safe to call often and with a working torchvision.

    Raises ``ImportError`` where torchvision is absent, and ``RuntimeError`` where it is broken in another way.
    """
    global _declared_schemas
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::nms" not in str(error) or _declared_schemas is not None:
            raise
    import torch

    half_imported = [name for name in sys.modules if name.split(".")[0] == "torchvision"]
    for name in half_imported:
        del sys.modules[name]
    _declared_schemas = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for operator in ("nms", "qnms"):
        _declared_schemas.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return importlib.import_module("torchvision")
