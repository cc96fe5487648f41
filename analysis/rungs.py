"""What the scheduler decided at the rungs, as `rungs.json` tells it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spaces.errors import RunError

RUNGS_FILE = "rungs.json"
NEWEST = 2  # version of the file; the first had neither a number nor brackets
STOP = "stop"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What became of one candidate at one rung.

    Attributes:
        rung: in epochs.
        bracket: how many rungs the candidate passed unjudged.
        rank: how many recorded candidates of its bracket stood before it; None where it could not be ranked.
        size: how many the rung held, this one included.
        stopped: the verdict.
        reason: one clause, "" if none was recorded.
    """

    candidate_id: str
    rung: int
    bracket: int
    rank: int | None
    size: int
    stopped: bool
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rungs:
    """All of `rungs.json`.

    Attributes:
        scheduler: the plug-in that decided, "" without a file.
        brackets: how many there are.
        decisions: in the order in which they were taken.
        num_unjudged: candidates at rungs that were entered from the history after the file had been lost.
    """

    scheduler: str = ""
    brackets: int = 1
    decisions: tuple[Decision, ...] = ()
    num_unjudged: int = 0


def rungs_of(content: Mapping[str, Any], path: Path) -> Rungs:
    """Return the content of a `rungs.json` of any version so far.

    Raises:
        RunError: it is of a newer version, or parts are missing or of a wrong kind.
    """
    version = content.get("version", 1)
    if version not in range(1, NEWEST + 1):
        raise RunError(
            f"{path}: got version {version}; this program reads up to {NEWEST}. "
            "Read it with the version of student-search that wrote it (run.json, versions)."
        )
    try:
        decisions = tuple(_decision(one) for one in content["decisions"])
        num_entries = sum(len(entries) for entries in content["rungs"].values())
        return Rungs(
            scheduler=str(content["scheduler"]),
            brackets=int(content.get("brackets", 1)),
            decisions=decisions,
            num_unjudged=max(num_entries - len(decisions), 0),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise RunError(
            f"{path}: damaged, not a record of the rungs ({type(error).__name__}: {error}); allowed: the file as "
            "the search wrote it. Put back a copy, or delete it: the report then lacks the decisions."
        ) from error


def _decision(fields: Mapping[str, Any]) -> Decision:
    """Return one decision of the file."""
    rank = fields["rank"]
    return Decision(
        candidate_id=str(fields["candidate_id"]),
        rung=int(fields["rung"]),
        bracket=int(fields.get("bracket", 0)),
        rank=None if rank is None else int(rank),
        size=int(fields["size"]),
        stopped=fields["verdict"] == STOP,
        reason=str(fields.get("reason", "")),
    )
