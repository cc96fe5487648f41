"""Total order of points under several objectives: non-dominated fronts, farthest-first inside a front."""

from collections.abc import Sequence

import moocore
import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]  # (N, objectives), every column to be minimised
Order = NDArray[np.int64]


def farthest_first(front: Points) -> Order:
    """Return the order in which to visit the distinct points of one front, well spread ones first.

    Starts at the smallest sum of the objectives scaled to [0, 1] within the front, then takes again and again
    the point farthest from all taken (the epsilon-net order of Schmucker et al. 2021, arXiv 2106.12639,
    section 4). Ties fall to the earlier row: give rows in a canonical order to be independent of the order of
    arrival.
    """
    span = front.max(axis=0) - front.min(axis=0)
    scaled = (front - front.min(axis=0)) / np.where(span > 0, span, 1.0)
    order = [int(scaled.sum(axis=1).argmin())]
    distance = np.linalg.norm(scaled - scaled[order[0]], axis=1)
    while len(order) < len(front):
        distance[order] = -1.0
        farthest = int(distance.argmax())
        order.append(farthest)
        distance = np.minimum(distance, np.linalg.norm(scaled - scaled[farthest], axis=1))
    return np.asarray(order, dtype=np.int64)


def rank_of(points: Sequence[Sequence[float]], index: int) -> int:
    """Return how many points stand before point `index`; 0 is the best, all objectives minimised.

    Whole fronts follow one another (Deb et al. 2002, non-dominated sorting), so a point never stands behind
    one that it dominates; inside a front the order is `farthest_first`. Equal points share the place of the
    first of them. A point with a value that is not finite stands behind all finite ones. The rank does not
    depend on the order of the points.
    """
    table = np.asarray(points, dtype=np.float64)
    finite = np.asarray(np.isfinite(table).all(axis=1))
    if not finite[index]:
        return int(finite.sum())
    # unique() also sorts the rows, which makes every tie below independent of the order of arrival
    distinct, counts = np.unique(table[finite], axis=0, return_counts=True)
    own = int(np.flatnonzero((distinct == table[index]).all(axis=1))[0])
    fronts = moocore.pareto_rank(distinct)
    front = np.flatnonzero(fronts == fronts[own])
    order = front[farthest_first(distinct[front])]
    ahead = order[: int(np.flatnonzero(order == own)[0])]
    return int(counts[fronts < fronts[own]].sum() + counts[ahead].sum())
