"""`--json`: what a program that has started a search wants to know, one JSON object a line on standard output."""

import json
import math
from collections.abc import Mapping
from typing import Any, TextIO, final

from analysis.pareto import front
from analysis.run_folder import read_run
from search.reporting.progress import Tally
from spaces.console import tolerant

AXES = ("params", "flops", "latency_ms")


@final
class JsonLines:
    """Tells events: `run`, `progress` and at last `end` or `error`."""

    def __init__(self, stream: TextIO | None) -> None:
        """Take the stream; one that fails says nothing, and costs nothing."""
        self._stream = tolerant(stream)

    def tell(self, event: str, fields: Mapping[str, Any]) -> None:
        """Write a line; a number that is none is null."""
        self._stream.write(json.dumps({"event": event, **_plain(fields)}) + "\n")
        self._stream.flush()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def progress_fields(tally: Tally, *, elapsed_s: float, left_s: float | None) -> dict[str, Any]:
    """Return what `progress` tells."""
    counts = (
        "trials",
        "done",
        "running",
        "finished",
        "stopped",
        "failed",
        "rejected",
        "epochs",
        "epochs_saved",
    )
    return {
        **{name: getattr(tally, name) for name in counts},
        "waiting": tally.waiting or None,
        "hypervolume": tally.hypervolume,
        "best": {best.name: {"value": best.value, "candidate": best.candidate_id} for best in tally.best},
        "elapsed_s": round(elapsed_s, 1),
        "left_s": None if left_s is None else round(left_s, 1),
    }


def end_fields(outcome: Any, seconds: float) -> dict[str, Any]:
    """Return what `end` tells of a session: how it ended, and which candidates stand on the fronts.

    Args:
        outcome: of the session.
        seconds: that the command took.
    """
    run = read_run(outcome.folder)
    statuses = [trial.status for trial in run.trials if trial.role == "search"]
    return {
        "exit_code": outcome.code,
        "folder": str(outcome.folder),
        "report": str(outcome.report),
        "ended_by": outcome.ending.ended_by,
        "reason": outcome.ending.reason,
        "cut": outcome.cut or None,
        "resume_with": outcome.ending.more or None,
        "statuses": {name: statuses.count(name) for name in sorted(set(statuses))},
        "fronts": {axis: [trial.candidate_id for trial in front(run, axis)] for axis in AXES},
        "elapsed_s": round(seconds, 1),
    }
