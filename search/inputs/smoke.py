"""`--smoke`: the whole path on very little data. What is set for it, and what that changes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from search.schedulers import SCHEDULERS, config_class
from spaces.errors import PluginError, SpaceError
from spaces.leaves import is_domain
from spaces.load import Override, parse_setting, read_draft
from spaces.plugins import resolve
from spaces.rules import show
from trainables.datasets import DATASETS

FLAG = "--smoke"
SMALL: Mapping[str, Any] = {
    "training.epochs": 2,
    "training.pairs_per_epoch": 256,
    "training.warmup_steps": 0,
    "search.trials": 3,
    "evaluation.images": 200,
    "latency.samples": 4,
}
RUNGS = [1]


def smoke_changes(space: Path, given: Sequence[str | Override]) -> tuple[list[Override], str]:
    """Return what `--smoke` sets beside the other changes, and a sentence on it; nothing where the file cannot be read.

    What another flag sets, and what is small already, stays as it is.

    Args:
        space: the file.
        given: all other changes.
    """
    try:
        value = read_draft(space, given).value
    except SpaceError:  # whoever loads the file tells it
        return [], ""
    named = set(_named(given))
    changes, words = [], []
    for path, small in {**SMALL, **_of_data(value), **_of_scheduler(value)}.items():
        before = _at(value, path)
        if any(f"{path}.".startswith(f"{one}.") or one.startswith(f"{path}.") for one in named):
            continue
        if before == small or (_is_count(before) and _is_count(small) and before <= small):
            continue
        changes.append(Override(FLAG, path, small))
        words.append(f"{path} {'default' if before is None else show(before)} -> {show(small)}")
    return (
        changes,
        f"{FLAG} sets {', '.join(words)}" if words else f"{FLAG} changes nothing: all is small already",
    )


def _of_data(value: Any) -> dict[str, Any]:
    """Return what makes a data set small, as its class says; {} for an unknown one, which is told later."""
    kind = _at(value, "dataset.kind")
    try:
        small = resolve(DATASETS, str(kind), "datasets").smoke
    except PluginError:
        return {}
    return {f"dataset.{name}": one for name, one in small.items()}


def _of_scheduler(value: Any) -> dict[str, Any]:
    """Return the one rung, for schedulers that have rungs."""
    kind = str(_at(value, "search.scheduler.kind"))
    try:
        known = {field.name for field in fields(config_class(kind))} if kind in SCHEDULERS else set()
    except PluginError:
        return {}
    return {"search.scheduler.rungs": RUNGS} if "rungs" in known else {}


def _named(given: Sequence[str | Override]) -> Iterator[str]:
    """Yield the path of every single value that changes name, those inside of mappings too."""
    for change in given:
        parsed = parse_setting(change)[0] if isinstance(change, str) else change
        if parsed is not None:
            yield from _leaves(parsed.path, parsed.value)


def _leaves(path: str, value: Any) -> Iterator[str]:
    if not isinstance(value, dict) or is_domain(value):
        yield path
        return
    for key, part in value.items():
        yield from _leaves(f"{path}.{key}", part)


def _at(value: Any, path: str) -> Any:
    """Return the plain value at a dotted path; None where there is none."""
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _is_count(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
