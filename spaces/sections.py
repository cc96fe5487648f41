"""The sections of a space file: pydantic models, each field a literal or, where searchable, a domain."""

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, model_validator

from spaces.domains import Domain
from spaces.leaves import chosen, fixed, option, searched, stop
from spaces.rules import Flag, Number, Points, Word
from spaces.tree import located, overlaid

KEEP_FRONTS, KEEP_ALL = "fronts", "all"
AUTO_GPUS = "auto"
LEAST_SHARE = 1e-4  # of a GPU: Ray counts ten-thousandths, and less is none

_COUNT = Number(whole=True, low=1, high=10**9, why="nothing is counted that far in a search")
_EPOCHS = Number(whole=True, low=1, high=10**5, why="candidates are judged and noted epoch by epoch")
_PAIRS = Number(
    whole=True,
    low=1,
    high=10**8,
    why="the order of an epoch's pairs is held in memory, and is judged after it",
)
_BATCH = Number(whole=True, low=2, high=2**16, why="a batch is held in memory at once")
_TRIALS = Number(
    whole=True, low=1, high=10**6, why="every trial trains a candidate, and is a row of the tables"
)
_IMAGES = Number(
    whole=True,
    low=1,
    high=10**6,
    why="each evaluated picture is compared with each caption, and held in memory",
)
_TEXTS = Number(whole=True, low=1, high=1000, why="the texts of all evaluated pictures are held in memory")
_GPUS = Number(low=0, high=1000, share=True, null=True, word=AUTO_GPUS, why="each is a device of one machine")
_PROCESSES = Number(whole=True, low=1, high=10**4, why="each is a process on a core of its own")
_CONCURRENT = Number(
    whole=True, low=1, high=10**5, null=True, why="each is a process that the search follows"
)
_LARGEST = Number(whole=True, low=0, high=100_000, why="no vocabulary is larger")
_RETRIES = Number(whole=True, low=0, high=1000, why="what is lost that often is no matter of chance")
_POSITIVE = Number(low=0, open_low=True)
_FLOOR = Number(low=0, open_low=True, high=0.5, why="above it the temperature of a model does not go")
_BOUND = Number(low=0, relative=True, null=True)
_HOURS = Number(
    low=0, open_low=True, high=10**6, null=True, why="it is more than a hundred years; null is no such rule"
)

Epochs = Annotated[int, fixed(_EPOCHS)]
Trials = Annotated[int, fixed(_TRIALS)]
Images = Annotated[int, fixed(_IMAGES)]
Texts = Annotated[int, fixed(_TEXTS)]
Processes = Annotated[int, fixed(_PROCESSES)]
Text = Annotated[str, fixed(Word())]
Name = Annotated[str | Domain, searched(Word(searched=True))]
Truth = Annotated[bool, fixed(Flag())]
SearchedCount = Annotated[int | Domain, searched(_COUNT)]
SearchedNatural = Annotated[int | Domain, searched(Number(whole=True, low=0, high=10**9, why=_COUNT.why))]
Positive = Annotated[float | Domain, searched(_POSITIVE)]
NotNegative = Annotated[float | Domain, searched(Number(low=0))]
Negatives = Annotated[str | Domain, searched(Word(options=("teacher", "student")))]
NegativesFrom = Annotated[str | Domain, searched(Word(options=("rank", "workers")))]
StartPoints = Annotated[tuple[dict[str, Any], ...], fixed(Points())]
FixedOption = Annotated[Any, option(searched=False)]
SearchedOption = Annotated[Any, option(searched=True)]
Tasks = Annotated[dict[str, dict[str, Any]] | None, chosen()]


