"""The run folder: where it is, what it says about itself, and how a run is found again."""

import json
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, final

from analysis.run_folder import FACTS_FILE
from analysis.run_json import check_facts
from analysis.table import TRIALS_FILE, saved
from search.run_folder.provenance import check_unedited, fixed_part, git_commit, space_digest, stamp, versions
from spaces.commands import command_line
from spaces.document import read_document
from spaces.errors import RunError, SpaceError
from spaces.files import write_text
from spaces.interruption import shielded
from spaces.ledger import Pace
from spaces.load import Override, dump_space, load_space
from spaces.schema import Space
from spaces.sections import KEEP_ALL

SPACE_FILE = "space.yaml"
CHECKPOINTS = "checkpoints"
LOGS = "logs"
CANDIDATE_FILE = "candidate.json"
FORMAT = 2  # of a run; the first had no number. Raise it when candidates, costs or checkpoints come to mean something else


@final
class RunFacts:
    """`run.json`: what is known of a run, on disk as soon as it is noted."""

    def __init__(self, folder: Path, known: Mapping[str, Any]) -> None:
        """Take what is known so far; nothing is written yet."""
        self._folder, self._known = folder, dict(known)
        self._pace = Pace()

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
        with self._pace.timed():
            self._write(facts)

    def note_now_and_then(self, facts: Callable[[], Mapping[str, Any]]) -> None:
        """Note what changes all the time, unless it was noted just now; the end of a session notes it in any case.

        Args:
            facts: gives them; they do not grow with the run.

        Raises:
            StorageError: as `note`.
        """
        if self._pace.due():
            self.note(**facts())

    def _write(self, facts: Mapping[str, Any]) -> None:
        """Write all that is known."""
        if self._known.get("sessions"):  # how the run ended is how its last session did
            ends = {name: facts[name] for name in ("ended", "ended_by") if name in facts}
            *earlier, last = self._known["sessions"]
            self._known["sessions"] = [*earlier, {**last, **ends}]
        write_facts(self._folder, self._known)


def write_facts(folder: Path, facts: Mapping[str, Any]) -> None:
    """Replace `run.json`."""
    write_text(folder / FACTS_FILE, json.dumps(facts, indent=1, default=str) + "\n")


@contextmanager
def control_session(folder: Path, session: Mapping[str, Any]) -> Iterator[None]:
    """Keep in `run.json` that a control works in a run, as one of its sessions; how the search ended stays as it was.

    Args:
        folder: of the run, which this process owns.
        session: that begins.

    Raises:
        RunError: `run.json` is damaged.
        StorageError: it cannot be written.
    """
    known = read_facts(folder)
    sessions = list(known.get("sessions") or [])

    def keep(**ends: Any) -> None:
        write_facts(folder, {**known, "sessions": [*sessions, {**session, **ends}]})

    keep()
    by = "failed"
    try:
        yield
        by = "trainings"
    except KeyboardInterrupt:
        by = "interrupted"
        raise
    finally:
        with shielded():
            keep(ended=stamp(), ended_by=by)


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
        RunError: `space.yaml` is missing, damaged, or was edited after the run had begun.
        SpaceError: an override does not fit.
    """
    facts = read_facts(folder)
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
    text = (folder / SPACE_FILE).read_text(encoding="utf-8-sig")
    document = read_document(text, SPACE_FILE).value
    check_unedited(folder / SPACE_FILE, document, facts)
    if "keep" not in (
        document.get("checkpoints") or {}
    ):  # of an earlier version, which kept the weights of all
        overrides = [Override(SPACE_FILE, "checkpoints.keep", KEEP_ALL), *overrides]
    return load_space(folder / SPACE_FILE, overrides) if overrides else space


def write_space(folder: Path, space: Space) -> dict[str, Any]:
    """Write the resolved space, which a resume reads; return what run.json keeps of it, so that an edited one is seen."""
    write_text(folder / SPACE_FILE, dump_space(space))
    return space_facts(space)


def space_facts(space: Space) -> dict[str, Any]:
    """Return what run.json keeps of a space: what must stay as it is, and its digest."""
    fixed = fixed_part(read_document(dump_space(space), SPACE_FILE).value)
    return {"space": fixed, "space_digest": space_digest(fixed)}


def first_facts(space: Space, command: str = "") -> dict[str, Any]:
    """Return what is known of a run before anything is trained; `command` as of `session_now`."""
    from trainables.costs.hardware import (
        hardware,  # torch, which a mistake on the command line need not wait for
    )

    return {
        "format": FORMAT,
        "name": space.name,
        "command": command or shlex.join(["python", *sys.argv]),
        "started": stamp(),
        "ended": None,
        "ended_by": None,
        "ended_reason": None,
        "resumed": [],
        "versions": versions(),
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
