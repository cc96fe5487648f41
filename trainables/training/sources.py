"""What one trial's teacher says: read from a cache where there is one of the split, else said live."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from spaces.errors import DatasetError
from trainables.datasets.encoded import EncodedSplit
from trainables.datasets.node_copies import node_copies
from trainables.families.base import Family
from trainables.signals import Batch, Signals, Source, Wants
from trainables.tasks.base import Task, taught_of, wants_of
from trainables.teachers.cache.layout import parts_of
from trainables.teachers.cache.node_copy import CopiedCache
from trainables.teachers.cache.read import TeacherCache
from trainables.teachers.teacher import Teacher

Cache = TeacherCache | CopiedCache


class Sources:
    """A teacher and the caches of what it said about some splits; each batch says which split it is of."""

    def __init__(self, teacher: Teacher, caches: Mapping[str, Cache]) -> None:
        """Take a teacher and caches.

        Args:
            teacher: answers what no cache does.
            caches: split -> cache, which is asked for all of it.
        """
        self.teacher, self.caches = teacher, dict[str, Cache](caches)

    def signals(self, batch: Batch, wants: Wants) -> Signals:
        """Return the signals for the given examples."""
        cache = self.caches.get(batch.split)
        return self.teacher.signals(batch, wants) if cache is None else cache.signals(batch, wants)

    def fields(self, split: str, wants: Wants) -> frozenset[str]:
        """Return the fields of batches of a split that are looked at."""
        return (self.caches.get(split) or self.teacher).fields(split, wants)

    def pictured(self, wants: Wants) -> Wants:
        """Return those of the wants that tell of pictures."""
        return self.teacher.pictured(wants)


def read_on_host(source: Source, split: str) -> bool:
    """Return whether what a source says of a split is read from files, and no model is asked."""
    told = source.caches.get(split) if isinstance(source, Sources) else source
    return isinstance(told, TeacherCache | CopiedCache)


def evaluation_wants(model: Family, tasks: Iterable[Task]) -> Wants:
    """Return what a student, and the tasks themselves, read of its teacher while it is evaluated."""
    offered, made = frozenset(model.offers(model.architecture)), list(tasks)
    return model.inputs(wants_of(made) & offered).source | taught_of(made)


def opened_cache(
    folder: str, teacher: Teacher, *, data: str = "", split: EncodedSplit | None = None
) -> TeacherCache:
    """Return the cache of a folder.

    Args:
        folder: of the cache.
        teacher: whose signals it is to hold; its weights are not looked at.
        data: fingerprint of the data set, where it is known.
        split: that it is to be about, where it is known.

    Raises:
        TeacherError: it cannot be read, or is of something else: names what differs.
        DatasetError: the split shows its pictures another way at each visit.
    """
    if split is not None and split.varied:
        raise DatasetError(
            "dataset.vary: shows pictures another way at each visit, and a cache of the teacher is of pictures as they are; "
            "allowed: teacher_cache: {kind: live}. Set it, or vary no pictures."
        )
    return TeacherCache(Path(folder), teacher.offers, asked={**parts_of(teacher, split), "data": data})


def copied_cache(
    folder: str, teacher: Teacher, *, data: str, split: EncodedSplit, say: Callable[[str], None]
) -> Cache:
    """Return the cache of a folder, read from a copy on this node where such are kept; arguments as of `opened_cache`.

    Args:
        say: takes a line on the copy.

    Raises:
        TeacherError: it cannot be read, or is of something else: names what differs.
    """

    def opened(place: Path) -> TeacherCache:
        return opened_cache(str(place), teacher, data=data, split=split)

    return CopiedCache(Path(folder), opened, say) if node_copies() else opened(Path(folder))