class Section(BaseModel):
    """A mapping of the file whose keys are all known. An optional key that is null counts as one that is not there."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    @model_validator(mode="before")
    @classmethod
    def _absent(cls, value: Any) -> Any:
        """Return a mapping without its optional keys that are null; needed ones and options of plug-ins are told."""
        if not isinstance(value, dict):
            return value
        optional = {one.alias or name for name, one in cls.model_fields.items() if not one.is_required()}
        return {key: inner for key, inner in value.items() if inner is not None or key not in optional}


class Plugin(Section):
    """A plug-in by name; its options are checked against its own Config by `spaces.options`."""

    model_config = ConfigDict(extra="allow", frozen=True)
    __pydantic_extra__: dict[str, FixedOption]

    kind: Text

    @property
    def options(self) -> dict[str, Any]:
        """The options of the plug-in, `kind` aside."""
        return dict(self.__pydantic_extra__ or {})


class LossSection(Section):
    """Weight of a loss and the options of its own Config."""

    model_config = ConfigDict(extra="allow", frozen=True)
    __pydantic_extra__: dict[str, SearchedOption]

    weight: NotNegative

    @property
    def options(self) -> dict[str, Any]:
        """Everything that the Config of the loss takes, `weight` included; values may be domains."""
        return {"weight": self.weight, **(self.__pydantic_extra__ or {})}


class StudentSection(Section):
    """What a student is: its family and that family's options, at any depth.

    What stands under the name of one of the kinds belongs to that kind alone, and wins over what all of them share.
    """

    model_config = ConfigDict(extra="allow", frozen=True)
    __pydantic_extra__: dict[str, SearchedOption]

    kind: Name

    @property
    def kinds(self) -> tuple[str, ...]:
        """All kinds that a student may be of."""
        return tuple(map(str, self.kind.corners())) if isinstance(self.kind, Domain) else (self.kind,)

    @property
    def options(self) -> dict[str, Any]:
        """Everything but `kind`, as it stands in the file; values may be domains."""
        return dict(self.__pydantic_extra__ or {})

    def own(self, kind: str) -> dict[str, Any]:
        """Return the options that stand under a kind's name."""
        found = (self.__pydantic_extra__ or {}).get(kind)
        return found if isinstance(found, dict) else {}

    def shared(self) -> dict[str, Any]:
        """Return the options that stand under no kind's name."""
        return {name: value for name, value in self.options.items() if name not in self.kinds}

    def shared_part(self, name: str) -> dict[str, Any]:
        """Return the option of that name alone, if it stands under no kind's name; {} for none. There may be very many."""
        extra = self.__pydantic_extra__ or {}
        return {name: extra[name]} if name in extra and name not in self.kinds else {}

    def tree(self, kind: str) -> dict[str, Any]:
        """Return the options of one kind, shared ones included, as a `spaces.tree` of leaves with their paths."""
        own = located(self.own(kind), f"student.{kind}")
        return overlaid(located(self.shared(), "student"), own)


class TrainingSection(Section):
    """How candidates are trained. `epochs`, the full fidelity, is one for all: rungs compare epochs."""

    epochs: Epochs
    pairs_per_epoch: Annotated[int | Domain, searched(_PAIRS)]
    batch_size: Annotated[int | Domain, searched(_BATCH)]
    lr: Positive
    weight_decay: NotNegative = 0.02
    warmup_steps: SearchedNatural = 50
    gradient_clip: Positive = 1.0
    accumulate: SearchedCount = 1
    itm_negatives: Negatives = "teacher"
    fused_every: SearchedCount = 1
    fused_from: Annotated[float | Domain, searched(Number(low=0, high=1))] = 0.0
    negatives: NegativesFrom = "rank"
    temperature_floor: Annotated[float | Domain, searched(_FLOOR)] = 0.01


YOUNGER = ("negatives", "temperature_floor")
"""Fields of `training` that came later than candidates which are kept: at their defaults they enter neither config nor id."""


