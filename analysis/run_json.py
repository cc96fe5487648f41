"""The form of `run.json` and `control.json`: what a handed on run folder holds otherwise is told, and never acted on.

Keys that are not listed here may hold anything: they are shown as they are.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spaces.errors import RunError
from spaces.files import refusal

_FLAGS = re.compile(r"(--[a-z-]+ [\w.=,:-]+( |$))*", re.ASCII)  # of a command to copy
_LARGEST = 1e300  # of a number that is calculated with


@dataclass(frozen=True, slots=True)
class Form:
    """What a value may be, in words, and whether one is so."""

    words: str
    holds: Callable[[Any], bool]


def is_number(value: Any) -> bool:
    """Return whether a value is a number, NaN among them, that can be calculated with."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return value != value or abs(value) <= _LARGEST


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 2**63


def list_of(form: Form) -> Form:
    """Return the form of a list of such values."""
    return Form(
        f"a list, each {form.words}", lambda value: isinstance(value, list) and all(map(form.holds, value))
    )


def mapping_of(form: Form) -> Form:
    """Return the form of a mapping to such values, or to null."""
    return Form(
        f"a mapping, each value {form.words} or null",
        lambda value: isinstance(value, dict) and all(v is None or form.holds(v) for v in value.values()),
    )


TEXT = Form("a text", lambda value: isinstance(value, str))
NUMBER = Form("a number", is_number)
WHOLE = Form("a whole number, 0 or more", _is_whole)
FLAG = Form("true or false", lambda value: isinstance(value, bool))
MAPPING = Form("a mapping", lambda value: isinstance(value, dict))
WAY = Form("max or min", lambda value: value in ("max", "min"))
FLAGS = Form("flags of search/run.py", lambda value: isinstance(value, str) and bool(_FLAGS.fullmatch(value)))
FIGURES = mapping_of(NUMBER)

RUN: Mapping[str, Form] = {
    **dict.fromkeys(
        ("name", "command", "started", "ended", "ended_by", "ended_reason", "git_commit", "device"), TEXT
    ),
    **dict.fromkeys(("wall_s", "trained_s", "device_s"), NUMBER),
    **dict.fromkeys(("versions",), mapping_of(TEXT)),
    **dict.fromkeys(
        (
            "hardware",
            "teacher",
            "teachers",
            "dataset",
            "defaults",
            "limits",
            "hypervolume",
            "target",
            "whole_latency",
            "whole_latency_of_students",
        ),
        MAPPING,
    ),
    **dict.fromkeys(("blind", "blind_test"), FIGURES),
    "format": WHOLE,
    "seed": WHOLE,
    "objectives": mapping_of(WAY),
    "rungs": list_of(WHOLE),
    "resumed": list_of(TEXT),
    "metrics": list_of(TEXT),
    "tasks": list_of(TEXT),
    "caveats": list_of(TEXT),
    "sessions": list_of(MAPPING),
    "warm_start": list_of(MAPPING),
    "resume_with": FLAGS,
}
TEACHER: Mapping[str, Form] = {
    **dict.fromkeys(("name", "fingerprint"), TEXT),
    **dict.fromkeys(("params", "flops", "latency_ms", "size_mib"), NUMBER),
    **dict.fromkeys(("metrics", "test_metrics", "guessing"), FIGURES),
    **dict.fromkeys(("fingerprints", "places"), mapping_of(TEXT)),
}
TARGET: Mapping[str, Form] = {
    **dict.fromkeys(("device", "runtime", "dtype"), TEXT),
    **dict.fromkeys(("batch", "threads"), WHOLE),
}
LATENCY: Mapping[str, Form] = dict.fromkeys(("latency_ms", "spread_ms"), NUMBER)
DATASET: Mapping[str, Form] = {
    **dict.fromkeys(("kind", "fingerprint", "description"), TEXT),
    "places": MAPPING,  # options of a plug-in
    "classes": list_of(TEXT),
}
EARLIER: Mapping[str, Form] = {
    "run": TEXT,
    "started": TEXT,
    **dict.fromkeys(("imported", "finished", "first"), WHOLE),
}
SESSION: Mapping[str, Form] = {
    **dict.fromkeys(("started", "host", "command", "code"), TEXT),
    "versions": mapping_of(TEXT),
}
MAYBE_OF_SESSION: Mapping[str, Form] = {
    **dict.fromkeys(("ended", "ended_by", "git_commit"), TEXT),
    "plugins": mapping_of(TEXT),
}
CONTROL_ROW: Mapping[str, Form] = {"candidate_id": TEXT, "data": TEXT, "seed": WHOLE, "distilled": FLAG}


