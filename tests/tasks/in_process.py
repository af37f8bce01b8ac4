"""A conveyor without Ray: one item after the other, in this process."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from typing import Any

from tasks.dispatch import Station


def convey(
    items: Sequence[Any],
    stations: Sequence[Station],
    *,
    is_final: Callable[[Any], bool] = lambda _value: False,
    on_done: Callable[[int, Any], None] | None = None,
    **_options: Any,
) -> list[Any]:
    """What ``tasks.dispatch.convey`` gives where nothing fails; items and values are pickled, as Ray does."""
    results = []
    for index, value in enumerate(items):
        for station in stations:
            value = pickle.loads(pickle.dumps(station.function(pickle.loads(pickle.dumps(value)))))
            if is_final(value):
                break
        results.append(value)
        if on_done:
            on_done(index, value)
    return results
