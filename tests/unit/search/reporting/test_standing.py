"""Counts that follow each change equal those over the whole table."""

import random
from typing import Any

import pytest

from analysis.table import FAILED, STATUSES
from search.reporting.progress import Tally
from search.reporting.standing import Standing


def counted(table: list[dict[str, Any]], whole: dict[str, int], trials: int) -> Tally:
    """Count all rows anew."""
    searched = [row for row in table if row["role"] == "search"]

    def of(*statuses: str) -> list[dict[str, Any]]:
        return [row for row in searched if row["status"] in statuses]

    through, running = of("finished", "stopped"), [row for row in table if row["status"] == "running"]
    longest = max(whole.values(), default=0)
    typical = sum(row["epochs"] for row in through) / len(through) if through else float(longest)
    left = max(trials - len(of("running")) - len(through) - len(of(*FAILED)), 0) * typical
    for row in running:
        full = whole[row["candidate_id"]]
        past = row["epochs"] >= typical or row["role"] != "search"
        left += max((full if past else typical) - row["epochs"], 0)
    return Tally(
        trials=trials,
        running=len(of("running")),
        finished=len(of("finished")),
        stopped=len(of("stopped")),
        failed=len(of(*FAILED)),
        rejected=len(of("rejected")),
        epochs=sum(row["epochs"] for row in table),
        epochs_saved=sum(whole[row["candidate_id"]] - row["epochs"] for row in of("stopped")),
        epochs_left=pytest.approx(left),
    )


@pytest.mark.parametrize("seed", range(5))
def test_counts_follow_every_change(seed: int) -> None:
    rng, standing = random.Random(seed), Standing()
    table: dict[str, dict[str, Any]] = {}
    whole: dict[str, int] = {}
    for _ in range(120):
        name = f"c{rng.randrange(30)}"
        role = (
            table[name]["role"]
            if name in table
            else rng.choice(["search", "search", "search", "blind", "baseline"])
        )
        whole.setdefault(name, rng.randrange(3, 9))
        row = {
            "candidate_id": name,
            "role": role,
            "status": rng.choice(STATUSES),
            "epochs": rng.randrange(whole[name] + 1),
        }
        table[name] = row
        standing.note(dict(row), whole[name])
        assert standing.tally(40) == counted(list(table.values()), whole, 40)
