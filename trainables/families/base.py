"""What a family is: the models that a student may be, and that a teacher may be."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

import torch
from torch import Tensor, nn

from spaces.errors import ShapeError
from spaces.plugins import resolve
from trainables.families import FIRST, table_of
from trainables.families.origin import Begun, Importance, Open, Origin, unreadable
from trainables.families.undrawn import Undrawn
from trainables.signals import NOTHING, Batch, Inputs, Offers, Signals, Want, Wants
from trainables.tokenizer import VocabularyConfig


class Architecture(Protocol):
    """The sizes of one model: a frozen dataclass that goes through JSON."""

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able copy; `from_dict` reads it back."""

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Self:
        """Return the architecture that `to_dict` wrote."""


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What a student's sizes follow from beside its own options.

    Attributes:
        image_size: side S of the pictures.
        max_tokens: longest text, special tokens included; 0 without texts.
        vocabulary: of the teacher's tokenizer; None without one.
        sizes: the teacher's, by the paths that relative values refer to (`image.width`, `embedding`, ...).
        teacher: its architecture, for students of its own family; None for a teacher that is of none.
        offers: all that the teacher can say: what students that read its signals have for input.
        classes: names of the classes of the data, in the order of their labels; () without labels.
        tokens, published: see `Origin`.
    """

    image_size: int
    max_tokens: int = 0
    vocabulary: VocabularyConfig | None = None
    sizes: Mapping[str, int] = field(default_factory=dict)
    teacher: Any = None
    offers: Offers = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    tokens: Callable[[], Sequence[str]] = tuple
    published: Open = unreadable

    def texts(self) -> VocabularyConfig:
        """Return the vocabulary.

        Raises:
            ShapeError: the teacher reads no texts.
        """
        if self.vocabulary is None:
            raise ShapeError(
                "student: reads texts, and this teacher brings no tokenizer. Take another teacher or kind."
            )
        return self.vocabulary


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """Options with absolute sizes, and a sentence for each relative one that had to be rounded."""

    options: dict[str, Any]
    roundings: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A small model that costs what a large one does, if its parts are counted often enough.

    Attributes:
        architecture: with one layer of each kind.
        repeats: path of a module in it -> how often the large model has it.
    """

    architecture: Any
    repeats: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Block:
    """A part of a pass that many models have in common, as a pass of a model that is as small as the part allows.

    Attributes:
        architecture: what the part does not depend on has the same value in all models.
        mode: of `pass_inputs` and `run_pass`; a word of the family's own where the part is no whole pass.
        repeats: how often one pass runs it.
    """

    architecture: Any
    mode: str
    repeats: int = 1


@runtime_checkable
class Compiles(Protocol):
    """A part of a model with layers that torch.compile makes faster."""

    def compile_layers(self) -> None:
        """Compile them, in place."""


class DecoderState(Protocol):
    """A decoder in the middle of N texts: it keeps what it has read of them, so that each step costs one token.

    The texts of one picture stand behind one another, and each picture has as many.
    """

    def read(self, ids: Tensor) -> Tensor:
        """Return next-token logits (N, T, V) of tokens (N, T) that come behind all that was read before.

        Texts are equally long so far; what was read is not masked.
        """

    def keep(self, rows: Tensor, width: int) -> None:
        """Go on from the texts at some rows, any of them several times, (n,); `width` of each picture that is left."""


