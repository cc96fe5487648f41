"""Teachers whose weights stay on disk until somebody asks for them: what else is needed of one is kept in the cache folder.

Reading a teacher of 900 MB and hashing its weights takes seconds, and as much memory, in each process of a search; a trial
with a cache only asks what it offers and how it reads texts and pictures. That is kept beside what `stat` says of all files of
its folder. Whatever was written, added or taken away since, the teacher is read again, and has the fingerprint of what is
there now.
"""

import hashlib
import json
import os
import time
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer as Backend

from spaces.errors import ResourceError, TeacherError
from spaces.files import write_text
from spaces.paths import settled, user_path
from trainables.code_version import ROOT, code_digest
from trainables.datasets.cache_folder import cache_folder
from trainables.datasets.contents import SETTLED_S, State, state_of
from trainables.families.base import Blueprint, Family
from trainables.model_folder import WRONG
from trainables.preprocess import PreprocessConfig
from trainables.teachers import LOADERS, TEACHERS
from trainables.teachers.hub import hub_folder
from trainables.teachers.loading import load_teacher
from trainables.teachers.naming import TeacherName, of_checkpoints
from trainables.teachers.teacher import Teacher, TeacherFiles
from trainables.tokenizer import Tokenizer, VocabularyConfig

OURS = "trainables."  # modules whose code is part of the key
LIBRARIES = ("timm", "tokenizers", "torch", "transformers")  # decide, too, what comes of a folder

FileStates = tuple[tuple[str, State], ...]
"""Name and state of each file of a folder, by name."""


def open_teacher(name: str) -> Teacher:
    """Return the teacher called `name`, as `load_teacher` does; known weights are read only when they are asked for.

    Raises:
        TeacherError: nothing of that name, or files that cannot be used.
        PluginError: a bare word that is neither a folder nor in the table.
    """
    began = time.time()
    found = _known(name)
    if found is None:
        found = load_teacher(name)
        _keep(name, found, began)
    return found


def state_of_teacher(name: str) -> FileStates:
    """Return what moves when somebody writes to a teacher's folder: cheap, where a fingerprint reads all of it.

    () of one that comes with the program, or that cannot be looked at: whoever opens it says what is wrong.
    """
    try:
        places = _places(name)
    except TeacherError:
        return ()
    return () if places is None else _states(places)


def _places(name: str) -> tuple[Path, ...] | None:
    """Return the folders, or files, of a teacher; None where its row of the table, or nobody, knows one of them."""
    found = [place_of(one) for one in TeacherName.parsed(name).names]
    return None if None in found else tuple(one for one in found if one is not None)


def place_of(name: str) -> Path | None:
    """Return the folder, or the file, of one checkpoint; None where its row of the table, or nobody, knows it."""
    if name in TEACHERS:
        return None
    folder = user_path(name)
    if folder.exists():
        return settled(folder)
    if name.count("/") != 1:
        return None
    from trainables.teachers.towers.timm_folder import hub_id

    return hub_folder(hub_id(name))


def _states(places: Iterable[Path]) -> FileStates:
    """Return the states of the files of some folders, or of files with those beside them; () where one cannot be looked at."""
    found: list[tuple[str, State]] = []
    for number, place in enumerate(places):
        folder = place if place.is_dir() else place.parent
        before = f"{number}/" if number else ""
        try:
            with os.scandir(folder) as entries:
                found += [(before + one.name, state_of(Path(one.path))) for one in entries if one.is_file()]
        except OSError:
            return ()
    return tuple(sorted(found))


def _file(name: str) -> Path:
    """Return where a teacher is kept: a hash of its name and place, and of the code that would read it."""
    parts = {
        "name": of_checkpoints(name, lambda one: str(place_of(one) or one)),
        "code": [code_digest(), str(ROOT)],  # the embedded ones lie there
        "libraries": [_version(one) for one in LIBRARIES],
    }
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode("utf-8", "surrogateescape")).hexdigest()
    return cache_folder("teacher-outlines") / f"{digest[:24]}.json"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _known(name: str) -> Teacher | None:
    """Return a teacher as it is kept; None where nothing readable is, or its files are not as they were."""
    try:
        fields = json.loads(_file(name).read_text(encoding="utf-8"))
        folder = Path(fields["folder"])
        if not fields["files"] or fields["files"] != _plain(_states(map(Path, fields["places"]))):
            return None
        return _made(name, folder, fields)
    except (OSError, RecursionError, *WRONG):  # nothing kept, or damaged: all is read again then
        return None


