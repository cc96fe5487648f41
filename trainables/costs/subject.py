"""What a cost is measured on: the deployed part of a model, what it is asked to serve, and the tokenizer it needs."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from trainables.families.base import Blueprint, Family
from trainables.signals import Serving, reads_texts


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A model that need not exist yet.

    Attributes:
        blueprint: of what is deployed.
        servings: the passes that serve one example in every task, see `tasks.base.servings_of`.
        tokenizer_bytes: size of the teacher's tokenizer files; a model that reads no texts does without.
    """

    blueprint: Blueprint
    servings: Sequence[Serving]
    tokenizer_bytes: int = 0

    @cached_property
    def model(self) -> Family:
        """The model in eval mode on the meta device: all shapes, no memory, no random number drawn."""
        return self.blueprint.on_meta()

    @property
    def files_bytes(self) -> int:
        """Size of what is deployed beside the weights."""
        return self.tokenizer_bytes if reads_texts(self.blueprint.offers) else 0
