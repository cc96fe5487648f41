"""What a task is: what it asks of a model, how it is measured, and what serving it costs."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from spaces.errors import PluginError
from trainables.signals import NOTHING, Offers, Serving, Wants
from trainables.tasks.chance import Chance
from trainables.tasks.pool import Pool, PoolRows


class Task(ABC):
    """Something that a deployed student does. A subclass is final, nests its `Config` and takes it whole.

    Attributes:
        metrics: names of what `evaluate` returns, in percent.
        counts: the one of them that `retention` is made of.
        wants: what a model must be able to say to do it (some of it, where `model_lack` says so); its deployed part is what
            answers them.
        taught: what it reads of the teacher to compare with.
        fields: of the batch, without which nothing can be measured.
        losses: those that teach it without a teacher; () where there is none.
        banked: whether it compares with training pictures (`Pool.bank`).
        version: to be raised whenever a change moves a metric: kept figures of a teacher are measured anew then.
    """

    metrics: tuple[str, ...]
    counts: str
    wants: Wants
    taught: Wants = NOTHING
    fields: frozenset[str]
    losses: tuple[str, ...] = ()
    banked: bool = False
    version: ClassVar[int] = 1

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Config:
        """Options of a task; this one has none."""

    def __init__(self, config: Config) -> None:
        self.config = config

    @abstractmethod
    def evaluate(self, pool: Pool) -> dict[str, float]:
        """Return the metrics of a model on the pool: deterministic, and the same for any number of workers.

        Args:
            pool: the model over the first pictures of a held-out split.
        """

    def chance(self, rows: PoolRows) -> Chance | None:
        """Return what guessing scores in the metric that counts, worked out without a model.

        A teacher that is not clearly above it has nothing to teach here, and the user is told. None where no such level is
        known, which is then not told: a task should say one wherever it can.

        Args:
            rows: what `evaluate` would ask.
        """
        return None

    @abstractmethod
    def serving(self, offers: Offers) -> Sequence[Serving]:
        """Return the passes that serve one example, by a model with these offers."""

    def model_lack(self, offers: Offers) -> str | None:
        """Return why a model with these offers cannot do it, or None."""
        missing = sorted(str(want) for want in self.wants if want not in offers)
        return f"needs {', '.join(missing)}" if missing else None

    def data_lack(self, fields: Collection[str]) -> str | None:
        """Return why data with these fields cannot measure it, or None."""
        missing = sorted(self.fields - set(fields))
        return f"needs {', '.join(missing)}, which not every split of this data has" if missing else None

    def machine_lack(self) -> str | None:
        """Return why this machine cannot measure it, such as a package that is not installed, and what to do; or None."""
        return None

    def settled(self) -> dict[str, Any]:
        """Return those options that were left to the machine which makes the task, as a job takes them to others."""
        return {}

    def read(self) -> str:
        """Return a digest of the files of the user's that its figures follow from, too; "" for none."""
        return ""

    def remark(self) -> str | None:
        """Return what its options make of its figures, where a user should know; the plan says it. None for nothing."""
        return None

    def note(self, pictures: int, captions: int) -> str | None:
        """Return what a user should know of its figures on so many pictures with so many different captions, or None."""
        return None


def taught_of(tasks: Iterable[Task]) -> Wants:
    """Return what the tasks read of the teacher to compare with."""
    return frozenset().union(*(task.taught for task in tasks))


def wants_of(tasks: Iterable[Task]) -> Wants:
    """Return what a model that does all of the tasks must say."""
    return frozenset().union(*(task.wants for task in tasks))


def servings_of(tasks: Iterable[Task], offers: Offers) -> list[Serving]:
    """Return the passes that serve one example in every task: what several of them run alike is run once.

    A task that the model cannot do costs it nothing.

    Args:
        tasks: of a space.
        offers: of the deployed model.
    """
    most: dict[tuple[str, int], int] = {}
    for task in tasks:
        if task.model_lack(offers) is not None:
            continue
        for one in task.serving(offers):
            key = (one.mode, one.tokens)
            most[key] = max(most.get(key, 0), one.repeats)
    return [
        Serving(mode=mode, tokens=tokens, repeats=count) for (mode, tokens), count in sorted(most.items())
    ]


def require_decode(config: Any, serves: Mapping[str, str]) -> None:
    """Refuse an option that says something about another way to decode than the one that is asked for.

    Args:
        config: options of a task, `decode` among them.
        serves: option -> the way that reads it.

    Raises:
        PluginError: such an option is not at its default.
    """
    for option in fields(config):
        way, value = serves.get(option.name, config.decode), getattr(config, option.name)
        if way != config.decode and value != option.default:
            raise PluginError(
                f"{option.name}: got {value!r} with decode {config.decode}, which has no use for it; allowed with decode {way} "
                f"alone. Say decode: {way}, or leave it out."
            )
