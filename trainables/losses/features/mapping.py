"""Which student layer learns from which teacher layer."""

from typing import Literal, NamedTuple

from trainables.layers import evenly_spaced
from trainables.losses.base import Ends, Needs
from trainables.signals import Want, layers

LAYER_CHOICES = ("last", "even", "all")
Layers = Literal["last", "even", "all"]


class LayerPair(NamedTuple):
    """A student's layer and the teacher's layer that it imitates."""

    student: Want
    source: Want


def layer_pairs(choice: Layers, ends: Ends, mode: str, what: str) -> tuple[LayerPair, ...]:
    """Return the pairs of layers that a loss compares; () where one of the two has no such layer.

    Those layers of each model that offer the signal are mapped among themselves (the fusion layers, say): student layer
    i of n stands for teacher layer round((i + 1) * N / n) - 1 of N, as in our weight inheritance.

    Args:
        choice: `last` takes the last student layer, `all` every one, `even` every other one counted from the last.
        ends: the two models.
        mode: of the signal.
        what: kind of the signal.
    """
    student, source = layers(ends.student, mode, what), layers(ends.source, mode, what)
    if not student or not source:
        return ()
    count = len(student)
    first, step = {"last": (count - 1, 1), "even": ((count - 1) % 2, 2), "all": (0, 1)}[choice]
    partners = evenly_spaced(count, len(source))
    return tuple(
        LayerPair(Want(mode, what, student[i]), Want(mode, what, source[partners[i]]))
        for i in range(first, count, step)
    )


def layer_needs(choice: Layers, ends: Ends, mode: str, what: str) -> Needs:
    """Return what a loss on mapped layers reads; a model without such a layer is asked for one that nobody has."""
    pairs = layer_pairs(choice, ends, mode, what)
    nobody = frozenset({Want(mode, what)})
    student = frozenset(pair.student for pair in pairs)
    source = frozenset(pair.source for pair in pairs)
    if not pairs:
        student = frozenset() if layers(ends.student, mode, what) else nobody
        source = frozenset() if layers(ends.source, mode, what) else nobody
    return Needs(student=student, source=source)
