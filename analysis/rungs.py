"""What the scheduler decided at the rungs: `rungs.json`, which a search writes, and a report and a resume read.

Entries and decisions never change. A search adds those that came since the file was written to `rungs.changes.jsonl`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from analysis.run_json import read_object
from spaces.errors import RunError
from spaces.files import refusal
from spaces.ledger import read_lines

RUNGS_FILE = "rungs.json"
RUNGS_CHANGES = "rungs.changes.jsonl"
VERSION = 2  # of the file; the first had no number
STOP, CONTINUE = "stop", "continue"
REMEDY = "Put back a copy, or delete it: --resume refills the rungs from history/, and the record of decisions begins anew."

Entries = Mapping[int, Mapping[str, Mapping[str, float | None]]]
"""Rung, in epochs -> candidate id -> objective -> value, None where it was no finite number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What became of one candidate at one rung.

    Attributes:
        epoch: trained when it was judged.
        rung: the rung, in epochs.
        rank: how many recorded candidates stood before it; None where it could not be ranked.
        size: how many candidates the rung held, this one included.
        verdict: "stop" or "continue".
        reason: one clause for the user, "" if none was recorded.
    """

    candidate_id: str
    epoch: int
    rung: int
    rank: int | None
    size: int
    verdict: str
    reason: str

    @property
    def stopped(self) -> bool:
        """Whether it was not to go on."""
        return self.verdict == STOP


@dataclass(frozen=True, slots=True, kw_only=True)
class Rungs:
    """All of `rungs.json`.

    Attributes:
        scheduler: the plug-in that decided, "" without a file.
        entries: what each candidate had reached at each rung.
        decisions: in the order in which they were taken.
    """

    scheduler: str = ""
    entries: Entries = field(default_factory=dict)
    decisions: tuple[Decision, ...] = ()

    @property
    def num_unjudged(self) -> int:
        """Candidates at rungs that were entered from the history after the file had been lost."""
        return max(sum(map(len, self.entries.values())) - len(self.decisions), 0)


def read_rungs(path: Path) -> Rungs:
    """Return what a `rungs.json` of any version so far holds; nothing where there is none.

    Raises:
        RunError: it cannot be read, is damaged, of a newer version, or of a search in several brackets, which are no more.
    """
    ledger = path.with_name(RUNGS_CHANGES)
    try:
        changes = read_lines(ledger)  # first: what the file holds by then stands in it
    except OSError as error:
        raise RunError(f"{ledger}: cannot be read: {refusal(ledger, error)}") from error
    found = _read_whole(path) if path.exists() else Rungs()
    try:
        return _with(found, changes)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise RunError(
            f"{ledger}: damaged, no record of the rungs ({type(error).__name__}: {error}); allowed: the file as the search wrote "
            f"it. {REMEDY}"
        ) from error


def _with(found: Rungs, changes: Sequence[Mapping[str, Any]]) -> Rungs:
    """Return what a file holds, and its ledger adds."""
    if not changes:
        return found
    entries = {rung: dict(candidates) for rung, candidates in found.entries.items()}
    decisions = {(one.candidate_id, one.rung): one for one in found.decisions}
    for change in changes:
        rung, candidate_id = int(change["rung"]), str(change["candidate_id"])
        (values,) = _entries({candidate_id: change["values"]}).values()
        entries.setdefault(rung, {}).setdefault(candidate_id, values)
        if change.get("decision") is not None:
            decisions.setdefault((candidate_id, rung), _decision(change["decision"]))
    return Rungs(
        scheduler=found.scheduler or str(changes[0]["scheduler"]),
        entries=entries,
        decisions=tuple(decisions.values()),
    )


def _read_whole(path: Path) -> Rungs:
    """Return what the file holds."""
    content = read_object(path, REMEDY)
    try:
        version, brackets = content.get("version", 1), content.get("brackets", 1)
        if version not in range(1, VERSION + 1):
            raise _other(path, f"version {version}", f"up to {VERSION}")
        if brackets != 1:
            raise _other(path, f"{brackets} brackets", "one")
        return Rungs(
            scheduler=str(content["scheduler"]),
            entries={int(rung): _entries(found) for rung, found in content["rungs"].items()},
            decisions=tuple(_decision(one) for one in content["decisions"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise RunError(
            f"{path}: damaged, no record of the rungs ({type(error).__name__}: {error}); allowed: the file as the search "
            f"wrote it. {REMEDY}"
        ) from error


def _other(path: Path, got: str, allowed: str) -> RunError:
    """Return the error for the file of another version of this program."""
    return RunError(
        f"{path}: got {got}; this program reads {allowed}. "
        "Read it with the version of student-search that wrote it (run.json, versions)."
    )


def _entries(found: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, float | None]]:
    """Return candidate id -> objective -> value of one rung of the file."""
    return {
        candidate_id: {name: None if value is None else float(value) for name, value in values.items()}
        for candidate_id, values in found.items()
    }


def _decision(fields: Mapping[str, Any]) -> Decision:
    """Return one decision of the file."""
    rank = fields["rank"]
    return Decision(
        candidate_id=str(fields["candidate_id"]),
        epoch=int(fields.get("epoch", fields["rung"])),
        rung=int(fields["rung"]),
        rank=None if rank is None else int(rank),
        size=int(fields["size"]),
        verdict=str(fields["verdict"]),
        reason=str(fields.get("reason", "")),
    )
