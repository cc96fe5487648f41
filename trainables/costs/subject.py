"""What a cost is measured on: the deployed part of a model, what it is asked to serve, and the tokenizer it needs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Optional

from trainables.families.base import Blueprint, Family
from trainables.signals import PICTURE, Serving, Wants, modes, reads_texts

TEACHER = "teacher."
"""What stands before the modes of the teacher's passes."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A model that need not exist yet, and the part of its teacher that it reads, if it reads any.

    Attributes:
        blueprint: of what is deployed.
        servings: the passes that serve one example in every task, see `tasks.base.servings_of`.
        tokenizer_bytes: size of the teacher's tokenizer files; a model that reads no texts does without.
        reads: the part of the teacher whose signals the deployed model has for input, with the passes that say them; None
            for a model that sees pixels and reads texts itself. Costs are those of both together, `head` has those of the
            model alone.
    """

    blueprint: Blueprint
    servings: Sequence[Serving]
    tokenizer_bytes: int = 0
    reads: Optional["Subject"] = None

    @cached_property
    def model(self) -> Family:
        """The model in eval mode on the meta device: all shapes, no memory, no random number drawn."""
        return self.blueprint.on_meta()

    @property
    def files_bytes(self) -> int:
        """Size of what is deployed beside the weights of this very model."""
        return self.tokenizer_bytes if reads_texts(self.blueprint.offers) else 0

    @cached_property
    def head(self) -> "Subject":
        """The model alone, for those who have its teacher's signals already."""
        return self if self.reads is None else replace(self, reads=None)

    @property
    def parts(self) -> dict[str, "Subject"]:
        """Each model that is deployed, by what its modes are told with: "" and, where there is one, that of the teacher."""
        return {"": self.head} | ({TEACHER: self.reads} if self.reads else {})


def source_of(blueprint: Blueprint, wants: Wants) -> Wants:
    """Return the signals of the teacher that a deployed model reads to answer `wants`; () of one that reads none.

    What is read in training alone (similarities by which negatives are drawn) is asked for by wants of losses, not of tasks.
    Asked of the sample of the family, since a large model takes a tenth of a second to build on the meta device.

    Args:
        blueprint: of what is deployed.
        wants: of the tasks that it is deployed for, see `tasks.base.wants_of`.
    """
    sample = blueprint.family.sample(blueprint.architecture).architecture
    return Blueprint(blueprint.kind, sample).on_meta().inputs(wants).source


def reading(subject: Subject, source: Wants, teacher: Blueprint) -> Subject:
    """Return the subject with the part of its teacher that says `source`; as it is where that is nothing.

    Each mode of the source is passed once, over a text as long as that of the subject's own pass of that mode, or else as
    long as the teacher takes. Tokenizer files go with the model that is fed with texts: they are counted once.

    Args:
        subject: the model that reads, with its teacher's tokenizer.
        source: see `source_of`.
        teacher: the whole of it.

    Raises:
        ValueError: the teacher cannot say the source.
    """
    if not source:
        return subject
    if missing := sorted(str(want) for want in source if want not in teacher.offers):
        raise ValueError(f"the student reads {', '.join(missing)}, which its teacher does not say")
    part = teacher.deployed(source)
    passes = modes(want for want in source if part.offers[want].rows)
    servings = [Serving(mode=mode, tokens=_text_length(subject, teacher, mode)) for mode in sorted(passes)]
    with_texts = any(part.offers[want].rows not in ("", PICTURE) for want in source)
    read = Subject(
        blueprint=part, servings=servings, tokenizer_bytes=subject.tokenizer_bytes if with_texts else 0
    )
    return replace(subject, reads=read, tokenizer_bytes=0 if with_texts else subject.tokenizer_bytes)


def _text_length(subject: Subject, teacher: Blueprint, mode: str) -> int:
    """Return how long the text of a pass of the teacher's is; 0 of one without."""
    asked = max((one.tokens for one in subject.servings if one.mode == mode), default=0)
    lengths = [o.size("T") for want, o in teacher.offers.items() if want.mode == mode and "T" in o.axes]
    return asked or max(lengths, default=0)
