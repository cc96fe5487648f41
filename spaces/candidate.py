"""Candidate: one point of a space, resolved to absolute values, with an id that never changes. Pure Python.

Equal training gives equal ids. A loss of weight 0 does not enter the id, nor does what the space or the family
leaves out of the config because it is switched off; whatever changes the result does, the full number of epochs included.
"""

import hashlib
import json
import re
from collections.abc import Collection, Container
from dataclasses import dataclass
from typing import Any, Protocol

from spaces.errors import IllegalCandidate

DIGITS = 16
EARLIER_DIGITS = 8
"""Of ids of earlier versions, the first half of today's. Of 100,000 candidates two were likely to share one."""
CANDIDATE_ID = re.compile(rf"[0-9a-f]{{{DIGITS}}}|[0-9a-f]{{{EARLIER_DIGITS}}}", re.ASCII)
ID_WORDS = f"{DIGITS} hex digits, or the {EARLIER_DIGITS} of an earlier version"


class Plugins(Protocol):
    """What a space has to know of families, losses and tasks to build a candidate; `search` gives it."""

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks that a student is deployed for, sorted."""

    def student(self, section: dict[str, Any], teacher: str) -> dict[str, Any]:
        """Return the student with absolute sizes and its family's defaults filled in.

        Args:
            section: `kind` and options of that kind; literals, some of them relative to the teacher.
            teacher: the candidate's own.

        Raises:
            IllegalCandidate: options that do not fit together, or not to the teacher; all that does not, as its `problems`.
        """

    def roundings(self, section: dict[str, Any], teacher: str) -> list[str]:
        """Return a sentence for each relative value of the section that had to be rounded."""

    def loss(self, name: str, options: dict[str, Any]) -> dict[str, Any]:
        """Return the options of a loss, `weight` among them, with defaults filled in."""


def _canonical(value: Any) -> Any:
    """Return `value` with 1.0 written as 1, so that equal numbers hash alike."""
    if isinstance(value, dict):
        return {key: _canonical(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(part) for part in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _weight(loss: dict[str, Any]) -> float:
    return float(loss.get("weight", 0))


def normalise(config: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of a resolved config without the parts that are switched off."""
    kept = json.loads(json.dumps(config))
    kept["losses"] = {name: loss for name, loss in kept["losses"].items() if _weight(loss) != 0}
    kept.setdefault("blind", False)
    return _canonical(kept)


def identify(config: dict[str, Any], seed: int) -> str:
    """Return the id of a resolved config and seed: 16 hex digits of a SHA-256."""
    content = {"config": normalise(config), "seed": seed}
    return hashed(json.dumps(content, sort_keys=True, separators=(",", ":")))


def hashed(text: str) -> str:
    """Return the id that stands for a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]


def is_known(candidate_id: str, ids: Container[str]) -> bool:
    """Return whether an id stands among others, in full or as an earlier version wrote it."""
    return candidate_id in ids or candidate_id[:EARLIER_DIGITS] in ids


@dataclass(frozen=True)
class Candidate:
    """One student to train.

    Attributes:
        candidate_id: 16 hex digits, see `identify`; 8 in a run that an earlier version began.
        config: `student`, `losses`, `training`, `tasks`, `blind`, `teacher` where it is searched, and `baseline`, a name, of
            one that is not searched: JSON-able, literal, absolute, defaults of plug-ins filled in. Do not change it.
        seed: the seed of the search.
    """

    candidate_id: str
    config: dict[str, Any]
    seed: int

    @classmethod
    def of(cls, config: dict[str, Any], seed: int) -> "Candidate":
        """Return the candidate of a resolved config.

        Raises:
            IllegalCandidate: every loss has weight 0, so there is nothing to train.
        """
        if not any(_weight(loss) for loss in config["losses"].values()):
            raise IllegalCandidate(
                "losses: got weight 0 for every loss; allowed: at least one above 0. Raise a weight."
            )
        return cls(identify(config, seed), config, seed)

    @property
    def training_seed(self) -> int:
        """The seed of everything random in the candidate's training, 0 .. 2**32 - 1; that of earlier versions, too."""
        return int(self.candidate_id[:EARLIER_DIGITS], 16)

    @property
    def blind(self) -> bool:
        """Whether this is the baseline student whose pixels are zeroed."""
        return bool(self.config.get("blind", False))

    @property
    def role(self) -> str:
        """`search` for what is searched; `blind` and `baseline` for what its figures are compared with."""
        return "blind" if self.blind else "baseline" if self.config.get("baseline") else "search"

    def as_baseline(self, name: str, student: dict[str, Any]) -> "Candidate":
        """Return another student, trained as this one, as the baseline of a name."""
        return Candidate.of({**self.config, "student": student, "baseline": name}, self.seed)

    def blinded(self) -> "Candidate":
        """Return the same student as the baseline that sees no image."""
        return Candidate.of({**self.config, "blind": True}, self.seed)

    def without_losses(self, names: Collection[str]) -> "Candidate":
        """Return the candidate less some losses, e.g. those that the data cannot feed.

        Raises:
            IllegalCandidate: no loss above 0 is left.
        """
        losses = {name: loss for name, loss in self.config["losses"].items() if name not in names}
        return Candidate.of({**self.config, "losses": losses}, self.seed)
