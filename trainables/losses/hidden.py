"""Distance between hidden states of mapped layers, shared by the four `*_hidden` losses."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainables.losses.agreement import require_same_shape
from trainables.losses.base import Loss, layer_output
from trainables.losses.mapping import LAYER_CHOICES, LayerPair, Layers
from trainables.losses.options import require_one_of
from trainables.losses.reduction import global_mean
from trainables.outputs import Want, Wants

KINDS = ("mse", "cosine")
TOKENS = ("all", "first")


@dataclass(frozen=True, kw_only=True, slots=True)
class HiddenConfig(Loss.Config):
    """Options of a loss on hidden states.

    Attributes:
        layers: which student layers take part, see `mapping.layer_pairs`.
        kind: `mse` of layer-normed states, or `cosine` (1 - cosine).
        tokens: `all` real tokens, or the `first` one alone: [CLS], [ENC] or [DEC], which DLIP takes.
    """

    layers: Layers = "last"
    kind: Literal["mse", "cosine"] = "mse"
    tokens: Literal["all", "first"] = "all"

    def __post_init__(self) -> None:
        Loss.Config.__post_init__(self)
        require_one_of("layers", self.layers, LAYER_CHOICES)
        require_one_of("kind", self.kind, KINDS)
        require_one_of("tokens", self.tokens, TOKENS)


class HiddenMatch(nn.Module):
    """Mean distance between projected student states and teacher states over mapped layers and real tokens.

    Where widths differ, each mapped student layer has its own linear projection to the teacher's width.
    The projection is never on the teacher's side, where it could shrink the target.
    """

    def __init__(
        self,
        config: HiddenConfig,
        mode: str,
        *,
        pairs: Sequence[LayerPair],
        student_width: int,
        teacher_width: int,
    ) -> None:
        super().__init__()
        self.kind, self.tokens, self.mode, self.pairs = config.kind, config.tokens, mode, tuple(pairs)
        equal = student_width == teacher_width
        self.projections = nn.ModuleDict(
            {
                str(p.student): nn.Identity() if equal else nn.Linear(student_width, teacher_width)
                for p in self.pairs
            }
        )

    @property
    def student_wants(self) -> Wants:
        """The student's states that are compared."""
        return frozenset(Want(self.mode, "hidden", pair.student) for pair in self.pairs)

    @property
    def teacher_wants(self) -> Wants:
        """The teacher's states that are compared."""
        return frozenset(Want(self.mode, "hidden", pair.teacher) for pair in self.pairs)

    def forward(
        self, student: dict[int, Tensor], teacher: dict[int, Tensor], mask_BT: Tensor | None = None
    ) -> Tensor:
        """Return the mean over layers of the mean over real tokens of all workers: 0 for equal states.

        Args:
            student: states (N, T, D) by layer; rows behind the teacher's B (negatives) are left out.
            teacher: states (B, T, D) by layer.
            mask_BT: True on real tokens; None where there is no padding (image tokens).
        """
        terms = [self._distance(pair, student, teacher, mask_BT) for pair in self.pairs]
        return torch.stack(terms).mean()

    def _distance(
        self, pair: LayerPair, student: dict[int, Tensor], teacher: dict[int, Tensor], mask_BT: Tensor | None
    ) -> Tensor:
        want = Want(self.mode, "hidden", pair.student)
        target_BTD = layer_output(teacher, Want(self.mode, "hidden", pair.teacher)).detach().float()
        states_BTD = layer_output(student, want).float()[: len(target_BTD)]
        if self.tokens == "first":
            states_BTD, target_BTD = states_BTD[:, :1], target_BTD[:, :1]
        require_same_shape(want, states_BTD[..., 0], target_BTD[..., 0])
        chosen_BT = torch.ones_like(target_BTD[..., 0], dtype=torch.bool)
        if mask_BT is not None:
            chosen_BT = mask_BT[: chosen_BT.shape[0], : chosen_BT.shape[1]]
        # Padding is taken out before anything is computed: a mask multiplied later would let NaN through.
        states = self.projections[str(pair.student)](states_BTD[chosen_BT])
        target = target_BTD[chosen_BT]
        if self.kind == "cosine":
            return global_mean(1 - functional.cosine_similarity(states, target, dim=-1))
        width = target.shape[-1:]
        return global_mean(
            (functional.layer_norm(states, width) - functional.layer_norm(target, width)).square().mean(-1)
        )
