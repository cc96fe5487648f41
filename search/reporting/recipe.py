"""How candidates are trained, in words: what decides results and is no dimension of the search."""

import math
from typing import Any

from spaces.domains import Domain
from spaces.rules import show
from spaces.schema import Space

TOLD_ELSEWHERE = ("epochs", "pairs_per_epoch")
TWIN = "twin"


def recipe_lines(space: Space) -> list[str]:
    """Return the fixed options of training, what its warm-up is too long for, and which losses a twin of the student teaches."""
    training = space.training
    fixed = {
        name: value
        for name in type(training).model_fields
        if name not in TOLD_ELSEWHERE and not isinstance(value := getattr(training, name), Domain)
    }
    lines = (
        [f"training: {', '.join(f'{name} {_plain(value)}' for name, value in fixed.items())}"]
        if fixed
        else []
    )
    lines += _long_warmup(space)
    for name, section in space.losses.items():
        options: dict[str, Any] = section.options
        if options.get("taught_by") == TWIN and options["weight"] != 0:
            told = ", ".join(
                f"{one} {_plain(value)}"
                for one, value in options.items()
                if one not in ("weight", "taught_by")
            )
            lines.append(
                f"loss {name} is taught by a momentum twin of the student, which costs its memory and a pass without gradient at "
                f"each step ({told or 'all options at their defaults'})"
            )
    return lines


def _long_warmup(space: Space) -> list[str]:
    """Return a warning where the warm-up of every candidate lasts for half of its training or more."""
    training = space.training
    return warmup_lines(
        min(_ends(training.warmup_steps)),
        pairs=max(_ends(training.pairs_per_epoch)),
        batch=min(_ends(training.batch_size)) * min(_ends(training.accumulate)),
        epochs=training.epochs,
    )


def warmup_lines(
    warmup: float, *, pairs: int, batch: int, epochs: int, of: str = "a whole training"
) -> list[str]:
    """Return a warning where a warm-up lasts for half of a training or more.

    The cosine falls from the first update on, so that half of the written rate is reached then: x (1 + cos(pi x)) / 2 over the
    half x of the warm-up is 0.52 at most.

    Args:
        warmup: updates of it.
        pairs: of an epoch.
        batch: pairs of an update.
        epochs: of the training.
        of: what it is called.
    """
    updates = math.ceil(pairs / batch) * epochs
    if 2 * warmup < updates:
        return []
    return [
        f"WARNING: training.warmup_steps: got {warmup:g}, of {updates:,} updates of {of}; allowed: below half, "
        "else no more than about half of training.lr is ever reached. Lower it, or train longer"
    ]


def _ends(value: Any) -> list[Any]:
    """Return the smallest and largest values of an option, fixed or searched."""
    if not isinstance(value, Domain):
        return [value]
    return [*value.bounds(), *([0] if value.zero else [])]


def _plain(value: Any) -> str:
    return str(value) if isinstance(value, str) else f"{value:g}" if isinstance(value, float) else show(value)
