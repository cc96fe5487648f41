"""Trace: everything that happened in one simulated search, in order."""

from dataclasses import dataclass, field
from typing import Any

RUNNING, FINISHED, STOPPED = "running", "finished", "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """A candidate goes to a worker.

    Attributes:
        clock: virtual time, in the unit of the table's costs.
        compute: spent by all workers before it, in ended epochs.
        worker: from 0.
    """

    clock: float
    compute: float
    worker: int
    candidate_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A candidate ends an epoch.

    Attributes:
        compute: spent by all workers in ended epochs, this one included.
        clock: virtual time.
        status: running, finished (its last epoch) or stopped (at a rung).
    """

    compute: float
    clock: float
    candidate_id: str
    epoch: int
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """A decision of the scheduler.

    Attributes:
        epoch: the candidate's own.
        rung: as the user wrote it.
        rank: how many recorded candidates stood before it; None where it could not be ranked.
        size: how many candidates the rung held, this one included.
        verdict: "stop" or "continue".
    """

    candidate_id: str
    epoch: int
    rung: str
    rank: int | None
    size: int
    verdict: str


@dataclass(slots=True, kw_only=True)
class Trace:
    """One simulated search.

    Attributes:
        starts: in the order in which candidates were handed out.
        events: every ended epoch.
        judgements: every decision of the scheduler.
        proposal_s: real seconds that each candidate took to be proposed, refused proposals included.
        duplicates: proposals refused because their candidate was known.
        compute: spent in ended epochs; what runs when a limit on it is met is not counted.
        clock: virtual time of the last event.
        ended_by: "trials", "exhausted" (nothing new is proposed) or "compute".
        ended_reason: the same as a clause for the user.
    """

    starts: list[Start] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    judgements: list[Judgement] = field(default_factory=list)
    proposal_s: list[float] = field(default_factory=list)
    duplicates: int = 0
    compute: float = 0.0
    clock: float = 0.0
    ended_by: str = ""
    ended_reason: str = ""

    @property
    def finished(self) -> list[Event]:
        """The events by which candidates were trained to their end."""
        return [event for event in self.events if event.status == FINISHED]

    @property
    def stopped(self) -> list[Event]:
        """The events by which candidates were stopped."""
        return [event for event in self.events if event.status == STOPPED]

    def same_as(self, other: Any) -> bool:
        """Return whether both did the same; the real time that proposals took aside."""
        return isinstance(other, Trace) and all(
            getattr(self, name) == getattr(other, name)
            for name in self.__dataclass_fields__
            if name != "proposal_s"
        )
