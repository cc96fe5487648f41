"""The rungs of a search and every decision taken on them, kept in `rungs.json`.

Ray never saves a scheduler (no version up to 2.60 does), so each decision is on disk before it is told, and the book
is read back when a run is resumed. Decisions are added to a ledger; the file follows now and then, and at the end.
"""

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from analysis.rungs import RUNGS_CHANGES, RUNGS_FILE, VERSION, Decision, read_rungs
from spaces.errors import RunError
from spaces.files import append, guarded, write_text
from spaces.ledger import Pace, as_lines
from spaces.rules import show


class RungBook:
    """Values that each candidate had at each rung, and the decisions; the file is never half written."""

    def __init__(
        self,
        folder: Path | None,
        *,
        scheduler: str,
        rungs: Sequence[int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Open the book of a run folder, empty or as an earlier session left it.

        Args:
            folder: where `rungs.json` is or will be; None keeps the book in memory only.
            scheduler: name of the plug-in that decides.
            rungs: in use, in epochs. Others of the file are kept, but nobody is judged there.
            clock: seconds, monotonic.

        Raises:
            RunError: `rungs.json` is damaged, of a newer version, or of another scheduler.
        """
        self.path = folder / RUNGS_FILE if folder else None
        self._pace = Pace(clock=clock)
        self.scheduler = scheduler
        self.rungs: dict[int, dict[str, Mapping[str, float | None]]] = {rung: {} for rung in sorted(rungs)}
        self._decisions: dict[tuple[str, int], Decision] = {}
        # neither entries nor decisions ever change, and encoding all of them again at each decision is slow
        self._entry_lines: dict[int, list[str]] = {rung: [] for rung in self.rungs}
        self._decision_lines: list[str] = []
        if self.path:
            self._load(self.path)
        self._saved = len(self._decision_lines)  # of them, that need no saving

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
        """Add a decision on a candidate that was recorded; it is on disk when this returns.

        Raises:
            StorageError: it cannot be written.
        """
        self._add(decision)
        if self.path is None:
            return
        # at first it is due: nobody knows what lies there
        if self._pace.due(len(self._decision_lines) - self._saved, self._saved):
            self.save()
            return
        change = {
            "scheduler": self.scheduler,
            "rung": decision.rung,
            "candidate_id": decision.candidate_id,
            "values": self.rungs[decision.rung][decision.candidate_id],
            "decision": asdict(decision),
        }
        append(self.path.with_name(RUNGS_CHANGES), as_lines([change]))

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
            StorageError: it cannot be written; the old file is left as it was.
        """
        if self.path is None:
            return
        with self._pace.timed():
            rungs = ",\n".join(
                f'"{rung}": {{{_lines(lines)}}}' for rung, lines in sorted(self._entry_lines.items())
            )
            head = f'"version": {VERSION}, "scheduler": {json.dumps(self.scheduler)}'
            text = f'{{{head},\n"rungs": {{{rungs}}},\n"decisions": [{_lines(self._decision_lines)}]}}\n'
            write_text(self.path, text)
            ledger = self.path.with_name(RUNGS_CHANGES)
            with guarded(ledger):
                ledger.unlink(missing_ok=True)  # all of it stands in the file by now
        self._saved = len(self._decision_lines)

    def close(self) -> None:
        """Bring the file up to date; the book can still be read.

        Raises:
            StorageError: it cannot be written; what is decided stands in the ledger.
        """
        if self._saved < len(self._decision_lines):
            self.save()

    def _load(self, path: Path) -> None:
        """Take over the file of an earlier session."""
        found = read_rungs(path)
        if found.scheduler and found.scheduler != self.scheduler:
            raise RunError(
                f"{path}: got a record of scheduler {show(found.scheduler)}; this search runs {self.scheduler!r}. "
                f"Resume with search.scheduler.kind={found.scheduler}, or start a new run."
            )
        for rung, candidates in found.entries.items():
            for candidate_id, values in candidates.items():
                self._enter(rung, candidate_id, values)
        for decision in found.decisions:
            self._add(decision)

    def _enter(self, rung: int, candidate_id: str, values: Mapping[str, float | None]) -> None:
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
