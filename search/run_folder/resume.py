"""Going on with a run: what may change, what must be as it was, and where its data and teachers lie by now."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search.run_folder.facts import check_format, read_facts
from search.run_folder.provenance import CHANGEABLE, PLACES
from search.run_folder.warm_start_file import WARM_START_FILE, check_kept
from spaces.commands import command_line
from spaces.errors import RunError
from spaces.load import Override
from spaces.paths import is_there, listed
from trainables.datasets import PLACES as PLACES_OF_DATA
from trainables.teachers.naming import TeacherName, checkpoints_of, settled_name, with_temperature


def check_changes(folder: Path, *, given: Sequence[str], settings: Sequence[str], warm_start: bool) -> None:
    """Refuse flags that would make the run another one.

    Args:
        folder: of the run.
        given: flags that say what a run begins with: --space, --seed, ...
        settings: texts `path=value` of --set.
        warm_start: whether --warm-start was given.

    Raises:
        RunError: names the flags.
    """
    if warm_start:
        raise RunError(
            f"--resume {folder}: got --warm-start; allowed: only when a run begins. What a run learns from others "
            f"it takes over once, into {WARM_START_FILE}, so that every resume goes on as it would have gone on "
            "unbroken. Drop --warm-start, or start a new run with it."
        )
    refused = [
        *given,
        *(f"--set {text}" for text in settings if not _may_change(_pair(text)[0])),
    ]
    if refused:
        raise RunError(
            f"--resume {folder}: got {', '.join(refused)}; allowed beside --resume: --trials, "
            "--wall-hours, --device-hours, --address, --workers-per-trial, --gpus-per-worker, --max-concurrent, --train, "
            "--retry-failed, --log, --json, --set resources.*, --set failures.*, --set search.stop.*, --set search.trials, "
            "--set checkpoints.keep, --set latency.samples, --set plan.*; and where data and teacher lie by now, if their "
            "contents are the same: --dataset, --teacher, --set dataset.file, --set dataset.root, --set dataset.image_root. "
            "Everything else is as the run began; start a new one."
        )


def _may_change(path: str) -> bool:
    """Return whether a resume may set a field of the space: when, where and how long, or a place where contents agree."""
    return path in PLACES or any(path == name or path.startswith(f"{name}.") for name in CHANGEABLE)


def check_resumable(folder: Path) -> None:
    """Refuse to go on with a run of another version of this program.

    Raises:
        RunError: says what can be done with it; or the folder is no run.
    """
    check_format(folder, read_facts(folder), f"--resume {folder}")


def check_same_inputs(folder: Path, fingerprints: Mapping[str, str]) -> None:
    """Refuse another teacher or other data than the run began with, wherever they lie.

    Raises:
        RunError: names both fingerprints; or what the run was started from is lost.
    """
    facts = read_facts(folder)
    check_kept(folder, facts)
    for name, fingerprint in fingerprints.items():
        before = facts.get(name, {}).get("fingerprint")
        if before and before != fingerprint:
            raise RunError(
                f"--resume {folder}: the {name} has fingerprint {fingerprint}, the run began with {before}: its contents are "
                f"others. Put the old {name} back, or say where it lies ({_FLAGS[name]}), or start a new run."
            )


_FLAGS = {
    "teacher": "--teacher FOLDER",
    "dataset": "--dataset KIND:PLACE, --set dataset.image_root=FOLDER",
}


@dataclass(frozen=True, kw_only=True)
class Moved:
    """What a resume changes.

    Attributes:
        changes: of the space.
        places: teacher -> where it lies, of a run of several; of one alone the space says so itself.
    """

    changes: Sequence[str | Override]
    places: Mapping[str, str]


def moved(folder: Path, changes: Sequence[str | Override]) -> Moved:
    """Return what to change in the space of a run to resume, flags that say where data and teachers lie put into its terms.

    Raises:
        RunError: data of another kind, or a teacher that is none of the run's.
    """
    facts = read_facts(folder)
    teacher: Mapping[str, Any] = facts.get("teacher") or {}
    places, several = dict(teacher.get("places") or {}), len(teacher.get("places") or {}) > 1
    kept: list[str | Override] = []
    for change in changes:
        path, value = _pair(change)
        if path == "dataset" and isinstance(change, Override):
            kept += _same_kind(folder, change, str((facts.get("dataset") or {}).get("kind", "")))
        elif path == "teacher" and several:
            name, place = _named(folder, str(value), teacher.get("fingerprints") or {}, places)
            places[name] = place
        else:
            kept.append(change)
    return Moved(changes=kept, places=places if several else _with_temperature(places, kept))


def _with_temperature(places: Mapping[str, str], changes: Sequence[str | Override]) -> dict[str, str]:
    """Return the only teacher's name with the temperature that the run found for it; {} where its name says all."""
    found = {}
    for name, place in places.items():
        temperature = TeacherName.parsed(place).temperature
        typed = [str(value) for path, value in map(_pair, changes) if path == "teacher"]
        now = settled_name(typed[-1]) if typed else name
        if temperature is not None and TeacherName.parsed(now).temperature is None:
            found[now] = with_temperature(now, temperature)
    return found


