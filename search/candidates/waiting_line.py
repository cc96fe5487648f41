"""Candidates on their way to a trial, in the order of their proposals; some wait until their latency is measured.

They leave in that order, whatever was measured first. Only where the first one has waited long do others go before it, so
that no slot stays empty while a large model is measured.
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import final

from search.proposal import Admitted, Proposal, Rejected, Waiting
from spaces.candidate import Candidate

LONG_S = 15.0  # after which a waiting candidate is overtaken; the blocks of a small model take two or three
MOST = 8  # that wait at a time

Ticket = tuple[Proposal, Admitted]


@dataclass(slots=True, kw_only=True, eq=False)
class _Place:
    """One candidate in the line; `since` is when it began to wait."""

    proposal: Proposal
    admitted: Admitted | None
    since: float
    limited: bool = False


@final
class WaitingLine:
    """Holds those that are admitted, or may be."""

    def __init__(
        self, admit: Callable[[Candidate], Admitted | Rejected | Waiting], clock: Callable[[], float]
    ) -> None:
        """Take who admits, and a monotonic clock in seconds."""
        self._admit, self._clock = admit, clock
        self._places: deque[_Place] = deque()

    def __len__(self) -> int:
        return len(self._places)

    def add(self, proposal: Proposal, answer: Admitted | Waiting) -> None:
        """Put a candidate at the end."""
        admitted = answer if isinstance(answer, Admitted) else None
        limited = isinstance(answer, Waiting) and answer.limited
        place = _Place(proposal=proposal, admitted=admitted, since=self._clock(), limited=limited)
        self._places.append(place)

    @property
    def waiting(self) -> int:
        """How many candidates wait, those that do not compete too."""
        return sum(place.admitted is None for place in self._places)

    @property
    def undecided(self) -> int:
        """How many candidates of the search wait: some of them may break a limit yet."""
        return sum(
            place.admitted is None and place.proposal.candidate.role == "search" for place in self._places
        )

    @property
    def limited(self) -> bool:
        """Whether a limit decides over one that waits."""
        return any(place.limited and place.admitted is None for place in self._places)

    @property
    def has_room(self) -> bool:
        """Whether another one may be proposed: nobody waits, or the first has waited long and not too many do."""
        if not self._places or self._places[0].admitted is not None:
            return True
        return self._clock() - self._places[0].since >= LONG_S and self.waiting < MOST

    def settled(self) -> Iterator[tuple[Proposal, Admitted | Rejected]]:
        """Ask again for all that wait; yield those of which it is known by now whether they are admitted."""
        for place in [place for place in self._places if place.admitted is None]:
            answer = self._admit(place.proposal.candidate)
            if isinstance(answer, Rejected):
                self._places.remove(place)
            elif isinstance(answer, Admitted):
                place.admitted = answer
            if not isinstance(answer, Waiting):
                yield place.proposal, answer

    def take(self) -> Ticket | None:
        """Return the next that goes, without asking anew; None while it waits."""
        for place in self._places:
            if place.admitted is not None:
                self._places.remove(place)
                return place.proposal, place.admitted
            if self._clock() - place.since < LONG_S:
                return None
        return None

    def leave(self) -> Iterator[Proposal]:
        """Take all off the line, in order."""
        while self._places:
            yield self._places.popleft().proposal