class Family(nn.Module, ABC):
    """A model that says signals about a batch.

    A subclass is final. It nests `Config`, a frozen dataclass of what `student:` of a space may say, nested dataclasses
    allowed, and `Architecture`, a frozen dataclass from which the model is built without looking at anything else.
    Teacher and student of one family differ in the architecture only.

    Attributes:
        architecture: of this model.
        reusable: signals about pictures that later passes on the same pictures may take instead of computing them again.
        begun: what a student has begun with.
    """

    Config: ClassVar[type]
    Architecture: ClassVar[type]
    reusable: Wants = NOTHING
    architecture: Any
    begun: Begun = Begun()

    @classmethod
    @abstractmethod
    def resolve(cls, options: Mapping[str, Any], sizes: Mapping[str, int]) -> Resolved:
        """Return the options of a student with absolute sizes. Pure arithmetic.

        Args:
            options: literal, nested as in `Config`; some relative (`0.5x`).
            sizes: the teacher's, by the same dotted paths.

        Raises:
            IllegalCandidate: parts that do not fit together; `problems` names the options.
        """

    @classmethod
    @abstractmethod
    def draft(cls, config: Any, around: Surroundings) -> Any:
        """Return the architecture of a student.

        Args:
            config: a `Config` with absolute sizes.
            around: what else decides.

        Raises:
            ShapeError: sizes that do not fit together.
        """

    @classmethod
    @abstractmethod
    def sizes(cls, architecture: Any) -> dict[str, int]:
        """Return what relative values of a student refer to when a model of this architecture teaches."""

    @classmethod
    @abstractmethod
    def offers(cls, architecture: Any) -> Offers:
        """Return all that a model of this architecture can say."""

    @classmethod
    def deployed(cls, architecture: Any, wants: Wants) -> Any:
        """Return the architecture of the part that answers `wants`: what only training needs is left behind."""
        return architecture

    @classmethod
    def sample(cls, architecture: Any) -> Sample:
        """Return what has to be run to count the FLOPs of a model; by default the model itself."""
        return Sample(architecture=architecture)

    @classmethod
    def blocks(cls, architecture: Any, mode: str) -> Sequence[Block]:
        """Return the parts of a pass, whose times add up to its own; by default the pass itself.

        They are measured once for all models that have them, so that the latency of a model is known from few measurements.
        """
        return (Block(architecture=architecture, mode=mode),)

    @abstractmethod
    def inputs(self, wants: Wants) -> Inputs:
        """Return what the model needs to answer."""

    @abstractmethod
    def forward(
        self, batch: Batch, wants: Wants, given: Signals | None = None, known: Signals | None = None
    ) -> Signals:
        """Return the signals, and no others.

        Args:
            batch: with the fields that `inputs` names.
            wants: a part of the offers.
            given: the source's signals that `inputs` names.
            known: of `reusable`, what an earlier pass of this very model over the same pictures said.
        """

    @abstractmethod
    def pass_inputs(self, mode: str, tokens: int) -> dict[str, Tensor]:
        """Return inputs of one deployed pass at batch 1, of true shapes, on the model's device; see `run_pass`.

        Args:
            mode: of an offer, or of a block.
            tokens: length of the text.
        """

    @abstractmethod
    def run_pass(self, mode: str, inputs: Mapping[str, Tensor]) -> object:
        """Run one pass as a deployed model runs it: image tokens that another pass has made are an input."""

    def decoder_state(self, want: Want, known: Signals) -> DecoderState | None:
        """Return what reads texts token by token, one text for each picture to begin with.

        None of a family that keeps nothing of a text: whoever asks shows it the whole text at each step.

        Args:
            want: the logits that predict next tokens.
            known: all of `reusable` about the pictures.
        """
        return None

    def extended(self, wants: Wants) -> "Family":
        """Return a model with these weights that answers `wants`, too: what a task needs beside may be drawn afresh.

        Raises:
            ShapeError: it cannot be made to.
        """
        if missing := sorted(str(want) for want in wants if want not in self.offers(self.architecture)):
            raise ShapeError(
                f"model: cannot be made to say {', '.join(missing)}. Leave out what needs it, or take another model."
            )
        return self

    def at_size(self, side: int) -> "Family":
        """Return a model with these weights for pictures of another side: what it knows of positions is interpolated.

        Raises:
            ShapeError: it cannot be made to.
        """
        raise ShapeError(
            f"image_size: got {side}, and a model of this family sees pictures of one size. Leave it out, or take another."
        )

    def fitted(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the weights of a model that differs in the size of its pictures alone, for this one."""
        return dict(weights)

    def inherit(self, teacher: nn.Module, config: Any) -> None:
        """Overwrite fresh weights by what the config asks to take from the teacher's model."""

    def begin(self, origin: Origin, config: Any) -> tuple[str, ...]:
        """Overwrite fresh weights by what the config asks to begin with; return whence, a sentence each. By default `inherit`."""
        self.inherit(origin.teacher, config)
        return ()

    def importances(self, batches: Iterable[Batch]) -> Importance:
        """Return how much each part of the model matters, measured on batches by forward passes alone.

        Raises:
            ShapeError: it is no model whose parts can be told apart.
        """
        raise ShapeError(
            f"student: begins with what matters most of its teacher, a {type(self).__name__}, whose parts are not ordered. "
            "Take another `init`."
        )

    @classmethod
    def reads_teacher(cls, config: Any) -> bool:
        """Return whether `inherit` looks at the teacher's weights; else they need not be read, and it gets a model without."""
        return cls.inherit is not Family.inherit

    def prepare_training(self, options: Mapping[str, Any]) -> None:
        """Take those options of `training:` that concern this family."""

    def begin_training(self, config: Any) -> None:
        """Take those of the student's own options that hold in training alone, such as dropout."""

    def indivisible(self, wants: Wants) -> str | None:
        """Return why what it says of an example in training hangs on more than that example, or None."""
        if any(want.what == "labels" for want in wants):  # of pairs that the model itself puts together
            return "its negatives are drawn from the whole batch"
        for module in self.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                return "its batch norms look at the whole batch"
        return "its dropout would fall otherwise in parts" if drops(self) else None

    def compile_layers(self) -> None:
        """Let torch.compile make kernels of layers, in place, in those parts that have any worth it; names of weights stay."""
        for part in self.modules():
            if isinstance(part, Compiles) and not isinstance(part, Family):
                part.compile_layers()

    def after_step(self) -> None:
        """Keep weights in range after the optimiser has changed them."""

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.parameters()).device


