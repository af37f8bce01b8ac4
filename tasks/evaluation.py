"""Evaluation as steps: one held-out item a step, then set-level rows with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Protocol as Interface

from lipforcing_core.base.products import StepStore
from lipforcing_core.faces.detectors.catalogue import DETECTORS
from lipforcing_core.metrics.backends import NETWORK_SETS, Backends
from lipforcing_core.metrics.item_result import ItemResult
from lipforcing_core.metrics.manifest import EvalItem, PredictionRecord
from lipforcing_core.metrics.protocol import Protocol
from lipforcing_core.metrics.suite import Evaluation, assemble, check_request
from lipforcing_core.metrics.values import MetricValue
from lipforcing_core.weights.chosen import registered_file, weights_to_find
from lipforcing_core.weights.registry import find_weight, require_all_weights
from tasks.dispatch import fan_out
from tasks.progress import Advance
from tasks.recording import step_task
from tasks.resources import Work
from tasks.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class Scorers:
    """Names of the backends that score; each worker loads them once.

    detector: None for items that are aligned crops. networks: one of ``metrics.backends.NETWORK_SETS``. sync_expert:
    one to use instead of that set's. weights: the folder of registered weights, where files are looked for that no
    other path is given for.
    """

    detector: str | None = DETECTORS.default
    detector_model: Path | None = None
    networks: str = NETWORK_SETS.default
    sync_expert: str | None = None
    weights: Path = Path("weights")

    @classmethod
    def of(cls, choice: ScorerChoice, workspace: Workspace) -> Scorers:
        """The scorers that a request names, with the weights of a workspace."""
        return cls(
            detector=choice.detector,
            detector_model=choice.detector_model,
            networks=choice.networks,
            sync_expert=choice.sync_expert,
            weights=workspace.weights,
        )


class ScorerChoice(Interface):
    """What a request says of scorers."""

    @property
    def detector(self) -> str: ...
    @property
    def detector_model(self) -> Path | None: ...
    @property
    def networks(self) -> str: ...
    @property
    def sync_expert(self) -> str | None: ...


@step_task()
def evaluate_all(
    items: Sequence[EvalItem],
    predictions: Sequence[PredictionRecord],
    protocol: Protocol,
    store: StepStore,
    *,
    scorers: Scorers = Scorers(),
    pairs: Sequence[tuple[str, str]] = (),
    speed: Sequence[MetricValue] = (),
    seed: int = 0,
    advance: Advance | None = None,
) -> Evaluation:
    """Score every prediction of every item; ``pairs`` of systems are compared on the clips both have."""
    from lipforcing_core.metrics.aggregate import aggregate

    check_request(items, predictions, protocol, pairs)
    own: dict[str, list[PredictionRecord]] = {item.clip_id: [] for item in items}
    for record in predictions:
        own[record.clip_id].append(record)
    jobs = [(item, own[item.clip_id]) for item in items]
    work = partial(_evaluate_step, protocol=protocol, store=store, scorers=scorers)
    results = fan_out(work, jobs, name="evaluate-item", work=Work.SCORE, advance=advance)
    whole = aggregate(results, protocol, load_scorers(scorers), pairs=pairs, speed=speed, seed=seed)
    return assemble(items, predictions, protocol, results, whole)


def find_files(scorers: Scorers) -> dict[str, Path]:
    """The files that the scorers need, by registered name.

    Raises one ``MissingWeightsError`` for all that are not there, and ``BadInputError`` for an unknown set of networks,
    sync expert or detector.
    """
    from lipforcing_core.metrics.backends import needed_weights

    names = needed_weights(scorers.networks, scorers.sync_expert)
    if scorers.detector is not None:
        names += weights_to_find(DETECTORS[scorers.detector], scorers.detector_model)
    require_all_weights(names, scorers.weights)
    return {name: find_weight(name).path(scorers.weights) for name in names}


@lru_cache(maxsize=1)
def load_scorers(scorers: Scorers) -> Backends:
    """The models of this process, loaded once; raises as ``find_files`` and ``metrics.backends.load_backends`` do."""
    import torch

    from lipforcing_core.faces.detectors.catalogue import load_detector
    from lipforcing_core.metrics.backends import load_backends

    torch.set_num_threads(1)
    files = find_files(scorers)
    detector = None
    if scorers.detector is not None:
        entry = DETECTORS[scorers.detector]
        detector = load_detector(entry.name, registered_file(entry, scorers.detector_model, scorers.weights))
    return load_backends(
        scorers.networks,
        files,
        detector=detector,
        sync_expert=scorers.sync_expert,
    )


def _evaluate_step(
    job: tuple[EvalItem, list[PredictionRecord]], *, protocol: Protocol, store: StepStore, scorers: Scorers
) -> ItemResult:
    """Score the predictions of one item, unless that has been done before."""
    from lipforcing_core.metrics.item import evaluate_item, item_key

    (item, own), backends = job, load_scorers(scorers)
    key = item_key(item, own, protocol, backends)
    done = store.run(
        "evaluate", key, lambda folder: evaluate_item(item, own, protocol, backends).save(folder)
    )
    return ItemResult.load(done.folder)
