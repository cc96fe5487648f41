"""How much each part of a teacher matters, measured once on pairs of the train split and kept for all students that ask."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import safetensors
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from spaces.errors import TeacherError
from spaces.files import atomic_path, make_folder
from spaces.turns import in_turn
from trainables.datasets.cache_folder import cache_folder
from trainables.datasets.encoded import EncodedSplit
from trainables.families.origin import Importance
from trainables.signals import Batch
from trainables.teachers.cache.layout import key_of, key_parts
from trainables.teachers.teacher import Teacher
from trainables.training.sampler import ExampleSampler

ROOM, FILE = "teacher-importance", "importance.safetensors"
PAIRS, CHUNK = 1024, 64  # Muralidharan et al. 2024 take 1,024 examples, too
VERSION = "1"  # of what is measured: raise it whenever a file's contents change their meaning
CHECK = "check"

Say = Callable[[str], None]


def kept_importance(teacher: Teacher, split: EncodedSplit, data: str, *, say: Say) -> Importance:
    """Return the importance of a teacher's parts: what is kept of it, or measured now, by one process for all.

    Always of whole batches in float32, in one order: however many workers a training has, they read the same numbers.

    Args:
        teacher: whose weights are read if nothing is kept.
        split: its pairs.
        data: fingerprint of the data set.
        say: takes a line on what takes long, and on a file that is damaged.

    Raises:
        StorageError: it cannot be kept.
        ShapeError: the teacher is of a family whose parts are not ordered.
    """
    parts = {
        **key_parts(teacher, data, "float32", split),
        "pairs": str(PAIRS),
        "measured": f"version {VERSION}",
    }
    path = cache_folder(ROOM) / key_of(parts) / FILE
    if (found := _read(path, say)) is not None:
        return found
    make_folder(path.parent)
    with in_turn(path.parent, "importance of the teacher", say=say):
        if (found := _read(path, _unsaid)) is not None:  # another process has measured meanwhile
            return found
        say(f"importance of the parts of teacher {teacher.files.name}: {PAIRS:,} pairs go through it, once")
        measured = teacher.model.importances(_pairs(split, teacher.model.device))
        _write(path, measured, parts)
        return measured


def _unsaid(line: str) -> None:
    """Drop what was said before the wait."""


def _pairs(split: EncodedSplit, device: torch.device) -> Iterator[Batch]:
    """Yield the pairs, those of a sampler's first epoch."""
    sampler = ExampleSampler(split, seed=0, batch_size=CHUNK, pairs_per_epoch=PAIRS)
    for rows in split.ahead(sampler.epoch(0), pixels=True, seed=0):
        yield split.batch(rows, device, pixels=True)


def _read(path: Path, say: Say) -> dict[str, Tensor] | None:
    """Return what a file holds; None where there is none, or it is damaged, which is said.

    Raises:
        TeacherError: the system refuses to read it.
    """
    try:
        path.stat()  # the library tells a missing file by its own error
        found = load_file(path)
        with safetensors.safe_open(path, "pt") as file:
            told = (file.metadata() or {}).get(CHECK, "")
        if told != _check(found):
            raise ValueError("its checksum is another")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise TeacherError(
            f"{path}: cannot be read ({error.strerror}). Make it readable, or delete it."
        ) from error
    except (ValueError, safetensors.SafetensorError) as error:
        say(f"{path}: damaged ({str(error).splitlines()[0]}); it is measured again")
        return None
    return found


def _write(path: Path, tensors: Mapping[str, Tensor], parts: Mapping[str, str]) -> None:
    """Write the file whole, with the parts of its key and a checksum.

    Raises:
        StorageError: it cannot be written.
    """
    told = {CHECK: _check(tensors), "key": json.dumps(dict(parts), sort_keys=True)}
    with atomic_path(path) as draft:
        save_file(dict(tensors), draft, metadata=told)


def _check(tensors: Mapping[str, Tensor]) -> str:
    found = hashlib.sha256()
    for name in sorted(tensors):
        found.update(name.encode() + tensors[name].numpy().tobytes())
    return found.hexdigest()
