"""The run folder: where it is, what it says about itself, and how a run is found again."""

import json
import platform
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, final

from analysis.run_folder import FACTS_FILE
from analysis.run_json import check_facts
from analysis.table import HISTORY_FOLDER, TRIALS_FILE, saved
from spaces.commands import command_line
from spaces.errors import RunError, SpaceError
from spaces.files import storage_error, write_text
from spaces.load import Override, dump_space, load_space
from spaces.schema import Space

SPACE_FILE = "space.yaml"
CHECKPOINTS = "checkpoints"
CANDIDATE_FILE = "candidate.json"
FORMAT = 2  # of a run; the first had no number. Raise it when candidates, costs or checkpoints come to mean something else
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
        StorageError: it cannot be made.
    """
    if out is not None:
        check_out(out)
        folders = [out]
    else:
        folders = [RUNS / (name if number == 1 else f"{name}-{number}") for number in range(1, 10_000)]
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=out is not None)
        except FileExistsError:
            continue
        except OSError as error:
            raise storage_error(folder, error, what="folder") from error
        return folder
    raise RunError(f"{RUNS}: holds 9,999 runs called {name}. Give a folder with --out.")


def check_out(out: Path) -> None:
    """Refuse a folder for a new run that holds something already.

    Raises:
        RunError: says what it holds.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        what = _what_is_in(out)
        raise RunError(
            f"--out {out}: {what}; nothing is ever overwritten. Give a new folder, or --resume {out} to go on with it."
        )


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


@final
class RunFacts:
    """`run.json`: what is known of a run, on disk as soon as it is noted."""

    def __init__(self, folder: Path, known: Mapping[str, Any]) -> None:
        """Take what is known so far; nothing is written yet."""
        self._folder, self._known = folder, dict(known)

    def __getitem__(self, name: str) -> Any:
        return self._known[name]

    @property
    def known(self) -> Mapping[str, Any]:
        """All facts; not to be changed."""
        return self._known

    def note(self, **facts: Any) -> None:
        """Add or change facts, and write them all.

        Raises:
            StorageError: the file cannot be written; the facts are known all the same.
        """
        self._known.update(facts)
        write_facts(self._folder, self._known)


def write_facts(folder: Path, facts: Mapping[str, Any]) -> None:
    """Replace `run.json`."""
    write_text(folder / FACTS_FILE, json.dumps(facts, indent=1, default=str) + "\n")


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
        facts = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(facts, dict) or "objectives" not in facts:
            raise ValueError("it does not describe a run")
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(
            f"{path}: damaged ({error}). {saved(folder)} Put back a copy of {FACTS_FILE}, or start a new run."
        ) from error
    check_facts(path, facts)
    return facts


def check_format(folder: Path, facts: Mapping[str, Any], asked: str) -> None:
    """Refuse a run of another version of this program, whose candidates, costs and checkpoints are not ours.

    Args:
        folder: of the run.
        facts: its `run.json`.
        asked: first words of the message: flag and folder, as the user named them.

    Raises:
        RunError: says what can be done with such a run.
    """
    got = facts.get("format", 1)
    if got == FORMAT:
        return
    commit = f", commit {facts['git_commit']}" if facts.get("git_commit") else ""
    older = isinstance(got, int) and got < FORMAT
    read = (
        f"Its tables can be read: {command_line('analysis/report.py', folder)}, "
        f"{command_line('search/simulate.py', '--table', folder)}. "
        if older
        else ""
    )
    raise RunError(
        f"{asked}: got a run of format {got}, which {'an older' if older else 'a newer'} version of this program wrote"
        f"{commit}; allowed: format {FORMAT}. {read}To go on with it, or to export or control its students, use the "
        f"version that wrote it; to search again: {command_line('search/run.py', '--space', folder / SPACE_FILE)}"
    )


def read_space(folder: Path, overrides: Sequence[str | Override]) -> Space:
    """Return the space that a run was started with, with what a resume may change.

    Raises:
        RunError: `space.yaml` is missing or damaged.
        SpaceError: an override does not fit.
    """
    read_facts(folder)
    if not (folder / TRIALS_FILE).exists():
        raise RunError(
            f"{folder}: damaged ({TRIALS_FILE} is missing). {saved(folder)} Put back a copy, or start a new run."
        )
    try:
        space = load_space(folder / SPACE_FILE)  # alone first: what is wrong now is the file's fault
    except SpaceError as error:
        raise RunError(
            f"{folder / SPACE_FILE}: damaged ({error.problems[0]}). {saved(folder)} Put back a copy, or start a new run."
        ) from error
    return load_space(folder / SPACE_FILE, overrides) if overrides else space


def write_space(folder: Path, space: Space) -> None:
    """Write the resolved space, which a resume reads."""
    write_text(folder / SPACE_FILE, dump_space(space))


def first_facts(space: Space) -> dict[str, Any]:
    """Return what is known of a run before anything is trained."""
    from trainables.costs.hardware import (
        hardware,  # torch, which a mistake on the command line need not wait for
    )

    return {
        "format": FORMAT,
        "name": space.name,
        "command": shlex.join(["python", *sys.argv]),
        "started": stamp(),
        "ended": None,
        "ended_by": None,
        "ended_reason": None,
        "resumed": [],
        "versions": {"python": platform.python_version(), **_versions()},
        "git_commit": _git_commit(),
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


def _git_commit() -> str:
    """Return the commit of this checkout, with `+` if files differ from it; "" outside of git."""

    def git(*words: str) -> str:
        here = Path(__file__).resolve().parent
        done = subprocess.run(
            ["git", *words], cwd=here, capture_output=True, text=True, check=True, timeout=10
        )
        return done.stdout.strip()

    try:
        head, dirty = (
            git("rev-parse", "--short", "HEAD"),
            git("status", "--porcelain", "--untracked-files=no"),
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return head + ("+" if dirty else "")


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
