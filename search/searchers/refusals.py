"""Candidates refused in a row: what they broke and which came nearest."""

import hashlib
import json
from collections import Counter
from typing import final

from search.admission import Proposal, Rejected
from search.searchers.base import Values
from spaces.candidate import Candidate


@final
class Refusals:
    """Refused proposals since the last admitted one."""

    def __init__(self) -> None:
        self._all: list[tuple[Proposal, Rejected]] = []

    def __len__(self) -> int:
        return len(self._all)

    def add(self, proposal: Proposal, rejected: Rejected) -> None:
        """Count one more."""
        self._all.append((proposal, rejected))

    def restart(self) -> None:
        """Forget them: a candidate was admitted."""
        self._all.clear()

    def message(self) -> str:
        """Return which limit binds, for how many candidates, and the nearest miss."""
        limits = Counter(rejected.limit for _, rejected in self._all if rejected.limit)
        if not limits:
            reasons = Counter(rejected.reason for _, rejected in self._all)
            reason, count = reasons.most_common(1)[0]
            return (
                f"cost filter: {len(self)} of {len(self)} candidates were rejected "
                f"({count} times: {reason}). "
                "Change the values of the student section so that they fit together."
            )
        limit, count = limits.most_common(1)[0]
        misses = [(proposal, rejected) for proposal, rejected in self._all if rejected.limit == limit]
        proposal, rejected = min(misses, key=lambda miss: miss[1].excess)
        name = limit.split()[0]
        return (
            f"cost filter: {count} of {len(self)} candidates do not meet {limit} (nearest: "
            f"{rejected.shown or rejected.reason}, candidate {proposal.candidate.candidate_id}). "
            f"Relax limits.{name}, or change the sizes in the student section."
        )

    @staticmethod
    def placeholder(values: Values, seed: int) -> Candidate:
        """Return a candidate without a config, with a stable id, for values that cannot be built."""
        text = json.dumps({"values": dict(values), "seed": seed}, sort_keys=True)
        return Candidate(hashlib.sha256(text.encode()).hexdigest()[:8], {}, seed)