def _made(name: str, folder: Path, fields: Mapping[str, Any]) -> Teacher:
    """Return the teacher of kept fields."""
    told = str(fields["fingerprint"])

    def read() -> Family:
        found = load_teacher(name)
        if found.files.fingerprint != told:
            raise TeacherError(
                f"teacher {name}: its files were changed while it was used: the fingerprint was {told}, now it is "
                f"{found.files.fingerprint}. Put back what was there, or begin anew with what is there now."
            )
        return found.model

    made = Teacher(
        read,
        _tokenizer(fields["tokenizer"]),
        PreprocessConfig.from_dict(fields["preprocess"]),
        TeacherFiles(
            name=str(fields["name"]),
            folder=folder,
            fingerprint=told,
            measured=dict(fields["measured"]),
            notes=tuple(fields["notes"]),
        ),
        blueprint=Blueprint.from_dict(fields["blueprint"]),
    )
    made.temperature = fields["temperature"]
    return made


def _tokenizer(fields: Mapping[str, Any] | None) -> Tokenizer | None:
    if fields is None:
        return None
    vocabulary = VocabularyConfig(**fields["vocabulary"])
    made = Tokenizer(Backend.from_str(fields["backend"]), vocabulary, int(fields["max_tokens"]))
    return made.prompting(str(fields.get("prompt", "")))


def _keep(name: str, teacher: Teacher, began: float) -> None:
    """Keep what was read, where it can be kept and comes out again as it is.

    Args:
        name: as the user gave it.
        teacher: just read.
        began: when that began: files that were written since, or shortly before, may change once more unseen.
    """
    places = _places(name) or (teacher.files.folder,)
    states = _states(places)
    newest = max((max(state[2:]) for _, state in states), default=0)
    if not states or newest / 1e9 > began - SETTLED_S or not _is_ours(name, teacher):
        return
    tokenizer = teacher.tokenizer
    fields: dict[str, Any] = {
        "name": teacher.files.name,
        "folder": str(teacher.files.folder.absolute()),
        "places": [str(one.absolute()) for one in places],
        "files": _plain(states),
        "fingerprint": teacher.files.fingerprint,
        "measured": teacher.files.measured,
        "notes": list(teacher.files.notes),
        "blueprint": teacher.blueprint.to_dict(),
        "temperature": teacher.temperature,
        "preprocess": teacher.preprocess.to_dict(),
        "tokenizer": None
        if tokenizer is None
        else {**tokenizer.to_dict(), "backend": tokenizer.backend.to_str()},
    }
    try:
        text = json.dumps(fields)
        if _is_same(_made(name, teacher.files.folder, json.loads(text)), teacher):
            write_text(_file(name), text)
    except (ResourceError, TeacherError, *WRONG):
        return  # it saves time only. A cache folder that cannot be written is told by those who need it


def _is_ours(name: str, teacher: Teacher) -> bool:
    """Return whether all code that read a teacher is part of the key; that of installed plug-ins is not."""
    if name in TEACHERS and TEACHERS.origin(name) is not None:
        return False
    return teacher.blueprint.family.__module__.startswith(OURS) and all(
        LOADERS.origin(one) is None for one in LOADERS
    )


def _is_same(made: Teacher, read: Teacher) -> bool:
    """Return whether a teacher comes out of what is kept as it went in."""
    tokenizers = [
        None
        if one.tokenizer is None
        else (one.tokenizer.digest, one.tokenizer.to_dict(), one.tokenizer.unknown)
        for one in (made, read)
    ]
    return (
        tokenizers[0] == tokenizers[1]
        and (made.blueprint, made.preprocess) == (read.blueprint, read.preprocess)
        and (made.files.measured, made.files.notes) == (read.files.measured, read.files.notes)
    )


def _plain(states: FileStates) -> list[Any]:
    """Return states as JSON gives them back."""
    return [[name, list(state)] for name, state in states]
