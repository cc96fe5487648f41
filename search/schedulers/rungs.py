"""The rungs of a search and every decision taken on them, kept in `rungs.json`.

Ray never saves a scheduler (no version up to 2.60 does), so the book is written to disk after each decision
and read back when a run is resumed.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from analysis.table import atomic_path
from spaces.errors import RunError

RUNGS_FILE = "rungs.json"
STOP, CONTINUE = "stop", "continue"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What became of one candidate at one rung.

    Attributes:
        epoch: trained when it was judged.
        rung: the rung, in epochs.
        rank: how many recorded candidates stood before it; None where it could not be ranked.
        size: how many candidates the rung held, this one included.
        verdict: "stop" or "continue".
        reason: one clause for the user.
    """

    candidate_id: str
    epoch: int
    rung: int
    rank: int | None
    size: int
    verdict: str
    reason: str


class RungBook:
    """Values that each candidate had at each rung, and the decisions; the file is never half written."""

    def __init__(self, folder: Path, *, scheduler: str, rungs: Sequence[int]) -> None:
        """Open the book of a run folder, empty or as an earlier session left it.

        Raises:
            RunError: `rungs.json` is damaged or belongs to another scheduler.
        """
        self.path = folder / RUNGS_FILE
        self.scheduler = scheduler
        self.rungs: dict[int, dict[str, dict[str, float | None]]] = {rung: {} for rung in sorted(rungs)}
        self._decisions: dict[tuple[str, int], Decision] = {}
        self._encoded: dict[tuple[str, int], str] = {}  # decisions never change: encoding all again is slow
        if self.path.exists():
            self._load()

    @property
    def decisions(self) -> list[Decision]:
        """All decisions in the order in which they were taken."""
        return list(self._decisions.values())

    def holds(self, rung: int, candidate_id: str) -> bool:
        """Return whether the candidate was already recorded at the rung."""
        return candidate_id in self.rungs[rung]

    def record(self, rung: int, candidate_id: str, values: Mapping[str, float]) -> None:
        """Enter a candidate's objectives at a rung, what is not finite as unknown. Not saved yet."""
        self.rungs[rung][candidate_id] = {
            name: value if math.isfinite(value) else None for name, value in values.items()
        }

    def decide(self, decision: Decision) -> None:
        """Add a decision and save the book."""
        self._add(decision)
        self.save()

    def decision(self, rung: int, candidate_id: str) -> Decision | None:
        """Return what was decided on a candidate at a rung, None if nothing was."""
        return self._decisions.get((candidate_id, rung))

    def last(self, candidate_id: str) -> Decision | None:
        """Return the latest decision on a candidate, None if it was never judged."""
        rungs = [rung for rung in self.rungs if (candidate_id, rung) in self._decisions]
        return self._decisions[candidate_id, rungs[-1]] if rungs else None

    def save(self) -> None:
        """Replace the file by the present state.

        Raises:
            OSError: it cannot be written; the old file is left as it was.
        """
        # dumps, not dump: only the former uses the fast encoder, which 2,000 candidates feel
        rungs = json.dumps({str(rung): entries for rung, entries in self.rungs.items()}, allow_nan=False)
        decisions = ",\n".join(self._encoded.values())
        text = (
            f'{{"scheduler": {json.dumps(self.scheduler)},\n"rungs": {rungs},\n"decisions": [{decisions}]}}\n'
        )
        with atomic_path(self.path) as draft:
            draft.write_text(text, encoding="utf-8")

    def _load(self) -> None:
        """Read the file of an earlier session; rungs not in use now are kept, but nobody is judged there."""
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
            owner = content["scheduler"]
            entries = dict(_read_rungs(content["rungs"]))
            decisions = [Decision(**one) for one in content["decisions"]]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise RunError(
                f"{self.path}: damaged, not a readable record of the rungs "
                f"({type(error).__name__}: {error}); "
                "allowed: the file as the search wrote it. Put back a copy, or delete it: the rungs are then "
                "refilled from history/ and the record of decisions begins anew."
            ) from error
        if owner != self.scheduler:
            raise RunError(
                f"{self.path}: got a record of scheduler {owner!r}; this search runs {self.scheduler!r}. "
                f"Resume with search.scheduler.kind={owner}, or start a new run."
            )
        self.rungs = dict(sorted({**self.rungs, **entries}.items()))
        for decision in decisions:
            self._add(decision)

    def _add(self, decision: Decision) -> None:
        """Enter a decision."""
        key = (decision.candidate_id, decision.rung)
        self._decisions[key] = decision
        self._encoded[key] = json.dumps(asdict(decision), allow_nan=False)


def _read_rungs(content: Mapping[str, Any]) -> Iterator[tuple[int, dict[str, dict[str, float | None]]]]:
    """Yield (rung, candidate id -> objective -> value) of the JSON object."""
    for rung, entries in content.items():
        yield int(rung), {candidate_id: dict(values) for candidate_id, values in entries.items()}
