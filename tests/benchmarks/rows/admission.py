"""Row 6: what the cost filter spends on a candidate that nobody has met, and on one that is known."""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from search.inputs.inputs import Inputs
from search.inputs.plugins import make_proposer
from spaces.candidate import Candidate
from spaces.errors import IllegalCandidate
from tests.benchmarks.rows.row import Asked, Row, again, row_of
from tests.benchmarks.rows.students import FEW_PICTURES, prepared
from trainables.costs.store import CostStore

CANDIDATES, QUICK_CANDIDATES = 30, 6


def cost_filter(asked: Asked) -> list[Row]:
    """Return CPU time per candidate: of counting params, FLOPs and size, and of measuring latency.

    In a folder of its own, so that the first look at each candidate is new; what candidates share is measured for the first.
    """
    inputs = prepared("search.searcher.kind=random", *FEW_PICTURES)
    drawn = candidates(inputs, QUICK_CANDIDATES if asked.quick else CANDIDATES)
    with tempfile.TemporaryDirectory() as folder:
        store = CostStore(Path(folder))
        counted_new = [_counting(inputs, store, one) for one in drawn]
        measured_new = [_measuring(inputs, store, one) for one in drawn]
        again_ = CostStore(Path(folder))
        counted = [_counting(inputs, again_, one) for one in drawn]
        measured = [_measuring(inputs, again_, one) for one in drawn]
    command = again(6, asked)
    return [
        row_of("cost filter, counting a new candidate", _ms(counted_new), command, unit="CPU ms"),
        row_of("cost filter, counting: known / new", _over(counted, counted_new), command),
        row_of("cost filter, latency of a new candidate", _ms(measured_new), command, unit="CPU ms"),
        row_of(
            "cost filter, latency of all / of the first",
            [sum(measured_new) / measured_new[0]],
            command,
            n=len(drawn),
        ),
        row_of("cost filter, latency of a known candidate", _ms(measured), command, unit="CPU ms"),
    ]


def candidates(inputs: Inputs, count: int) -> list[Candidate]:
    """Return different candidates of random search."""
    proposer, found = make_proposer(inputs.space), dict[str, Candidate]()
    for index in range(100 * count):
        if len(found) == count:
            break
        try:
            one = inputs.space.build(proposer.propose(index), inputs.students, 0)
        except IllegalCandidate:
            continue
        found[one.candidate_id] = one
    assert len(found) == count
    return list(found.values())


def _counting(inputs: Inputs, store: CostStore, candidate: Candidate) -> float:
    start = time.process_time()
    subject = inputs.students.subject(candidate.config)
    store.static(subject), store.static(subject.head)
    return time.process_time() - start


def _measuring(inputs: Inputs, store: CostStore, candidate: Candidate) -> float:
    subject = inputs.students.subject(candidate.config)
    start = time.process_time()
    store.latency(subject), store.latency(subject.head)
    return time.process_time() - start


def _ms(seconds: Sequence[float]) -> list[float]:
    return [1e3 * one for one in seconds]


def _over(ones: Sequence[float], others: Sequence[float]) -> list[float]:
    return [one / other for one, other in zip(ones, others, strict=True)]
