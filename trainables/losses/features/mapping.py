"""Which student layer learns from which teacher layer."""

import re
from typing import Literal, NamedTuple

from spaces.errors import PluginError
from spaces.rules import show
from trainables.layers import evenly_spaced
from trainables.losses.base import Ends, Needs
from trainables.losses.options import require_one_of
from trainables.signals import Want, layers

LAYER_CHOICES = ("last", "even", "all")
MAPS = ("uniform", "last")
LayerMap = Literal["uniform", "last"]
PAIR = re.compile(r"(-?[0-9]{1,4})\s*>\s*(-?[0-9]{1,4})", re.ASCII)


class LayerPair(NamedTuple):
    """A student's layer and the teacher's layer that it imitates."""

    student: Want
    source: Want


def explicit_pairs(choice: str) -> tuple[tuple[int, int], ...]:
    """Return the pairs that a text names, `0>1, -1>-1`: student layer > teacher layer; () for a word of `LAYER_CHOICES`.

    Layers are counted from 0, or from -1 down at the last one.

    Raises:
        PluginError: neither, or a student layer twice.
    """
    if choice in LAYER_CHOICES:
        return ()
    found = [PAIR.fullmatch(one.strip()) for one in choice.split(",")]
    pairs = [(int(one[1]), int(one[2])) for one in found if one]
    if len(pairs) < len(found) or len({mine for mine, _ in pairs}) < len(pairs):
        raise PluginError(
            f"layers: got {show(choice)}; allowed: {', '.join(LAYER_CHOICES)}, or pairs of a student's and its teacher's layer, "
            'each of the student\'s once, as "0>1, -1>-1" (from 0, or from the last one at -1). Write one of those.'
        )
    return tuple(pairs)


def require_layers(choice: object, rule: str) -> None:
    """Accept the options `layers` and `map` of a loss on mapped layers.

    Raises:
        PluginError: a value that is not allowed, or a rule beside pairs that are named one by one.
    """
    require_one_of("map", rule, MAPS)
    if not isinstance(choice, str):
        raise PluginError(f"layers: got {show(choice)}; allowed: a text. Write {', '.join(LAYER_CHOICES)}.")
    if explicit_pairs(choice) and rule != MAPS[0]:
        raise PluginError(f"map: got {rule!r} beside layers named one by one; allowed: none. Leave it out.")


def layer_pairs(
    choice: str, ends: Ends, mode: str, what: str, *, rule: LayerMap = "uniform"
) -> tuple[LayerPair, ...]:
    """Return the pairs of layers that a loss compares; () where one of the two has no such layer.

    By a rule, those layers of each model that offer the signal are mapped among themselves (the fusion layers, say). `uniform`:
    student layer i of n stands for teacher layer round((i + 1) * N / n) - 1 of N, as in our weight inheritance. `last`: it stands
    for the i-th of the last n, or for the first where there are fewer (Sun et al. 2019, section 3.1: PKD-Skip and PKD-Last).

    Args:
        choice: `last` takes the last student layer, `all` every one, `even` every other one counted from the last; pairs as
            `explicit_pairs` reads them are taken as they are, be such layers there or not.
        ends: the two models.
        mode: of the signal.
        what: kind of the signal.
        rule: which teacher layer a student layer meets.
    """
    student, source = layers(ends.student, mode, what), layers(ends.source, mode, what)
    if not student or not source:
        return ()
    if named := explicit_pairs(choice):
        found = (
            LayerPair(
                *(
                    Want(mode, what, _counted(one, of))
                    for one, of in zip(pair, (student, source), strict=True)
                )
            )
            for pair in named
        )
        return tuple(dict.fromkeys(found))
    count = len(student)
    first, step = {"last": (count - 1, 1), "even": ((count - 1) % 2, 2), "all": (0, 1)}[choice]
    partners = (
        evenly_spaced(count, len(source))
        if rule == "uniform"
        else [max(0, len(source) - count + index) for index in range(count)]
    )
    return tuple(
        LayerPair(Want(mode, what, student[i]), Want(mode, what, source[partners[i]]))
        for i in range(first, count, step)
    )


def _counted(layer: int, there: tuple[int, ...]) -> int:
    """Return an absolute layer; one from the end that is not there stays negative, and nobody offers it."""
    return there[layer] if -len(there) <= layer < 0 else layer


def layer_needs(choice: str, ends: Ends, mode: str, what: str, *, rule: LayerMap = "uniform") -> Needs:
    """Return what a loss on mapped layers reads; a model without such a layer is asked for one that nobody has."""
    pairs = layer_pairs(choice, ends, mode, what, rule=rule)
    nobody = frozenset({Want(mode, what)})
    student = frozenset(pair.student for pair in pairs)
    source = frozenset(pair.source for pair in pairs)
    if not pairs:
        student = frozenset() if layers(ends.student, mode, what) else nobody
        source = frozenset() if layers(ends.source, mode, what) else nobody
    return Needs(student=student, source=source)
