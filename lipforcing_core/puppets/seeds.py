"""Seeds from seeds: independent streams named by words and numbers."""

from __future__ import annotations

import hashlib


def child_seed(seed: int, *path: str | int) -> int:
    """A 31-bit seed that depends on the parent and on every part of the path, the same on every machine."""
    text = ":".join(str(part) for part in (seed, *path))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1
