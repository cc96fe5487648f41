"""What is timed: the blocks of all passes that serve one example, and how often each of them runs."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from trainables.code_version import foreign_code
from trainables.costs.subject import Subject
from trainables.families.base import Blueprint


@dataclass(frozen=True, kw_only=True)
class TimedPass:
    """One pass of one model, whole or a block of others.

    Attributes:
        blueprint: of the model that is built for it.
        mode: of the pass.
        tokens: length of its text; 0 where it has none.
    """

    blueprint: Blueprint
    mode: str
    tokens: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return all that its time hangs on, the target apart. JSON-able."""
        plain: dict[str, Any] = json.loads(json.dumps(self.blueprint.to_dict()))  # tuples are lists in files
        code = foreign_code(self.blueprint.family)
        return {"model": plain, "mode": self.mode, "tokens": self.tokens, **({"code": code} if code else {})}

    @cached_property
    def digest(self) -> str:
        """A name for it: equal for equal passes of equal models."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()[:24]


class Counted(NamedTuple):
    """A pass with the mode that it belongs to, as `modes` of a latency tell it, and how often one example runs it."""

    mode: str
    timed: TimedPass
    runs: int


def whole_passes(subject: Subject) -> list[Counted]:
    """Return the passes of a subject and of what it reads of its teacher, each as a whole."""
    return [
        Counted(
            f"{owner}{one.mode}",
            TimedPass(blueprint=part.blueprint, mode=one.mode, tokens=one.tokens),
            one.repeats,
        )
        for owner, part in subject.parts.items()
        for one in part.servings
    ]


def blocks_of(subject: Subject) -> list[Counted]:
    """Return the same by their blocks, see `Family.blocks`. No model is built."""
    return [block for whole in whole_passes(subject) for block in _blocks(whole)]


def different(counted: Sequence[Counted]) -> list[TimedPass]:
    """Return each pass once, in order."""
    return list({one.timed.digest: one.timed for one in counted}.values())


def _blocks(whole: Counted) -> Iterator[Counted]:
    plan, mode, tokens = whole.timed.blueprint, whole.timed.mode, whole.timed.tokens
    for block in plan.family.blocks(plan.architecture, mode):
        own = TimedPass(blueprint=Blueprint(plan.kind, block.architecture), mode=block.mode, tokens=tokens)
        yield Counted(whole.mode, own, whole.runs * block.repeats)
