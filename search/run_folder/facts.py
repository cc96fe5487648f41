"""The run folder: where it is, what it says about itself, and how a run is found again."""

import json
import platform
import shlex
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from analysis.run_folder import FACTS_FILE
from analysis.table import HISTORY_FOLDER, TRIALS_FILE, atomic_path, saved
from search.tune.cluster import git_commit
from spaces.errors import ResourceError, RunError, SpaceError
from spaces.load import Override, dump_space, load_space
from spaces.schema import Space
from trainables.costs.hardware import hardware

SPACE_FILE = "space.yaml"
RUNS = Path("runs")
PACKAGES = (
    "torch",
    "torchvision",
    "timm",
    "transformers",
    "ray",
    "pyarrow",
    "hyperopt",
    "plotly",
    "moocore",
    "numpy",
)


def new_folder(name: str, out: Path | None) -> Path:
    """Return a fresh run folder, made: `out`, or runs/NAME, runs/NAME-2, ...

    Raises:
        RunError: `out` holds something already.
        ResourceError: it cannot be made.
    """
    if out is not None:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            what = _what_is_in(out)
            raise RunError(
                f"--out {out}: {what}; nothing is ever overwritten. Give a new folder, or --resume {out} to go on with it."
            )
        folders = [out]
    else:
        folders = [RUNS / (name if number == 1 else f"{name}-{number}") for number in range(1, 10_000)]
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=out is not None)
        except FileExistsError:
            continue
        except OSError as error:
            raise ResourceError(
                f"run folder {folder}: {error.strerror}. Give a folder that you may write with --out."
            ) from error
        return folder
    raise RunError(f"{RUNS}: holds 9,999 runs called {name}. Give a folder with --out.")


def discard_untrained(folder: Path) -> None:
    """Remove a new run folder if no epoch stands in it: a mistake that ends a search at once leaves nothing."""
    if any((folder / HISTORY_FOLDER).glob("*")):
        return
    shutil.rmtree(folder)
    if folder.parent == RUNS and not any(RUNS.iterdir()):
        RUNS.rmdir()


def _what_is_in(out: Path) -> str:
    if not out.is_dir():
        return "is a file"
    try:
        space = load_space(out / SPACE_FILE)
    except SpaceError:
        return "is not empty"
    return f"holds a run of the space {space.name!r}"


def write_facts(folder: Path, facts: Mapping[str, Any]) -> None:
    """Replace `run.json`."""
    with atomic_path(folder / FACTS_FILE) as draft:
        draft.write_text(json.dumps(facts, indent=1, default=str) + "\n", encoding="utf-8")


def read_facts(folder: Path) -> dict[str, Any]:
    """Return `run.json`.

    Raises:
        RunError: the folder is no run, or the file is damaged; says what was saved.
    """
    path = folder / FACTS_FILE
    if not folder.is_dir():
        raise RunError(f"{folder}: no such folder. Give the folder of a run, such as runs/dlip.")
    if not path.exists() and not (folder / SPACE_FILE).exists():
        raise RunError(
            f"{folder}: is no run ({FACTS_FILE} and {SPACE_FILE} are missing). Give the folder of a run, such as runs/dlip."
        )
    try:
        facts = json.loads(path.read_text())
        if not isinstance(facts, dict) or "objectives" not in facts:
            raise ValueError("it does not describe a run")
    except (OSError, ValueError) as error:
        raise RunError(
            f"{path}: damaged ({error}). {saved(folder)} Put back a copy of {FACTS_FILE}, or start a new run."
        ) from error
    return facts


def read_space(folder: Path, overrides: Sequence[str | Override]) -> Space:
    """Return the space that a run was started with, with what a resume may change.

    Raises:
        RunError: `space.yaml` is missing or damaged.
    """
    read_facts(folder)
    if not (folder / TRIALS_FILE).exists():
        raise RunError(
            f"{folder}: damaged ({TRIALS_FILE} is missing). {saved(folder)} Put back a copy, or start a new run."
        )
    try:
        return load_space(folder / SPACE_FILE, overrides)
    except SpaceError as error:
        if "--" in str(error):
            raise
        raise RunError(
            f"{folder / SPACE_FILE}: damaged ({error.problems[0]}). {saved(folder)} Put back a copy, or start a new run."
        ) from error


def write_space(folder: Path, space: Space) -> None:
    """Write the resolved space, which a resume reads."""
    with atomic_path(folder / SPACE_FILE) as draft:
        draft.write_text(dump_space(space), encoding="utf-8")


def first_facts(space: Space) -> dict[str, Any]:
    """Return what is known of a run before anything is trained."""
    return {
        "name": space.name,
        "command": shlex.join(["python", *sys.argv]),
        "started": stamp(),
        "ended": None,
        "ended_by": None,
        "ended_reason": None,
        "resumed": [],
        "versions": {"python": platform.python_version(), **_versions()},
        "git_commit": git_commit(),
        "hardware": hardware(),
        "seed": space.search.seed,
        "objectives": dict(space.objectives),
        "limits": space.resolved().get("limits", {}),
        "rungs": [],
        "blind": None,
        "teacher": {},
        "dataset": {},
        "defaults": {},
    }


def stamp() -> str:
    """Return the time as run.json and the report show it."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
