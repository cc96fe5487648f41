"""`warm_start.jsonl`: what a run took over from earlier runs, so that a resume needs their folders no more."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from search.proposal import NOT_PROPOSED, Past, Proposal
from spaces.candidate import Candidate
from spaces.domains import Scalar
from spaces.errors import RunError
from spaces.files import write_text

WARM_START_FILE = "warm_start.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierResults:
    """Trained candidates of other runs of the same space, teacher and data.

    Attributes:
        past: in the order in which they ended, run after run; index -1, their ids are those of their runs.
        first: values of the candidates to train first, the most telling one first.
        sources: for run.json, one per run: run (name of its folder), started, imported and finished (numbers of
            candidates), first (how many of them are in `first`).
    """

    past: Sequence[Past] = ()
    first: Sequence[Mapping[str, Scalar]] = ()
    sources: Sequence[Mapping[str, Any]] = field(default_factory=tuple)


def write_earlier(folder: Path, earlier: EarlierResults) -> None:
    """Write the file, whole or not at all: one line per candidate, then one per candidate to train first.

    Raises:
        StorageError: it cannot be written.
    """
    lines: list[Mapping[str, Any]] = [_line(past) for past in earlier.past]
    lines += [{"first": dict(values)} for values in earlier.first]
    text = "".join(json.dumps(line, allow_nan=False) + "\n" for line in lines)
    write_text(folder / WARM_START_FILE, text)


def read_earlier(folder: Path) -> EarlierResults:
    """Return what a run folder holds, `sources` aside; nothing for a run that was started cold.

    Raises:
        RunError: the file is damaged.
    """
    path = folder / WARM_START_FILE
    if not path.exists():
        return EarlierResults()
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        first = [line["first"] for line in lines if "first" in line]
        past = [_past(line) for line in lines if "first" not in line]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RunError(
            f"{path}: damaged ({type(error).__name__}: {error}); allowed: the file as the search wrote it. "
            "Put back a copy, or start a new run with --warm-start."
        ) from error
    return EarlierResults(past=past, first=first)


def check_kept(folder: Path, facts: Mapping[str, Any]) -> None:
    """Refuse to go on with a warm-started run that has lost what it learned from.

    Raises:
        RunError: run.json tells of a warm start, and the file is not there.
    """
    path = folder / WARM_START_FILE
    if facts.get("warm_start") and not path.exists():
        names = ", ".join(str(source["run"]) for source in facts["warm_start"])
        raise RunError(
            f"{path}: missing, although the run was started from the results of {names}; without it the search would "
            "go on otherwise than it began. Put back a copy, or start a new run with --warm-start."
        )


def _line(past: Past) -> dict[str, Any]:
    """Return a candidate as one line of the file."""
    candidate = past.proposal.candidate
    return {
        "candidate_id": candidate.candidate_id,
        "seed": candidate.seed,
        "status": past.status,
        "values": dict(past.proposal.values),
        "costs": dict(past.costs),
        "rows": [dict(row) for row in past.rows],
        "config": candidate.config,
    }


def _past(line: Mapping[str, Any]) -> Past:
    """Return the candidate of one line."""
    candidate = Candidate(line["candidate_id"], line["config"], line["seed"])
    return Past(
        proposal=Proposal(candidate=candidate, index=NOT_PROPOSED, values=line["values"]),
        status=line["status"],
        costs=line["costs"],
        rows=line["rows"],
    )
