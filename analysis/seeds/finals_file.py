"""The form of `finalised.json`: what a handed on run folder holds otherwise is told, and never acted on."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from analysis.run_json import FIGURES, MAPPING, NUMBER, TEXT, WHOLE, Form, is_number, list_of, read_object
from spaces.errors import RunError

FINALS_FILE = "finalised.json"
REPAIR = "Put back a copy, or delete it and run search/finalise.py again: what is trained is kept."
_TEXTS = Form(
    "texts", lambda value: isinstance(value, dict) and all(isinstance(v, str) for v in value.values())
)
REQUEST: Mapping[str, Form] = {
    "key": TEXT,
    "epochs": WHOLE,
    "fine_tune": WHOLE,
    "seeds": WHOLE,
    "counts": _TEXTS,
    "split": TEXT,
    "candidates": list_of(TEXT),
    "command": TEXT,
    "rows": list_of(MAPPING),
    "models": list_of(MAPPING),
    "forms": list_of(MAPPING),
}
MAYBE_ASKED: Mapping[str, Form] = {
    "teachers": _TEXTS,
    "domains": list_of(TEXT),
    "notes": list_of(TEXT),
}
ROW: Mapping[str, Form] = {
    **dict.fromkeys(("candidate_id", "method", "stage", "domain"), TEXT),
    "seed": WHOLE,
    "epochs": WHOLE,
    "metrics": FIGURES,
}
MODEL: Mapping[str, Form] = {
    "candidate_id": TEXT,
    "form": TEXT,
    "costs": Form(
        "numbers",
        lambda value: isinstance(value, dict) and all(v is None or is_number(v) for v in value.values()),
    ),
}
MAYBE: Mapping[str, Form] = {"metrics": FIGURES, "wall_s": NUMBER, "folder": TEXT, "teacher": TEXT}


def read_finals(folder: Path) -> dict[str, Any] | None:
    """Return `finalised.json` of a run, None where there is none.

    Raises:
        RunError: it is damaged; names the first place.
    """
    path = folder / FINALS_FILE
    if not path.is_file():
        return None
    content = read_object(path, REPAIR)
    finals = content.get("finals")
    if not list_of(MAPPING).holds(finals):
        raise _wrong(path, "finals", list_of(MAPPING))
    for number, one in enumerate(content["finals"]):
        place = f"finals[{number}]"
        _check(path, place, one, {**REQUEST, **_there(one, MAYBE_ASKED)})
        for name, forms in (("rows", ROW), ("models", MODEL), ("forms", MODEL)):
            for index, row in enumerate(one[name]):
                _check(path, f"{place}.{name}[{index}]", row, {**forms, **_there(row, MAYBE)})
    return content


def _there(content: Mapping[str, Any], forms: Mapping[str, Form]) -> dict[str, Form]:
    """Return the forms of what may be missing, and is there."""
    return {key: form for key, form in forms.items() if content.get(key) is not None}


def _check(path: Path, place: str, content: Mapping[str, Any], forms: Mapping[str, Form]) -> None:
    for name, form in forms.items():
        if not form.holds(content.get(name)):
            raise _wrong(path, f"{place}.{name}", form)


def _wrong(path: Path, place: str, form: Form) -> RunError:
    return RunError(f"{path}, {place}: damaged; allowed: {form.words}. {REPAIR}")
