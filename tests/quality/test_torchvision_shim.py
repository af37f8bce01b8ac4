"""torchvision becomes importable beside a CPU build of torch, in a fresh process and repeatedly."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
from lipforcing_core.base.torchvision_shim import ensure_torchvision
first = ensure_torchvision()
assert ensure_torchvision() is first
import torch
from torchvision import models, transforms
from torchvision.ops import roi_align
resized = transforms.functional.resize(torch.zeros(1, 3, 8, 8), [4, 4])
pooled = models.alexnet(weights=None).eval().features[0](torch.zeros(1, 3, 64, 64))
print(tuple(resized.shape), pooled.shape[1])
"""


def test_fresh_process_can_import_torchvision() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[0] == "(1, 3, 4, 4) 64"
