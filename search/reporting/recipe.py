"""How candidates are trained, in words: what decides results and is no dimension of the search."""

from typing import Any

from spaces.domains import Domain
from spaces.rules import show
from spaces.schema import Space

TOLD_ELSEWHERE = ("epochs", "pairs_per_epoch")
TWIN = "twin"


def recipe_lines(space: Space) -> list[str]:
    """Return the fixed options of training, and which losses are taught by a twin of the student."""
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


def _plain(value: Any) -> str:
    return str(value) if isinstance(value, str) else f"{value:g}" if isinstance(value, float) else show(value)
