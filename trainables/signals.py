"""Everything that models hand to losses and metrics: one small dataclass per mode.

Layers are counted from 0 at the input side; `hidden[i]` is the state *after* layer i. Only the layers that a
`Want` names are filled. Dimension letters: `trainables.shapes`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from torch import Tensor

MODES = ("image", "text", "fused", "decoder", "answer")


class Want(NamedTuple):
    """Name one output of a model.

    Attributes:
        mode: one of `MODES`; `answer` is the decoder run on a question.
        what: `embedding`, `hidden`, `attention`, `cross_attention` or `logits`.
        layer: absolute layer index for the per-layer kinds, else None.
    """

    mode: str
    what: str
    layer: int | None = None

    def __str__(self) -> str:
        return f"{self.mode}.{self.what}" + ("" if self.layer is None else f".{self.layer}")


Wants = frozenset[Want]


def layers(wants: Iterable[Want], mode: str, what: str) -> frozenset[int]:
    """Return the layer indices that `wants` asks of one mode and kind."""
    return frozenset(w.layer for w in wants if w.mode == mode and w.what == what and w.layer is not None)


@dataclass(kw_only=True)
class ImageOutputs:
    """Image encoder: tokens_BPD after the last norm, unit-norm embedding_BE.

    States are (B, P, D), maps (B, H, P, P).
    """

    tokens_BPD: Tensor | None = None
    embedding_BE: Tensor | None = None
    hidden: dict[int, Tensor] = field(default_factory=dict)
    attention: dict[int, Tensor] = field(default_factory=dict)


@dataclass(kw_only=True)
class TextOutputs:
    """Text-only pass: mask_BT True on real tokens, unit-norm embedding_BE.

    States are (B, T, D), maps (B, H, T, T).
    """

    mask_BT: Tensor
    tokens_BTD: Tensor | None = None
    embedding_BE: Tensor | None = None
    hidden: dict[int, Tensor] = field(default_factory=dict)
    attention: dict[int, Tensor] = field(default_factory=dict)


@dataclass(kw_only=True)
class FusedOutputs:
    """Image-grounded encoder. Its first B rows are the given pairs; a student's negatives follow.

    labels_N is 1 for a match and 0 for a negative; mask_NT marks real tokens; states are (N, T, D);
    cross_attention maps are (N, H, T, P) and exist in fusion layers only. A teacher holds the B given pairs
    alone (N = B).
    """

    mask_NT: Tensor
    logits_N2: Tensor | None = None
    labels_N: Tensor | None = None
    hidden: dict[int, Tensor] = field(default_factory=dict)
    attention: dict[int, Tensor] = field(default_factory=dict)
    cross_attention: dict[int, Tensor] = field(default_factory=dict)


@dataclass(kw_only=True)
class DecoderOutputs:
    """Causal decoder. logits_BTV[:, t] predicts token t + 1; mask_BT marks real input tokens.

    states are (B, T, D), attention (B, H, T, T) lower triangular, cross_attention (B, H, T, P).
    """

    mask_BT: Tensor
    logits_BTV: Tensor | None = None
    hidden: dict[int, Tensor] = field(default_factory=dict)
    attention: dict[int, Tensor] = field(default_factory=dict)
    cross_attention: dict[int, Tensor] = field(default_factory=dict)


@dataclass(kw_only=True)
class Outputs:
    """What one model said about one batch; a mode that nobody asked for, or that the model lacks, is None.

    `answer` is the decoder's mode on `[DEC] question answer [SEP]`. `temperature` is the model's own ITC
    temperature (scalar).
    """

    image: ImageOutputs | None = None
    text: TextOutputs | None = None
    fused: FusedOutputs | None = None
    decoder: DecoderOutputs | None = None
    answer: DecoderOutputs | None = None
    temperature: Tensor | None = None


@dataclass(kw_only=True)
class Batch:
    """One training batch of B image-text pairs, with a question and answer each where the data set has them.

    Attributes:
        images: (B, 3, S, S) float, normalised as the teacher's preprocessing says.
        caption_ids: (B, T) int64, `[CLS] ... [SEP]`, padded with the pad id, trimmed to the longest of the
        batch. caption_mask: (B, T) bool, True on real tokens.
        caption_keys: (B,) int64, equal for equal captions: such rows are no negatives of one another.
        image_keys: (B,) int64, index of the image in its split: equal for captions of one image.
        question_ids: (B, T) int64, `[DEC] question answer [SEP]` padded, or None.
        question_mask: (B, T) bool, or None.
        answer_mask: (B, T) bool, True at input positions whose *next* token belongs to the answer, or None.
        caption_rows, question_rows: (B,) int64, index of caption and question in the split: keys of the
            teacher cache.
    """

    images: Tensor
    caption_ids: Tensor
    caption_mask: Tensor
    caption_keys: Tensor
    image_keys: Tensor
    caption_rows: Tensor
    question_ids: Tensor | None = None
    question_mask: Tensor | None = None
    answer_mask: Tensor | None = None
    question_rows: Tensor | None = None
