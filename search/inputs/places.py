"""Where data, teachers and weights of a space lie, the same from whatever folder a command is given; where what is derived of
them lies; and where the work on them is done."""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from spaces.domains import Domain
from spaces.errors import StorageError, TeacherError
from spaces.files import MIB, atomic_folder, make_folder
from spaces.paths import is_there, listed, settled
from spaces.schema import Space
from spaces.sections import StudentSection
from spaces.turns import in_turn
from trainables.datasets import PLACES
from trainables.datasets.cache_folder import STORAGE, cache_folder, stored_in
from trainables.datasets.node_copies import NODE_COPIES, copied_to
from trainables.families import PLACES as PLACES_OF_STUDENTS
from trainables.tasks import PLACES as PLACES_OF_TASKS
from trainables.teachers.naming import of_checkpoints, settled_name

PATH_OPTIONS = PLACES  # of data sets


def settled_teacher(name: str) -> str:
    """Return a teacher's name as any process can load it: folders and files from the root, any other as it is."""
    return settled_name(name)


def settled_data(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a data set, its paths from the root."""
    paths = {name: settings[name] for name in PATH_OPTIONS if name in settings}
    return {**settings, **{name: _from_root(path) for name, path in paths.items()}}


def _from_root(path: Any) -> Any:
    """Return a path, or each of a list of them, from the root; anything else as it is, for its reader to tell."""
    if isinstance(path, list | tuple):
        return [_from_root(one) for one in path]
    return str(settled(path)) if isinstance(path, str) and path.strip() else path


def settled_space(space: Space) -> Space:
    """Return a space whose data, teacher and files of weights and tasks are named from the root, as its run folder keeps them.

    What is not there stays as typed, to be told as the user named it. Of several teachers or files the names stay, too: they
    are values that a candidate has; run.json keeps the teachers' places.
    """
    settings = settled_data(space.dataset.options)
    paths = {name: settings[name] for name in PATH_OPTIONS if name in settings}
    there = {name: path for name, path in paths.items() if all(map(is_there, listed(path)))}
    teacher = space.teacher if isinstance(space.teacher, Domain) else settled_teacher(space.teacher)
    dataset = space.dataset.model_copy(update=there)
    student = _settled_student(space.student)
    baselines = {name: one.model_copy(update=_there(one.options)) for name, one in space.baselines.items()}
    tasks = space.tasks and {name: _settled_task(name, options) for name, options in space.tasks.items()}
    moved = {
        "teacher": teacher,
        "dataset": dataset,
        "student": student,
        "baselines": baselines,
        "tasks": tasks,
    }
    return space.model_copy(update=moved)


def _settled_task(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a task, the file that they name from the root where it is there."""
    files = {option: options.get(option) for option in PLACES_OF_TASKS.get(name, ())}
    there = {
        option: str(settled(file))
        for option, file in files.items()
        if isinstance(file, str) and is_there(file)
    }
    return {**options, **there}


def _settled_student(section: StudentSection) -> StudentSection:
    """Return a student whose files are named from the root, those under the name of a kind too."""
    moved: dict[str, Any] = _there(section.shared())
    for kind in section.kinds:
        if found := _there(section.own(kind)):
            moved[kind] = {**section.own(kind), **found}
    return section.model_copy(update=moved)


def _there(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the files that options of a student name and that are there, from the root; a part that names one as a whole."""
    found: dict[str, Any] = {}
    for path in PLACES_OF_STUDENTS:
        named = _named(options, path)
        if not isinstance(named, str) or not is_there(named):
            continue
        part, _, option = path.rpartition(".")
        if part:
            found[part] = {**options[part], **found.get(part, {}), option: str(settled(named))}
        else:
            found[option] = str(settled(named))
    return found


def _named(options: Mapping[str, Any], path: str) -> Any:
    """Return what stands at a dotted path of options; None where nothing does."""
    part, _, option = path.rpartition(".")
    around = options.get(part) if part else options
    return around.get(option) if isinstance(around, Mapping) else None


def files_of_students(space: Space) -> list[str]:
    """Return the files of the user's that students and baselines of a space may name, all values of what is searched."""
    student = space.student
    sections = [student.shared(), *(student.own(kind) for kind in student.kinds)]
    sections += [one.options for one in space.baselines.values()]
    named = [value for options in sections for path in PLACES_OF_STUDENTS if (value := _named(options, path))]
    values = [one.corners() if isinstance(one, Domain) else [one] for one in named]
    return sorted({str(settled(str(value))) for some in values for value in some if is_there(str(value))})


STORAGE_FOLDER = ".storage"  # beside the run folders
LARGEST_BESIDE = 64 * MIB  # of a tokenizer or config beside a file of weights


def chosen_storage(named: Path | None, *, kept: str, runs: Path | None) -> tuple[Path, str] | None:
    """Return the folder of all that is derived and a line on why it is that one; None leaves it with the user's other caches.

    Args:
        named: what the user asks for.
        kept: what an earlier session of the run used, "" if nothing was named then.
        runs: where the run folder of a search on a cluster lies, which every node sees; None without a cluster.
    """
    if named is not None:
        return settled(named), "--storage"
    if os.environ.get(STORAGE):
        return settled(os.environ[STORAGE]), STORAGE
    if kept and Path(kept).is_dir():
        return Path(kept), "as in the session before; --storage DIR names another"
    if runs is not None:
        return settled(
            runs
        ) / STORAGE_FOLDER, "beside the run, where every node sees it; --storage DIR names another"
    return None


def chosen_copies(named: Path | None) -> str:
    """Return the folder in which each node is to keep copies of the caches that its trials read, from the root; "" for none."""
    asked = named or os.environ.get(NODE_COPIES)
    return str(settled(asked)) if asked else ""


@contextmanager
def stored(
    named: Path | None,
    *,
    kept: str,
    runs: Path | None,
    copies: Path | None = None,
    say: Callable[[str], None],
) -> Iterator[None]:
    """Let all that is derived of teacher and data lie in `chosen_storage` as long as the block lasts; tell where that is.

    Args:
        named, kept, runs: see `chosen_storage`.
        copies: see `chosen_copies`.
        say: takes a line.

    Raises:
        StorageError: the folder cannot be made.
    """
    with copied_to(chosen_copies(copies)), _stored(chosen_storage(named, kept=kept, runs=runs), say):
        yield


@contextmanager
def _stored(found: tuple[Path, str] | None, say: Callable[[str], None]) -> Iterator[None]:
    if found is None:
        yield
        return
    folder, why = found
    try:
        make_folder(folder)
    except StorageError as error:
        raise StorageError(f"storage {error} Name one that can be written: --storage /a/folder") from error
    say(f"storage: {folder} ({why})")
    with stored_in(str(folder)):
        yield


def copied_teacher(name: str, folder: Path, fingerprint: str, *, say: Callable[[str], None]) -> Path:
    """Return the folder of a teacher's copy in the storage, made where there is none yet.

    Args:
        name: of the teacher.
        folder: in which its files lie.
        fingerprint: of it; another teacher has another copy.
        say: takes a line.

    Raises:
        StorageError: it cannot be written.
        TeacherError: what was copied is not the teacher.
    """
    copy = _copy(name, folder, fingerprint, say=say)
    _check_copy(name, str(copy), fingerprint, of=str(folder))
    return copy


def copied_parts(name: str, fingerprint: str, *, say: Callable[[str], None]) -> str:
    """Return the name of a teacher that is more than one folder (parts, a temperature, a file) with copies of all its files.

    Raises:
        StorageError, TeacherError: as `copied_teacher` does.
    """
    from trainables.teachers.kept import place_of  # slow, and needed only here

    def moved(one: str) -> str:
        place = place_of(one)
        if place is None:
            return one
        copy = _copy(one, place, f"{fingerprint} {one}", say=say)
        return str(copy if place.is_dir() else copy / place.name)

    found = of_checkpoints(name, moved)
    _check_copy(name, found, fingerprint, of=name)
    return found


def _copy(name: str, place: Path, key: str, *, say: Callable[[str], None]) -> Path:
    """Return the folder in the storage that holds the files of a teacher, copied where they are not there yet."""
    copy = cache_folder("teacher-files") / hashlib.sha256(key.encode()).hexdigest()[:16]
    if copy.is_dir():
        return copy
    with in_turn(copy, "teacher's copy", say=say):
        if not copy.is_dir():
            say(f"teacher {name}: not every node sees {place}; copied to {copy}")
            with atomic_folder(copy) as draft:
                for file in sorted(_files_of(place)):
                    shutil.copyfile(file, draft / file.name)
    return copy


def _files_of(place: Path) -> Iterator[Path]:
    """Yield the files of a teacher: of a folder all, of a hub's cache links to elsewhere; of a file of weights that one, and what
    may belong to it in its folder, which may hold anything else."""
    if place.is_dir():
        yield from (file for file in place.iterdir() if file.is_file())
        return
    from trainables.teachers.hub import SMALL_FILES  # slow, and needed only here

    yield place
    for file in place.parent.iterdir():
        fits = any(file.match(pattern) for pattern in SMALL_FILES)
        if fits and file != place and file.is_file() and file.stat().st_size <= LARGEST_BESIDE:
            yield file


def _check_copy(name: str, copy: str, fingerprint: str, *, of: str) -> None:
    """Refuse a copy that is not the teacher.

    Raises:
        TeacherError: says so.
    """
    from trainables.teachers.loading import load_teacher  # slow, and needed only here

    found = load_teacher(copy).files.fingerprint
    if found != fingerprint:
        raise TeacherError(
            f"teacher {name}: its copy {copy} has fingerprint {found}, {of} has {fingerprint}. Put the teacher's folder "
            "where every node sees it, and give its path with --teacher."
        )


class Done(Protocol):
    """What became of one of several pieces of work."""

    @property
    def index(self) -> int:
        """Its place among them."""

    def result(self) -> Any:
        """Return what it returned, or raise what it raised."""


class Elsewhere(Protocol):
    """Runs functions where the trials are to run, see `search.tune.tasks`."""

    @property
    def gpus(self) -> float:
        """GPUs that each piece of work has."""

    def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Return what a function returns there."""

    def run_all(
        self, function: Callable[..., Any], orders: Sequence[tuple[Any, ...]], *, single: bool = False
    ) -> Iterator[Done]:
        """Yield what becomes of each piece of work, as it comes; work that is `single` has one thread."""
