"""Which entries of a teacher's weights a narrower student takes: leading ones, or those that matter most."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from trainables.families.blip.architecture import EncoderConfig
from trainables.families.blip.importance import CHANNELS, HEADS, KEYS, NEURONS, QUERIES, VALUES
from trainables.families.origin import Importance

Index = Tensor | None
"""Which entries of a dimension are taken, in the student's order; None for the leading ones."""
Axes = tuple[Index, ...]
"""Of each dimension of a weight; those behind are taken as they stand."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """Which entries of one side a student takes; by default the leading ones of all.

    Attributes:
        channels: of the residual stream, the same in every layer.
        neurons: teacher layer -> of its feed-forward part.
        queries, values: name of an attention, `3.attention` -> of the rows of queries and keys, and of values.
    """

    channels: Index = None
    neurons: Mapping[int, Tensor] = field(default_factory=dict)
    queries: Mapping[str, Tensor] = field(default_factory=dict)
    values: Mapping[str, Tensor] = field(default_factory=dict)

    def attention(self, layer: int, kind: str, context: Index) -> dict[str, Axes]:
        """Return what is taken of the parts of an attention block; `context` is what keys and values look at."""
        name = f"{layer}.{kind}"
        queries, values, channels = self.queries.get(name), self.values.get(name), self.channels
        return {
            "query": (queries, channels),
            "key": (queries, context),
            "value": (values, context),
            "output": (channels, values),
            "norm": (channels,),
        }


SLICES = Order()


def by_importance(side: str, importance: Importance, student: EncoderConfig, teacher: EncoderConfig) -> Order:
    """Return the entries that matter most, in the order in which they stand in the teacher.

    Not in that of their importance: a student as wide as its teacher then is the teacher, entry by entry, as losses that compare
    states of one width, or maps of as many heads, take for granted.

    Args:
        side: image or text.
        importance: of the teacher, see `importance.measured_importance`.
        student, teacher: sizes of that side.
    """
    neurons, queries, values = dict[int, Tensor](), dict[str, Tensor](), dict[str, Tensor]()
    inner = int(student.width * student.mlp_ratio)
    for name in importance:
        of, _, rest = name.partition(".")
        if of != side:
            continue
        if rest.endswith(f".{NEURONS}"):
            neurons[int(rest.partition(".")[0])] = strongest(importance[name], inner)
        elif rest.endswith(f".{HEADS}"):
            block = rest.removesuffix(f".{HEADS}")
            heads = importance[name]
            looked = importance[f"{side}.{block}.{QUERIES}"] * importance[f"{side}.{block}.{KEYS}"]
            queries[block] = rows_of_heads(heads, looked, student)
            values[block] = rows_of_heads(heads, importance[f"{side}.{block}.{VALUES}"], student)
    channels = strongest(importance[f"{side}.{CHANNELS}"], student.width)
    return Order(channels=channels, neurons=neurons, queries=queries, values=values)


def strongest(importance_N: Tensor, count: int) -> Tensor:
    """Return the numbers of the `count` largest entries, rising; of equal ones the earlier."""
    return importance_N.sort(descending=True, stable=True).indices[:count].sort().values


def rows_of_heads(heads_H: Tensor, dims_D: Tensor, student: EncoderConfig) -> Tensor:
    """Return which rows of a teacher's queries or values a student's heads take, head by head (width of the student,).

    A student's head takes the strongest dimensions of one teacher head. With fewer heads those are the strongest heads; with
    more, the strongest ones are shared out: a second student head takes the dimensions behind those of the first. A head that
    is larger than the teacher's takes several whole ones; where that does not come out even, the strongest rows of all.

    Args:
        heads_H: importance of the teacher's heads.
        dims_D: of the single dimensions of all of them, head by head.
        student: sizes of the student's side.
    """
    size, mine = len(dims_D) // len(heads_H), student.width // student.heads
    ranked = heads_H.sort(descending=True, stable=True).indices.tolist()
    if mine > size:
        times, rest = divmod(mine, size)
        if rest or student.heads * times > len(ranked):
            return strongest(dims_D, student.width)
        chosen = sorted(ranked[: student.heads * times])
        return torch.cat([torch.arange(head * size, (head + 1) * size) for head in chosen])
    shares = sorted((ranked[one % len(ranked)], one // len(ranked)) for one in range(student.heads))
    found = []
    for head, part in shares:
        order = dims_D[head * size : (head + 1) * size].sort(descending=True, stable=True).indices
        taken = order[part * mine : (part + 1) * mine]
        if len(taken) < mine:  # too many heads for it: the strongest once more
            taken = order[:mine]
        found.append(head * size + taken.sort().values)
    return torch.cat(found)
