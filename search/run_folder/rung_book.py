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
VERSION = 2  # of the file; 1 had no number and no brackets
STOP, CONTINUE = "stop", "continue"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What became of one candidate at one rung.

    Attributes:
        epoch: trained when it was judged.
        rung: the rung, in epochs.
        rank: how many recorded candidates of its bracket stood before it; None where it could not be ranked.
        size: how many candidates of its bracket the rung held, this one included.
        verdict: "stop" or "continue".
        reason: one clause for the user.
        bracket: how many rungs it passed unjudged, see `BracketDraw`.
    """

    candidate_id: str
    epoch: int
    rung: int
    rank: int | None
    size: int
    verdict: str
    reason: str
    bracket: int = 0


class RungBook:
    """Values that each candidate had at each rung, and the decisions; the file is never half written."""

    def __init__(
        self, folder: Path | None, *, scheduler: str, rungs: Sequence[int], brackets: int = 1
    ) -> None:
        """Open the book of a run folder, empty or as an earlier session left it.

        Args:
            folder: where `rungs.json` is or will be; None keeps the book in memory only.
            scheduler: name of the plug-in that decides.
            rungs: in use, in epochs.
            brackets: how many there are.

        Raises:
            RunError: `rungs.json` is damaged, of a newer version, or of another scheduler or number of brackets.
        """
        self.path = folder / RUNGS_FILE if folder else None
        self.scheduler, self.brackets = scheduler, brackets
        self.rungs: dict[int, dict[str, dict[str, float | None]]] = {rung: {} for rung in sorted(rungs)}
        self._decisions: dict[tuple[str, int], Decision] = {}
        # neither entries nor decisions ever change, and encoding all of them again at each decision is slow
        self._entry_lines: dict[int, list[str]] = {rung: [] for rung in self.rungs}
        self._decision_lines: list[str] = []
        if self.path and self.path.exists():
            self._load(self.path)

    @property
    def decisions(self) -> list[Decision]:
        """All decisions in the order in which they were taken."""
        return list(self._decisions.values())

    def holds(self, rung: int, candidate_id: str) -> bool:
        """Return whether the candidate was already recorded at the rung."""
        return candidate_id in self.rungs[rung]

    def record(self, rung: int, candidate_id: str, values: Mapping[str, float]) -> None:
        """Enter a candidate's objectives at a rung, what is not finite as unknown. Not saved yet."""
        known = {name: value if math.isfinite(value) else None for name, value in values.items()}
        self._enter(rung, candidate_id, known)

    def decide(self, decision: Decision) -> None:
        """Add a decision and save the book."""
        self._add(decision)
        self.save()

    def decision(self, rung: int, candidate_id: str) -> Decision | None:
        """Return what was decided on a candidate at a rung, None if nothing was."""
        return self._decisions.get((candidate_id, rung))

    def last(self, candidate_id: str) -> Decision | None:
        """Return the latest decision on a candidate, None if it was never judged."""
        judged = [rung for rung in self.rungs if (candidate_id, rung) in self._decisions]
        return self._decisions[candidate_id, max(judged)] if judged else None

    def save(self) -> None:
        """Replace the file by the present state, where there is one.

        Raises:
            OSError: it cannot be written; the old file is left as it was.
        """
        if self.path is None:
            return
        rungs = ",\n".join(
            f'"{rung}": {{{_lines(self._entry_lines[rung])}}}' for rung in sorted(self._entry_lines)
        )
        head = f'"version": {VERSION}, "scheduler": {json.dumps(self.scheduler)}, "brackets": {self.brackets}'
        text = f'{{{head},\n"rungs": {{{rungs}}},\n"decisions": [{_lines(self._decision_lines)}]}}\n'
        with atomic_path(self.path) as draft:
            draft.write_text(text, encoding="utf-8")

    def _load(self, path: Path) -> None:
        """Read the file of an earlier session; rungs not in use now are kept, but nobody is judged there."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content.get("version", 1) > VERSION:
                raise RunError(
                    f"{path}: got version {content['version']}; this program reads up to {VERSION}. "
                    "Resume with the version of student-search that wrote it (run.json, versions)."
                )
            owner, brackets = content["scheduler"], content.get("brackets", 1)
            entries = dict(_read_rungs(content["rungs"]))
            decisions = [Decision(**one) for one in content["decisions"]]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise RunError(
                f"{path}: damaged, not a readable record of the rungs "
                f"({type(error).__name__}: {error}); "
                "allowed: the file as the search wrote it. Put back a copy, or delete it: the rungs are then "
                "refilled from history/ and the record of decisions begins anew."
            ) from error
        if owner != self.scheduler:
            raise RunError(
                f"{path}: got a record of scheduler {owner!r}; this search runs {self.scheduler!r}. "
                f"Resume with search.scheduler.kind={owner}, or start a new run."
            )
        if brackets != self.brackets:
            raise RunError(
                f"{path}: got a record of {brackets} brackets; this search has {self.brackets}. "
                f"Resume with search.scheduler.brackets={brackets}, or start a new run."
            )
        for rung, candidates in entries.items():
            for candidate_id, values in candidates.items():
                self._enter(rung, candidate_id, values)
        for decision in decisions:
            self._add(decision)

    def _enter(self, rung: int, candidate_id: str, values: dict[str, float | None]) -> None:
        """Enter known values."""
        self.rungs.setdefault(rung, {})[candidate_id] = values
        line = f"{json.dumps(candidate_id)}: {json.dumps(values, allow_nan=False)}"
        self._entry_lines.setdefault(rung, []).append(line)

    def _add(self, decision: Decision) -> None:
        """Enter a decision."""
        self._decisions[decision.candidate_id, decision.rung] = decision
        self._decision_lines.append(json.dumps(asdict(decision), allow_nan=False))


def _lines(parts: Sequence[str]) -> str:
    """Return parts one per line, so that people and line tools can read the file."""
    return "\n" + ",\n".join(parts) if parts else ""


def _read_rungs(content: Mapping[str, Any]) -> Iterator[tuple[int, dict[str, dict[str, float | None]]]]:
    """Yield (rung, candidate id -> objective -> value) of the JSON object."""
    for rung, entries in content.items():
        yield (
            int(rung),
            {
                candidate_id: {
                    name: None if value is None else float(value) for name, value in values.items()
                }
                for candidate_id, values in entries.items()
            },
        )
