"""A warning for set-level values that rest on too few feature vectors."""

from __future__ import annotations

from lipforcing_core.metrics.measures.catalogue import set_measures
from lipforcing_core.metrics.networks.catalogue import FEATURE_NETWORKS


def few_samples_note(metric: str, num_vectors: int | None, backend: str) -> str | None:
    """A sentence where the covariance of so few vectors must be singular; None where it need not, or for other metrics.

    ``metric``, ``num_vectors`` and ``backend`` as in ``values.MetricValue``.
    """
    resting = {measure.name: measure for measure in set_measures() if measure.rests_on_covariance}
    network = backend.partition("@")[0]
    if metric not in resting or num_vectors is None or network not in FEATURE_NETWORKS:
        return None
    width = FEATURE_NETWORKS[network].num_features
    if num_vectors > width:
        return None  # n vectors span n - 1 dimensions at most
    measure = resting[metric]
    return (
        f"{measure.label} from {num_vectors} {measure.features.vector_of}, no more than the {width} features of "
        f"{backend}: the covariance is singular and the value biased upward; compare only with equal n"
    )
