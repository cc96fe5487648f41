"""What a run folder holds at one moment, and what no session may ever lose of it."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from analysis.rungs import read_rungs
from search.schedulers.moasha import MOAsha
from spaces.load import load_space
from spaces.objectives import COSTS
from tests.e2e import runs

ENDED = ("finished", "stopped", "rejected")


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """What a run folder held at one moment."""

    rows: dict[str, dict[str, Any]]
    history: dict[tuple[str, int], dict[str, Any]]
    ledgers: dict[str, list[dict[str, Any]]]
    book: dict[str, Any]
    weights: dict[str, bytes]

    @classmethod
    def of(cls, folder: Path) -> "Snapshot":
        """Read a run folder."""
        rows = runs.trial_rows(folder)
        return cls(
            rows=rows,
            history=runs.history_rows(folder),
            ledgers=runs.ledgers(folder),
            book=book_of(folder),
            weights={
                name: (folder / row["checkpoint"] / "checkpoint.pt").read_bytes()
                for name, row in rows.items()
                if row["status"] == "finished" and row["checkpoint"]
            },
        )

    @property
    def open(self) -> set[str]:
        """The candidates that are not through."""
        return {name for name, row in self.rows.items() if row["status"] == "running"}


def book_of(folder: Path) -> dict[str, Any]:
    """Return rungs and decisions, those among them that `rungs.json` does not hold yet."""
    found = read_rungs(folder / "rungs.json")
    return {
        "rungs": {str(rung): dict(entries) for rung, entries in found.entries.items()},
        "decisions": [asdict(one) for one in found.decisions],
    }


def check_nothing_was_lost(before: Snapshot, after: Snapshot) -> None:
    """Compare a run folder before and after a session."""
    for name, row in before.rows.items():
        if row["status"] in ENDED:
            assert after.rows[name]["status"] == row["status"], name
            assert after.rows[name]["epochs"] == row["epochs"], name
    for key, row in before.history.items():
        assert runs.same(after.history[key], row), f"{key} is no longer what it was"
    for name, ledger in before.ledgers.items():
        # the last row of a ledger may be torn from its checkpoint by a kill; the epoch is then trained again
        assert after.ledgers[name][: len(ledger) - 1] == ledger[:-1], (
            f"{name}: more than one epoch was redone"
        )
    for name, weights in before.weights.items():
        if after.rows[name]["checkpoint"]:  # else a better one came
            assert after.weights[name] == weights, f"{name} was finished and is trained again"
    decided = before.book["decisions"]
    assert after.book["decisions"][: len(decided)] == decided
    for rung, entries in before.book["rungs"].items():
        assert entries.items() <= after.book["rungs"][rung].items()


def check_rungs_follow_the_trace(folder: Path) -> None:
    """Take every decision again, in its order, and compare: with those of the trace, with the rungs, with the history."""
    space = load_space(folder / "space.yaml")
    book, history = book_of(folder), runs.history_rows(folder)
    options = {**space.search.scheduler.options, "rungs": tuple(int(rung) for rung in book["rungs"])}
    fresh = MOAsha(MOAsha.Config(**options), space.objectives, folder=None)
    rows = runs.trial_rows(folder)
    for told in book["decisions"]:
        name, rung = told["candidate_id"], told["rung"]
        row = {
            **{cost: rows[name][cost] for cost in COSTS},
            **history[name, rung],
            "role": rows[name]["role"],
        }
        decision = fresh.judge(name, row)
        assert decision is not None, f"{name} was judged twice at epoch {rung}"
        assert asdict(decision) == told
    assert len(fresh.book.decisions) == len(book["decisions"])
    assert {str(rung): entries for rung, entries in fresh.book.rungs.items()} == book["rungs"]
