"""The strategies that can be chosen."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lipforcing_core.base.catalogue import Catalogue, Entry

if TYPE_CHECKING:
    from lipforcing_core.training.strategies.protocol import Strategy


@dataclass(frozen=True, kw_only=True)
class StrategyEntry(Entry):
    """``load``: makes the strategy; it raises what torch raises where the device is absent.

    needs_cuda: whether that is a CUDA device. spreads: whether it spreads networks over workers, which have to meet.
    """

    load: Callable[[], Strategy]
    needs_cuda: bool = False
    spreads: bool = False

    def meeting(self) -> AbstractContextManager[object]:
        """What the strategy is loaded and used in: where it ``spreads``, the workers of a launcher meet."""
        if not self.spreads:
            return nullcontext()
        from lipforcing_core.training.strategies.process_group import meeting

        return meeting(self.torch_device)

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


def _sharded() -> Strategy:
    from lipforcing_core.training.strategies.process_group import own_device
    from lipforcing_core.training.strategies.sharded import Sharded

    return Sharded(own_device("cuda"))


def _sharded_cpu() -> Strategy:
    from lipforcing_core.training.strategies.sharded import Sharded

    return Sharded("cpu")


STRATEGIES = Catalogue(
    kind="training strategy",
    entries=(
        StrategyEntry(name="cpu", summary="All networks on the CPU; the same bits on every run.", load=_cpu),
        StrategyEntry(name="cuda", summary="All networks on one CUDA device.", load=_cuda, needs_cuda=True),
        StrategyEntry(
            name="sharded",
            summary="Every network spread over the CUDA devices of all workers (FSDP2).",
            load=_sharded,
            needs_cuda=True,
            spreads=True,
        ),
        StrategyEntry(
            name="sharded-cpu",
            summary="Every network spread over workers on CPUs, to try what `sharded` does.",
            load=_sharded_cpu,
            spreads=True,
        ),
    ),
)


def load_strategy(name: str = STRATEGIES.default) -> Strategy:
    """The strategy called ``name``, in its ``meeting``; raises ``BadInputError`` that lists the known names."""
    return STRATEGIES[name].load()
