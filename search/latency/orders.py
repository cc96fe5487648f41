"""What travels between a search and the process that measures: one JSON object a line, subjects and figures in words."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from spaces.errors import ResourceError, StudentSearchError
from trainables.costs.latency import Latency
from trainables.costs.subject import Subject
from trainables.costs.target import Target
from trainables.families.base import Blueprint
from trainables.signals import Serving

Order = tuple[Target, Path, list[Subject]]


def order_line(target: Target, folder: Path, subjects: Sequence[Subject]) -> str:
    """Return an order to measure as a line; `read_order` reads it back."""
    order = {
        "target": target.to_dict(),
        "folder": str(folder),
        "subjects": [_subject(one) for one in subjects],
    }
    return json.dumps(order) + "\n"


def read_order(line: str) -> Order:
    """Return target, folder of the table, and what to measure."""
    order = json.loads(line)
    return Target(**order["target"]), Path(order["folder"]), [_read(one) for one in order["subjects"]]


def found_line(latencies: Sequence[Latency]) -> str:
    """Return figures as a line; `read_answer` reads it back."""
    return json.dumps({"found": [one.to_dict() for one in latencies]}) + "\n"


def said_line(text: str) -> str:
    """Return a line for the user as a line."""
    return json.dumps({"said": text}) + "\n"


def failed_line(error: Exception) -> str:
    """Return an error as a line; one that is none of ours with its kind."""
    known = isinstance(error, StudentSearchError)
    return json.dumps({"failed": str(error) if known else f"latency: {type(error).__name__}: {error}"}) + "\n"


def read_answer(line: str) -> list[Latency] | str:
    """Return figures, or a line for the user.

    Raises:
        ResourceError: measuring failed.
        ValueError: the line is torn.
    """
    answer: Mapping[str, Any] = json.loads(line)
    if "failed" in answer:
        raise ResourceError(answer["failed"])
    return [Latency.from_dict(one) for one in answer["found"]] if "found" in answer else str(answer["said"])


def _subject(subject: Subject) -> dict[str, Any]:
    return {
        "model": subject.blueprint.to_dict(),
        "servings": [asdict(one) for one in subject.servings],
        "tokenizer_bytes": subject.tokenizer_bytes,
        "reads": _subject(subject.reads) if subject.reads else None,
    }


def _read(fields: Mapping[str, Any]) -> Subject:
    return Subject(
        blueprint=Blueprint.from_dict(fields["model"]),
        servings=[Serving(**one) for one in fields["servings"]],
        tokenizer_bytes=fields["tokenizer_bytes"],
        reads=_read(fields["reads"]) if fields["reads"] else None,
    )
