"""A teacher of several models of this family: each says what it was trained for, over the same pictures and texts.

Published checkpoints of BLIP were fine-tuned task by task (Li et al. 2022, section 5): together they say what the one model of
its pre-training says. The image side that is matched is that of the first part.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self, cast, final

import torch
from torch import Tensor, nn

from spaces.errors import IllegalCandidate, ShapeError
from trainables.families.base import Family, Resolved, Sample, Surroundings
from trainables.families.blip.architecture import ANSWER, DECODER, DECODES, BlipArchitecture
from trainables.families.blip.model import Blip
from trainables.families.blip.offers import IMAGE_TOKENS, offers_of
from trainables.families.origin import Importance
from trainables.signals import Batch, Inputs, Offer, Offers, Signals, Want, Wants

RETRIEVAL, CAPTIONING, VQA = "retrieval", "captioning", "vqa"
MODES = {
    RETRIEVAL: frozenset({"text", "fused", "contrast"}),
    CAPTIONING: frozenset({DECODER}),
    VQA: frozenset({ANSWER}),
}
"""What each part says beside the pictures' signals, in the order in which the first of them says those."""
TOKENS = "tokens"
_REFUSED = "Assembled only teaches; a student is of a kind that --list names."


@dataclass(frozen=True, kw_only=True)
class AssembledArchitecture:
    """The sizes of the parts: pictures of one size and texts of one vocabulary.

    Attributes:
        parts: task -> architecture, in the order of `MODES`.
    """

    parts: Mapping[str, BlipArchitecture]

    def __post_init__(self) -> None:
        shared = {(one.image_size, one.max_tokens, one.vocabulary) for one in self.parts.values()}
        if (
            len(shared) > 1
            or not self.parts
            or list(self.parts) != [one for one in MODES if one in self.parts]
        ):
            raise ShapeError(
                f"parts {', '.join(self.parts)}: their pictures, texts and vocabularies are not the same."
            )

    @property
    def first(self) -> str:
        """The part that says what is matched of pictures."""
        return next(iter(self.parts))

    @property
    def temperature_given(self) -> bool:
        """Whether the temperature of its similarities is a constant from elsewhere."""
        return RETRIEVAL in self.parts and self.parts[RETRIEVAL].temperature_given

    @property
    def taught(self) -> BlipArchitecture:
        """What a student has: the form of the first part, with all that any part says."""
        said = {mode for task in self.parts for mode in MODES[task]}
        able = tuple(mode for mode in DECODES if mode in said)
        contrast = RETRIEVAL in self.parts
        return replace(
            self.parts[self.first].taught,
            contrast=contrast,
            encoder=contrast,
            matching=contrast,
            decoder=bool(able),
            decodes=able or DECODES,
        )

    def part_of(self, want: Want) -> str:
        """Return which part says a want."""
        if want.what == TOKENS and want.mode in self.parts:
            return want.mode
        return next((task for task in self.parts if want.mode in MODES[task]), self.first)

    def divided(self, wants: Wants) -> dict[str, Wants]:
        """Return part -> what it is to say of the wants, in its own words; of those that are asked for anything."""
        found: dict[str, set[Want]] = {}
        for want in wants:
            found.setdefault(self.part_of(want), set()).add(self.inside(want))
        return {task: frozenset(found[task]) for task in self.parts if task in found}

    def inside(self, want: Want) -> Want:
        """Return what a part calls a want: of pictures' tokens each has its own."""
        return IMAGE_TOKENS if want.what == TOKENS else want

    def tokens_of(self, task: str) -> Want:
        """Return what the tokens of a part are called outside of it."""
        return IMAGE_TOKENS if task == self.first else Want(task, TOKENS)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able copy; `from_dict` reads it back."""
        return {"parts": {task: one.to_dict() for task, one in self.parts.items()}}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Self:
        """Return the architecture that `to_dict` wrote.

        Raises:
            TypeError, KeyError: a field is missing or unknown.
        """
        parts = {task: BlipArchitecture.from_dict(one) for task, one in fields["parts"].items()}
        return cls(parts={task: parts[task] for task in MODES if task in parts})


@final
class Assembled(Family):
    """Parts of several models of this family, which is a teacher only."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Nothing: it is no student."""

    Architecture = AssembledArchitecture
    architecture: AssembledArchitecture

    def __init__(self, architecture: AssembledArchitecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.parts = nn.ModuleDict({task: Blip(one) for task, one in architecture.parts.items()})
        self.reusable = frozenset(architecture.tokens_of(task) for task in architecture.parts)

    def at_size(self, side: int) -> Family:
        """Return the same parts for pictures of another side.

        Raises:
            ShapeError: the patches of one do not fill them.
        """
        parts = {task: self.part(task).at_size(side) for task in self.architecture.parts}
        with torch.device("meta"):
            made = Assembled(
                AssembledArchitecture(parts={task: one.architecture for task, one in parts.items()})
            )
        for task, one in parts.items():
            made.parts[task] = one
        return made.train(self.training)

    def part(self, task: str) -> Blip:
        """Return a part."""
        return cast(Blip, self.parts[task])

    @property
    def first(self) -> Blip:
        """The part whose image side is matched."""
        return self.part(self.architecture.first)

    @property
    def decoding(self) -> Blip:
        """The part whose decoder a student may begin with; the first where none has one."""
        return self.part(
            next((one for one in (CAPTIONING, VQA) if one in self.parts), self.architecture.first)
        )

    def importances(self, batches: Iterable[Batch]) -> Importance:
        """Return those of the first part, of which a student has all but its decoder."""
        return self.first.importances(batches)

    @classmethod
    def resolve(cls, options: Mapping[str, Any], sizes: Mapping[str, int]) -> Resolved:
        """Refuse.

        Raises:
            IllegalCandidate: no student is of several models.
        """
        raise IllegalCandidate(_REFUSED)

    @classmethod
    def draft(cls, config: Config, around: Surroundings) -> AssembledArchitecture:
        """Refuse.

        Raises:
            IllegalCandidate: no student is of several models.
        """
        raise IllegalCandidate(_REFUSED)

    @classmethod
    def sizes(cls, architecture: AssembledArchitecture) -> dict[str, int]:
        """Return those of the first part."""
        return Blip.sizes(architecture.parts[architecture.first])

    @classmethod
    def offers(cls, architecture: AssembledArchitecture) -> Offers:
        """Return what the parts say of what they were trained for, and the tokens of each for passes over its texts."""
        found: dict[Want, Offer] = {}
        for task, part in architecture.parts.items():
            modes = MODES[task] | ({"image"} if task == architecture.first else set[str]())
            own = offers_of(part)
            found |= {want: offer for want, offer in own.items() if want.mode in modes}
            found[architecture.tokens_of(task)] = own[IMAGE_TOKENS]
        return found

    @classmethod
    def deployed(cls, architecture: AssembledArchitecture, wants: Wants) -> AssembledArchitecture:
        """Return the parts that are asked for anything, and of each what answers that."""
        asked = architecture.divided(wants) or {architecture.first: frozenset({IMAGE_TOKENS})}
        return replace(
            architecture,
            parts={task: Blip.deployed(architecture.parts[task], own) for task, own in asked.items()},
        )

    @classmethod
    def sample(cls, architecture: AssembledArchitecture) -> Sample:
        """Return one layer of each kind of each part."""
        samples = {task: Blip.sample(one) for task, one in architecture.parts.items()}
        repeats = {
            f"parts.{task}.{path}": count
            for task, one in samples.items()
            for path, count in one.repeats.items()
        }
        parts = {task: one.architecture for task, one in samples.items()}
        return Sample(architecture=replace(architecture, parts=parts), repeats=repeats)

    def inputs(self, wants: Wants) -> Inputs:
        """Return what the parts read."""
        read = [self.part(task).inputs(own) for task, own in self.architecture.divided(wants).items()]
        return Inputs(
            fields=frozenset().union(*(one.fields for one in read)),
            source=frozenset().union(*(one.source for one in read)),
        )

    def forward(
        self, batch: Batch, wants: Wants, given: Signals | None = None, known: Signals | None = None
    ) -> Signals:
        """Return the signals, those of each part from its own passes alone."""
        a, found = self.architecture, Signals()
        for task, own in a.divided(wants).items():
            tokens = known.get(a.tokens_of(task)) if known else None
            seen = None if tokens is None else Signals({IMAGE_TOKENS: tokens})
            said = self.part(task)(batch, own, given, seen)
            found.update({want: said[a.inside(want)] for want in wants if a.part_of(want) == task})
        return found.only(wants)

    def reused(self, wants: Wants) -> Wants:
        """Return the tokens of the parts that are asked for anything."""
        return frozenset(self.architecture.tokens_of(task) for task in self.architecture.divided(wants))

    def pass_inputs(self, mode: str, tokens: int) -> dict[str, Tensor]:
        """Return those of the part that runs the pass; all parts look at the same pixels."""
        return self._of(mode).pass_inputs(mode, tokens)

    def run_pass(self, mode: str, inputs: Mapping[str, Tensor]) -> object:
        """Run one pass of the part whose it is; a picture goes through the image sides of all."""
        if mode == "image":
            return [self.part(task).run_pass(mode, inputs) for task in self.parts]
        return self._of(mode).run_pass(mode, inputs)

    def _of(self, mode: str) -> Blip:
        return self.part(self.architecture.part_of(Want(mode, "")))
