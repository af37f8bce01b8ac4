"""The strategies that can be chosen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lipforcing_core.base.catalogue import Catalogue, Entry

if TYPE_CHECKING:
    from lipforcing_core.training.strategies.protocol import Strategy


@dataclass(frozen=True, kw_only=True)
class StrategyEntry(Entry):
    """``load``: makes the strategy; it raises what torch raises where the device is absent.

    needs_cuda: whether that is a CUDA device.
    """

    load: Callable[[], Strategy]
    needs_cuda: bool = False

    @property
    def lacks(self) -> str:
        """A CUDA device, where it needs one that is not there."""
        import torch

        return "a CUDA device" if self.needs_cuda and not torch.cuda.is_available() else ""

    @property
    def torch_device(self) -> str:
        """The kind of device that it trains on, as torch calls it."""
        return "cuda" if self.needs_cuda else "cpu"


def _cpu() -> Strategy:
    from lipforcing_core.training.strategies.one_device import OneDevice

    return OneDevice("cpu")


def _cuda() -> Strategy:
    from lipforcing_core.training.strategies.one_device import OneDevice

    return OneDevice("cuda")


STRATEGIES = Catalogue(
    kind="training strategy",
    entries=(
        StrategyEntry(name="cpu", summary="All networks on the CPU; the same bits on every run.", load=_cpu),
        StrategyEntry(name="cuda", summary="All networks on one CUDA device.", load=_cuda, needs_cuda=True),
    ),
)


def load_strategy(name: str = STRATEGIES.default) -> Strategy:
    """The strategy called ``name``; raises ``BadInputError`` that lists the known names."""
    return STRATEGIES[name].load()