def _pair(change: str | Override) -> tuple[str, Any]:
    if isinstance(change, Override):
        return change.path, change.value
    path, _, value = change.partition("=")
    return path.strip(), value.strip()


def _same_kind(folder: Path, change: Override, kind: str) -> list[str | Override]:
    """Return the change of the file alone: all other options of the data are as the run began."""
    if change.value.get("kind") != kind:
        raise RunError(
            f"--resume {folder}: got {change.flag}; allowed: data of the kind that the run began with, {kind}, and with the same "
            "contents. Leave the flag out, or start a new run."
        )
    return [
        Override(change.flag, f"dataset.{name}", change.value[name])
        for name in PLACES_OF_DATA
        if name in change.value
    ]


def _named(
    folder: Path, place: str, fingerprints: Mapping[str, str], places: Mapping[str, str]
) -> tuple[str, str]:
    """Return which of several teachers lies at a place, and the place with the temperature that the run found for it."""
    from trainables.teachers.kept import open_teacher  # slow, and needed only here

    found = open_teacher(place).files.fingerprint
    told = {one: TeacherName.parsed(kept).temperature for one, kept in places.items()}
    for name, fingerprint in fingerprints.items():
        temperature = told.get(name) if TeacherName.parsed(place).temperature is None else None
        now = place if temperature is None else with_temperature(place, temperature)
        if fingerprint == (found if now == place else open_teacher(now).files.fingerprint):
            return name, now
    known = ", ".join(f"{name} ({fingerprint})" for name, fingerprint in fingerprints.items())
    raise RunError(
        f"--resume {folder}: the teacher {place} has fingerprint {found}; allowed: one of those that the run began with, {known}."
    )


def check_in_place(folder: Path, dataset: Mapping[str, Any], teachers: Sequence[str]) -> None:
    """Refuse to go on with a run whose files have left their place, before anything is loaded.

    Args:
        folder: of the run.
        dataset: kind and options of its data.
        teachers: its teachers, folders from the root.

    Raises:
        RunError: each file, and the flag that says where it lies now.
    """
    gone = []
    for name, flag in (
        ("file", f"--dataset {dataset.get('kind') or 'KIND'}:FILE"),
        ("root", f"--dataset {dataset.get('kind') or 'KIND'}:FOLDER"),
        ("image_root", "--set dataset.image_root=FOLDER"),
    ):
        several = isinstance(dataset.get(name), list | tuple)
        named = flag if not several else f"--set 'dataset.{name}=[FOLDER, ...]'"
        gone += [
            f"dataset.{name} {path} ({named})" for path in listed(dataset.get(name)) if not is_there(path)
        ]
    gone += [
        f"teacher {one} (--teacher FOLDER)"
        for name in teachers
        for one in checkpoints_of(name)
        if Path(one).is_absolute() and not Path(one).exists()
    ]
    if gone:
        raise RunError(
            f"--resume {folder}: not there: {', '.join(gone)}. allowed: what the run began with, at any place, if its "
            f"contents are the same. Put them back, or add the flag that says where they lie now: "
            f"{command_line('search/run.py', '--resume', folder)} FLAG"
        )
