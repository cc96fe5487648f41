"""Candidate: one point of a space, resolved to absolute values, with an id that never changes. Pure Python.

Equal training gives equal ids. What is switched off does not enter the id (a loss of weight 0, the placement
of 0 fusion layers); whatever changes the result does, the full number of epochs included.
"""

import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from spaces.errors import IllegalCandidate


@dataclass(frozen=True, kw_only=True)
class TeacherFacts:
    """What `0.5x` refers to: sizes and costs of the teacher, latency in ms per pair and size in MiB."""

    image_width: int
    image_depth: int
    image_heads: int
    text_width: int
    text_depth: int
    text_heads: int
    fusion_layers: int
    embedding: int
    params: int
    flops: int
    latency_ms: float
    size_mib: float


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
    fusion = kept["student"].get("fusion", {})
    if fusion.get("layers") == 0:
        fusion.pop("placement", None)
    kept.setdefault("blind", False)
    return _canonical(kept)


def identify(config: dict[str, Any], seed: int) -> str:
    """Return the id of a resolved config and seed: 8 hex digits of a SHA-256."""
    text = json.dumps({"config": normalise(config), "seed": seed}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:8]


@dataclass(frozen=True)
class Candidate:
    """One student to train.

    Attributes:
        candidate_id: 8 hex digits, see `identify`.
        config: `student`, `losses`, `training`, `blind`: JSON-able, literal, absolute. Do not change it.
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
        """The seed of everything random in the candidate's training, 0 .. 2**32 - 1."""
        return int(self.candidate_id, 16)

    @property
    def blind(self) -> bool:
        """Whether this is the baseline student whose pixels are zeroed."""
        return bool(self.config.get("blind", False))

    def blinded(self) -> "Candidate":
        """Return the same student as the baseline that sees no image."""
        return Candidate.of({**self.config, "blind": True}, self.seed)

    def without_losses(self, names: Collection[str]) -> "Candidate":
        """Return the candidate less some losses, e.g. those that a student without fusion layers cannot feed.

        Raises:
            IllegalCandidate: no loss above 0 is left.
        """
        losses = {name: loss for name, loss in self.config["losses"].items() if name not in names}
        return Candidate.of({**self.config, "losses": losses}, self.seed)

    def to_json(self) -> str:
        """Return the candidate as JSON text; `from_json` reads it back."""
        return json.dumps(
            {"candidate_id": self.candidate_id, "seed": self.seed, "config": self.config}, indent=1
        )

    @classmethod
    def from_json(cls, text: str) -> "Candidate":
        """Return the candidate that `to_json` wrote; a text without `candidate_id` gets one.

        Raises:
            IllegalCandidate: no such JSON, or the id does not belong to the config.
        """
        try:
            fields = json.loads(text)
            config, seed = fields["config"], int(fields["seed"])
            candidate = cls.of(config, seed)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise IllegalCandidate(
                f"candidate file: got {text[:60]!r} ({type(error).__name__}: {error}); allowed: "
                "JSON with `seed` and `config` (student, losses, training). Write it with Candidate.to_json."
            ) from error
        said = fields.get("candidate_id", candidate.candidate_id)
        if said != candidate.candidate_id:
            raise IllegalCandidate(
                f"candidate file: got candidate_id {said!r}, but the config has {candidate.candidate_id!r}; "
                "the two must agree. Drop candidate_id to have it worked out, or restore the config."
            )
        return candidate
