"""Whose weights a run keeps: those on a front, of the blind student and of baselines. The others' go while the search goes on.

What the tables say comes first: a candidate is on no front, and names no checkpoint, before its files are touched. A kill in
between leaves files that the next session removes.
"""

import math
import shlex
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any, final

from analysis.table import FAILED
from search.run_folder.facts import CANDIDATE_FILE, CHECKPOINTS
from spaces.objectives import FRONT_COSTS
from spaces.sections import KEEP_ALL

OWN_FAULTS = (
    "diverged",
    "collapsed",
)  # a candidate that failed otherwise may be tried again, from its last checkpoint on
STAYS, WEIGHTS_ALONE, GOES = "stays", "weights alone", "goes"

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What follows for one candidate.

    Attributes:
        fields: columns of its row.
        fate: of its checkpoints: `stays`, `weights alone` (what only training needs goes), or `goes`.
    """

    candidate_id: str
    fields: Mapping[str, Any]
    fate: str


@final
class Fronts:
    """The fronts of quality against each cost, as candidates finish: the same as `pareto.mark_fronts` finds in the end."""

    def __init__(self, quality: str, *, maximise: bool) -> None:
        """Begin with nobody."""
        self._quality, self._sign = quality, -1.0 if maximise else 1.0
        self._members: dict[str, dict[str, tuple[float, float]]] = {cost: {} for cost in FRONT_COSTS}

    def add(self, row: Row) -> list[str]:
        """Take in a finished candidate; return those that it drives off a front, in the order in which they came there."""
        one, quality = str(row["candidate_id"]), _number(row.get(self._quality)) * self._sign
        driven_off: dict[str, None] = {}
        for cost, members in self._members.items():
            point = (quality, _number(row.get(cost)))
            if not all(map(math.isfinite, point)) or any(
                _dominates(other, point) for other in members.values()
            ):
                continue
            left = [other for other, theirs in members.items() if _dominates(point, theirs)]
            for other in left:
                del members[other]
            members[one] = point
            driven_off.update(dict.fromkeys(left))
        return list(driven_off)

    def marks(self, candidate_id: str) -> dict[str, bool]:
        """Return on which fronts a candidate is, as columns of the table."""
        return {f"on_front_{cost}": candidate_id in members for cost, members in self._members.items()}


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def _dominates(one: tuple[float, float], other: tuple[float, float]) -> bool:
    """Return whether a point, both of its values to be minimised, is nowhere worse than another one, and is another one."""
    return one != other and one[0] <= other[0] and one[1] <= other[1]


@final
class KeptWeights:
    """Decides whose weights stay, and takes away those of others in a thread of its own."""

    def __init__(self, folder: Path, fronts: Fronts, *, keep: str, say: Callable[[str], None]) -> None:
        """Begin with nobody.

        Args:
            folder: the run folder.
            fronts: with nobody on them yet.
            keep: `fronts` or `all`.
            say: takes a line, where something could not be removed.
        """
        self._folder, self._fronts, self._all, self._say = folder, fronts, keep == KEEP_ALL, say
        self._work: SimpleQueue[Change | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._troubles: list[str] = []

    def take_up(self, rows: Iterable[Row], *, killed: bool) -> list[Change]:
        """Take in the candidates of earlier sessions; return what follows.

        Args:
            rows: of the table.
            killed: whether the last session was cut off, so that files may lie there which it was to remove.
        """
        rows = [row for row in rows if row["status"] in ("finished", "stopped", *FAILED)]
        for row in rows:
            if _competes(row, row["status"]):
                self._fronts.add(row)
        changes = [(row, self._change(row["candidate_id"], row["role"], row["status"])) for row in rows]
        return [
            change
            for row, change in changes
            if any((row.get(name) or False) != (value or False) for name, value in change.fields.items())
            or (killed and change.fate != STAYS)
        ]

    def ended(self, row: Row, status: str) -> list[Change]:
        """Return what follows for a candidate that ended, and for those that it drives off a front.

        Args:
            row: of the table.
            status: how it ended.
        """
        one = str(row["candidate_id"])
        driven_off = self._fronts.add(row) if _competes(row, status) else []
        return [
            self._change(one, row["role"], status),
            *(self._change(other, "search", "finished") for other in driven_off),
        ]

    def carry_out(self, changes: Sequence[Change]) -> None:
        """Let go of what goes; to be called once the tables say so, on disk."""
        for change in changes:
            if change.fate != STAYS:
                self._work.put(change)
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="kept weights", daemon=True)
                    self._thread.start()

    def close(self) -> None:
        """Wait until all is done, and tell what could not be; this can be used again."""
        if self._thread is not None:
            self._work.put(None)
            self._thread.join()
            self._thread = None
        if self._troubles:
            first = self._troubles[0]
            self._say(
                f"checkpoints of {len(self._troubles)} candidates could not be removed, and stay: {first}"
            )
            self._troubles.clear()

    def __getstate__(self) -> dict[str, Any]:
        """Return next to nothing: Ray pickles what its callbacks hold to a file that is never read."""
        return {}

    def _change(self, candidate_id: str, role: str, status: str) -> Change:
        marks = self._fronts.marks(candidate_id)
        failed, whole = status in FAILED, status == "finished"
        if status in FAILED and status not in OWN_FAULTS:
            fate = STAYS
        elif self._all:
            fate = STAYS if whole else WEIGHTS_ALONE  # a training that comes to its end leaves weights alone
        else:
            fate = STAYS if whole and (role != "search" or any(marks.values())) else GOES
        named = "" if failed or fate == GOES else f"{CHECKPOINTS}/{candidate_id}"
        return Change(candidate_id=candidate_id, fields={**marks, "checkpoint": named}, fate=fate)

    def _run(self) -> None:
        """Work until there is nothing more to come."""
        from trainables.training import checkpoint  # torch

        while (change := self._work.get()) is not None:
            folder = self._folder / CHECKPOINTS / change.candidate_id
            try:
                (checkpoint.remove if change.fate == GOES else checkpoint.keep_weights_alone)(folder)
            except Exception as error:  # the boundary of the thread: it is told, and costs disk space alone
                self._troubles.append(str(error) or type(error).__name__)


def _competes(row: Row, status: str) -> bool:
    return status == "finished" and row["role"] == "search"


def why_gone(folder: Path, candidate_id: str) -> str:
    """Return what is told of a finished candidate whose weights are not there, and how it is had again.

    Args:
        folder: the run folder, as the user named it.
        candidate_id: of the candidate.
    """
    place = folder / CHECKPOINTS / candidate_id
    again = f"python -m trainables.worker {shlex.quote(str(place / CANDIDATE_FILE))} --out {shlex.quote(str(place))}"
    return (
        f"{place}: holds no weights. A run keeps those of its fronts alone, unless its space says `checkpoints: {{keep: all}}`. "
        f"Pick best, knee or a member of a front; or train candidate {candidate_id} again, as it was trained: {again}"
    )