def drops(model: nn.Module) -> bool:
    """Return whether a model leaves out some of what it computes in training, at random: dropout, or whole layers."""
    return any(
        (isinstance(module, nn.modules.dropout._DropoutNd) and module.p > 0)
        or float(getattr(module, "drop_prob", None) or 0)
        > 0  # timm's DropPath, which is not imported for that
        for module in model.modules()
    )


@dataclass(frozen=True)
class Blueprint:
    """A model before it exists: the name of its family, and its architecture."""

    kind: str
    architecture: Any

    @property
    def family(self) -> type[Family]:
        """The class of the family."""
        found: type[Family] = resolve(table_of(self.kind), self.kind, "families")
        return found

    def build(self) -> Family:
        """Return the model with fresh weights."""
        made: Any = self.family
        model: Family = made(self.architecture)
        return model

    def on_meta(self) -> Family:
        """Return the model on the meta device, in eval mode: all shapes, no memory, no random number drawn."""
        with torch.device("meta"), Undrawn():
            return self.build().eval()

    @property
    def offers(self) -> Offers:
        """All that the model can say."""
        return self.family.offers(self.architecture)

    @property
    def sizes(self) -> dict[str, int]:
        """What relative values refer to when it teaches."""
        return self.family.sizes(self.architecture)

    @property
    def temperature_given(self) -> bool:
        """Whether the temperature of its similarities is a constant from elsewhere: its buffer of that name."""
        return bool(getattr(self.architecture, "temperature_given", False))

    def deployed(self, wants: Wants) -> "Blueprint":
        """Return the part of it that answers `wants`."""
        return Blueprint(self.kind, self.family.deployed(self.architecture, wants))

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able copy; `from_dict` reads it back."""
        return {"family": self.kind, **self.architecture.to_dict()}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Blueprint":
        """Return the blueprint that `to_dict` wrote; one without a family is of the first version.

        Raises:
            PluginError: an unknown family.
            KeyError, TypeError: a field is missing or unknown.
        """
        sizes = dict(fields)
        kind = sizes.pop("family", FIRST)
        architecture: Any = resolve(table_of(kind), kind, "families").Architecture
        return cls(kind, architecture.from_dict(sizes))


def noise(like: Tensor, *shape: int) -> Tensor:
    """Return the same normal numbers each time, on the device and in the type of a weight; on the meta device none."""
    if like.is_meta:
        return torch.empty(shape, device="meta", dtype=like.dtype)
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(like)
