"""Divergence between attention maps of mapped layers, shared by the four `*_attention` losses."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from trainables.losses.agreement import require_same_shape
from trainables.losses.base import Loss, layer_output
from trainables.losses.mapping import LAYER_CHOICES, LayerPair, Layers
from trainables.losses.options import require_one_of
from trainables.losses.reduction import global_mean
from trainables.outputs import Want, Wants

SMALLEST = 1e-7
"""Student probabilities are raised to this before the logarithm: a zero costs 16 nats, not infinity."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AttentionConfig(Loss.Config):
    """Options of a loss on attention maps.

    Attributes:
        layers: which student layers take part, see `mapping.layer_pairs`.
    """

    layers: Layers = "last"

    def __post_init__(self) -> None:
        Loss.Config.__post_init__(self)
        require_one_of("layers", self.layers, LAYER_CHOICES)


class AttentionMatch:
    """Mean KL(teacher || student) of attention rows over mapped layers, heads and real query rows.

    The maps are probabilities already: their logarithm is taken, never a second softmax. Heads are
    compared one to one, or their averages where the numbers of heads differ.
    """

    def __init__(self, mode: str, what: str, pairs: Sequence[LayerPair]) -> None:
        self.mode, self.what, self.pairs = mode, what, tuple(pairs)

    @property
    def student_wants(self) -> Wants:
        """The student's maps that are compared."""
        return frozenset(Want(self.mode, self.what, pair.student) for pair in self.pairs)

    @property
    def teacher_wants(self) -> Wants:
        """The teacher's maps that are compared."""
        return frozenset(Want(self.mode, self.what, pair.teacher) for pair in self.pairs)

    def divergence(
        self,
        student: dict[int, Tensor],
        teacher: dict[int, Tensor],
        *,
        queries_BQ: Tensor | None = None,
        keys_BK: Tensor | None = None,
    ) -> Tensor:
        """Return the divergence in nats, over the real query rows of all workers: 0 for equal maps.

        Args:
            student: maps (N, H, Q, K) by layer; rows behind the teacher's B (negatives) are left out.
            teacher: maps (B, H, Q, K) by layer.
            queries_BQ: True on real query tokens; None where none is padding.
            keys_BK: True on real key tokens; None where none is padding.

        Raises:
            ShapeError: numbers of queries or keys differ.
        """
        terms = []
        for pair in self.pairs:
            want = Want(self.mode, self.what, pair.student)
            target = layer_output(teacher, Want(self.mode, self.what, pair.teacher)).detach().float()
            maps = layer_output(student, want).float()[: len(target)]
            require_same_shape(want, maps[:, 0], target[:, 0])
            terms.append(_divergence(maps, target, queries_BQ, keys_BK))
        return torch.stack(terms).mean()


def _divergence(
    maps_BHQK: Tensor, target_BHQK: Tensor, queries_BQ: Tensor | None, keys_BK: Tensor | None
) -> Tensor:
    if maps_BHQK.shape[1] != target_BHQK.shape[1]:
        maps_BHQK, target_BHQK = maps_BHQK.mean(1, keepdim=True), target_BHQK.mean(1, keepdim=True)
    rows, _, queries, keys = target_BHQK.shape
    if queries_BQ is None:
        queries_BQ = torch.ones(rows, queries, dtype=torch.bool, device=target_BHQK.device)
    chosen_BQ = queries_BQ[:rows]
    # Query rows are picked out before anything is computed: a mask multiplied later would let NaN through.
    maps_nHK, target_nHK = maps_BHQK.transpose(1, 2)[chosen_BQ], target_BHQK.transpose(1, 2)[chosen_BQ]
    if keys_BK is not None:
        padding_n1K = ~keys_BK[:rows, None].expand(rows, queries, keys)[chosen_BQ][:, None]
        maps_nHK = maps_nHK.masked_fill(padding_n1K, 0.0)
        target_nHK = target_nHK.masked_fill(padding_n1K, 0.0)
    # xlogy is 0 at 0, as the divergence asks; a plain product would be NaN there.
    terms_nHK = torch.xlogy(target_nHK, target_nHK) - target_nHK * maps_nHK.clamp(min=SMALLEST).log()
    return global_mean(terms_nHK.sum(-1).mean(-1))