def trained_as(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the training section of a candidate, with the defaults of fields that do not count at its point.

    Args:
        values: literals by field.
    """
    fields = TrainingSection.model_fields
    found = {name: field.default for name, field in fields.items() if not field.is_required()} | dict(values)
    return {
        name: value for name, value in found.items() if name not in YOUNGER or value != fields[name].default
    }


class LimitSection(Section):
    """Bounds on one cost, absolute or relative to the teacher; null for none."""

    min: Annotated[float | str | None, fixed(_BOUND)] = None
    max: Annotated[float | str | None, fixed(_BOUND)] = None


class LimitsSection(Section):
    """Bounds on the costs of a candidate."""

    params: LimitSection = LimitSection()
    flops: LimitSection = LimitSection()
    latency_ms: LimitSection = LimitSection()
    size_mib: LimitSection = LimitSection()


class PlateauSection(Section):
    """No more candidates once the last `trials` that ended raised the hypervolume by `gain_percent` or less; null for never."""

    trials: Annotated[int | None, fixed(Number(whole=True, low=1, null=True))] = None
    gain_percent: Annotated[float, fixed(Number(low=0))] = 1.0


class StopSection(Section):
    """What may end a search before its number of trials, over all sessions of a run; null for no such rule."""

    wall_hours: Annotated[float | None, fixed(_HOURS)] = None
    device_hours: Annotated[float | None, fixed(_HOURS)] = None
    plateau: PlateauSection = PlateauSection()


class SearchSection(Section):
    """Who proposes, who stops early, how many trials, and what ends the search before that.

    `start` holds points to begin with, see `spaces.start_points`.
    """

    searcher: Plugin
    scheduler: Plugin
    trials: Trials
    seed: Annotated[int, fixed(Number(whole=True, low=0))] = 0
    start: StartPoints = ()
    stop: StopSection = StopSection()


class ResourcesSection(Section):
    """What one trial takes, and how many run side by side: null for all that there is room for.

    gpus null is 1 where the cluster has any, else 0; `auto` is the share of one that the largest student needs, as measured.
    `compiled` lets torch.compile make kernels of the layers of student and live teacher: half a minute a process, then faster.
    """

    workers_per_trial: Processes = 1
    cpus_per_worker: Processes = 1
    gpus_per_worker: Annotated[float | str | None, fixed(_GPUS)] = None
    max_concurrent: Annotated[int | None, fixed(_CONCURRENT)] = None
    compiled: Truth = False

    @property
    def gpus(self) -> float | None:
        """GPUs of a worker as far as the space says: None is 1 where the cluster has any, else 0; so is `auto`, to begin with."""
        return None if isinstance(self.gpus_per_worker, str) else self.gpus_per_worker

    @property
    def packs(self) -> bool:
        """Whether several trials are to share a GPU, as far as their memory allows."""
        return self.gpus_per_worker == AUTO_GPUS

    @model_validator(mode="after")
    def _workers_have_devices(self) -> Self:
        """Refuse a share that is none, and several workers on shares: on one device two of them cannot speak to one another."""
        gpus = self.gpus
        if self.compiled and gpus == 0:
            stop(
                [
                    (
                        ("compiled",),
                        "got true with gpus_per_worker 0; allowed with it: false. Delete one of them.",
                    )
                ]
            )
        if gpus is not None and 0 < gpus < LEAST_SHARE:
            text = f"got {gpus:g}; allowed: 0, or a share from {LEAST_SHARE:g} on, as Ray counts no smaller ones. Raise it."
            stop([(("gpus_per_worker",), text)])
        if self.workers_per_trial > 1 and gpus is not None and 0 < gpus < 1:
            text = (
                f"got {gpus:g} with {self.workers_per_trial} workers per trial; allowed: a share of a GPU for trials of one "
                "worker, since workers of one trial speak by NCCL, which takes no two of them on one device. Set it to 1, or "
                "workers_per_trial to 1."
            )
            stop([(("gpus_per_worker",), text)])
        return self


class FailuresSection(Section):
    """How often a candidate goes on from its checkpoint after its process or its node was lost.

    An error of its own would come again, and is not tried again.
    """

    retries: Annotated[int, fixed(_RETRIES)] = 3


class EvaluationSection(Section):
    """How much of a held-out split is evaluated: the first images, with their first captions and questions."""

    images: Images = 1000
    captions_per_image: Texts = 1
    questions_per_image: Texts = 2


class CheckpointsSection(Section):
    """What is kept of a candidate beside its last checkpoint, and whose weights are kept once it has ended.

    Attributes:
        every_epoch: the state after every epoch.
        keep_best: the weights of the best one.
        keep: of candidates that ended, those on a front (`fronts`) or `all`; where it is not said, all if every epoch is kept.
    """

    every_epoch: Truth = False
    keep_best: Truth = True
    keep: Annotated[str, fixed(Word(options=(KEEP_FRONTS, KEEP_ALL)))] = KEEP_FRONTS

    @model_validator(mode="before")
    @classmethod
    def _states_are_asked_for(cls, value: Any) -> Any:
        """Return the section with all kept where the state after every epoch is."""
        if (
            not isinstance(value, dict)
            or value.get("keep") is not None
            or value.get("every_epoch") is not True
        ):
            return value
        return {**value, "keep": KEEP_ALL}


class TeacherCacheSection(Section):
    """How trials get the teacher's outputs: `cached` on disk once for all, or from a `live` teacher in each.

    Attributes:
        top_k: of logits over a vocabulary, how many of the largest are cached; the others share the rest of the probability
            evenly. 0 caches them all, which with a vocabulary of 30,000 is most of a cache.
    """

    kind: Annotated[str, fixed(Word(options=("cached", "live")))] = "cached"
    precision: Annotated[str, fixed(Word(options=("float16", "float32")))] = "float16"
    top_k: Annotated[int, fixed(_LARGEST)] = 0