def read_object(path: Path, then: str) -> dict[str, Any]:
    """Return the object in a JSON file.

    Args:
        path: the file.
        then: what to do where it is damaged, as a sentence.

    Raises:
        RunError: it cannot be read, is no JSON, or no object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RunError(f"{path}: cannot be read: {refusal(path, error)}") from error
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path}: damaged, not readable as JSON ({error}). {then}") from error
    if not isinstance(content, dict):
        raise RunError(f"{path}: damaged, got a JSON {type(content).__name__}; an object is needed. {then}")
    return content


def check_facts(path: Path, facts: Mapping[str, Any]) -> None:
    """Refuse a `run.json` whose values are not what a search writes.

    Raises:
        RunError: names the first.
    """
    _check(path, "", facts, RUN)
    _check(path, "teacher.", facts.get("teacher") or {}, TEACHER)
    for name, teacher in (facts.get("teachers") or {}).items():
        if not MAPPING.holds(teacher):
            raise _wrong(path, f"teachers.{name}", teacher, MAPPING)
        _check(path, f"teachers.{name}.", teacher, TEACHER)
    _check(path, "dataset.", facts.get("dataset") or {}, DATASET)
    _check(path, "target.", facts.get("target") or {}, TARGET)
    whole = {f"whole_latency.{name}": one for name, one in (facts.get("whole_latency") or {}).items()}
    whole |= {
        f"whole_latency_of_students.{name}": one
        for name, one in (facts.get("whole_latency_of_students") or {}).items()
    }
    composed = (facts.get("teacher") or {}).get("latency") or {}
    for place, latency in {"teacher.latency": composed, **whole}.items():
        if not MAPPING.holds(latency):
            raise _wrong(path, place, latency, MAPPING)
        _check(path, f"{place}.", latency, LATENCY)
    for number, source in enumerate(facts.get("warm_start") or []):
        _check(path, f"warm_start[{number}].", source, EARLIER, all_of_them=True)
    for number, session in enumerate(facts.get("sessions") or []):
        _check(path, f"sessions[{number}].", session, SESSION, all_of_them=True)
        _check(path, f"sessions[{number}].", session, MAYBE_OF_SESSION)


def read_control(path: Path) -> dict[str, Any]:
    """Return `control.json`.

    Raises:
        RunError: it is damaged.
    """
    content = read_object(path, "Put back a copy, or delete it and run search/control.py again.")
    rows = content.get("rows")
    if not list_of(MAPPING).holds(rows):
        raise _wrong(path, "rows", rows, list_of(MAPPING))
    for number, row in enumerate(content["rows"]):
        _check(path, f"rows[{number}].", row, CONTROL_ROW, all_of_them=True)
        metrics = {name: value for name, value in row.items() if name not in CONTROL_ROW}
        if not FIGURES.holds(metrics):
            raise _wrong(path, f"rows[{number}]", metrics, FIGURES)
    return content


def _check(
    path: Path,
    place: str,
    content: Mapping[str, Any],
    forms: Mapping[str, Form],
    *,
    all_of_them: bool = False,
) -> None:
    for name, form in forms.items():
        value = content.get(name)
        if value is None and not all_of_them:
            continue
        if not form.holds(value):
            raise _wrong(path, place + name, value, form)


def _wrong(path: Path, place: str, value: Any, form: Form) -> RunError:
    got = json.dumps(value)  # as the file has it
    return RunError(
        f"{path}, {place}: got {got[:80]}{'...' if len(got) > 80 else ''}; allowed: {form.words}. "
        "Put back a copy of the file as the search wrote it."
    )
