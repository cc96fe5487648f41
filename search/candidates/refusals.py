"""How many of the last proposals were refused: what they broke and which came nearest."""

import json
from collections import Counter, deque
from typing import final

from search.proposal import Proposal, Rejected
from search.searchers.base import Values
from spaces.candidate import Candidate, hashed

MOST_REFUSED = 0.99  # of the last new proposals; beyond it the limits leave next to nothing to search


@final
class Refusals:
    """The last new proposals, admitted or refused; a known one is not new."""

    def __init__(self, window: int) -> None:
        """Look at so many proposals."""
        self._last: deque[tuple[Proposal, Rejected | None]] = deque(maxlen=window)

    def add(self, proposal: Proposal, rejected: Rejected | None) -> None:
        """Count one more; `rejected` is None for an admitted one."""
        self._last.append((proposal, rejected))

    @property
    def binding(self) -> bool:
        """Whether the window is full and more than 99 % of it was refused."""
        return len(self._last) == self._last.maxlen and len(self._refused) > MOST_REFUSED * len(self._last)

    @property
    def all_refused(self) -> bool:
        """Whether there were new proposals, none of them admitted."""
        return bool(self._last) and len(self._refused) == len(self._last)

    @property
    def _refused(self) -> list[tuple[Proposal, Rejected]]:
        return [(proposal, rejected) for proposal, rejected in self._last if rejected is not None]

    def message(self) -> str:
        """Return which limit binds, for how many of the last new candidates, and the nearest miss."""
        refused, total = self._refused, len(self._last)
        limits = Counter(rejected.limit for _, rejected in refused if rejected.limit)
        if not limits:
            reasons = Counter(rejected.reason for _, rejected in refused)
            reason, count = reasons.most_common(1)[0]
            return (
                f"cost filter: {len(refused)} of {total} candidates were rejected ({count} times: {reason}). "
                "Change the values of the student section so that they fit together."
            )
        limit, count = limits.most_common(1)[0]
        misses = [(proposal, rejected) for proposal, rejected in refused if rejected.limit == limit]
        proposal, rejected = min(misses, key=lambda miss: miss[1].excess)
        name = limit.split()[0]
        return (
            f"cost filter: {count} of {total} candidates do not meet {limit} (nearest: "
            f"{rejected.shown or rejected.reason}, candidate {proposal.candidate.candidate_id}). "
            f"Relax limits.{name}, or change the sizes in the student section."
        )

    @staticmethod
    def placeholder(values: Values, seed: int) -> Candidate:
        """Return a candidate without a config, with a stable id, for values that cannot be built."""
        return Candidate(hashed(json.dumps({"values": dict(values), "seed": seed}, sort_keys=True)), {}, seed)
