"""A frozen model that answers what the active losses want, and nothing else."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from trainables.models.blip import Blip
from trainables.models.config import PreprocessConfig
from trainables.outputs import Batch, Outputs, Wants
from trainables.tokenizer import Tokenizer


class OutputSource(Protocol):
    """Gives a teacher's outputs for a batch: the live teacher, or the cache."""

    def outputs(self, batch: Batch, wants: Wants) -> Outputs:
        """Return the outputs named by `wants`, without gradient."""


@dataclass(frozen=True, kw_only=True)
class TeacherFiles:
    """Where a teacher came from.

    Attributes:
        name: as the user gave it.
        folder: the folder read.
        fingerprint: hash of weights and config.
        measured: figures that its folder brings (quality, data specification), possibly empty.
    """

    name: str
    folder: Path
    fingerprint: str
    measured: dict[str, Any] = field(default_factory=dict)


class Teacher:
    """Model, tokenizer and preprocessing; always in eval mode, never with gradient.

    Dropout left on in a teacher's targets is the first mistake of public ports of DLIP; so the mode is set
    here, once, and `outputs` refuses to run in another.
    """

    def __init__(
        self, model: Blip, tokenizer: Tokenizer, preprocess: PreprocessConfig, files: TeacherFiles
    ) -> None:
        self.model = model.eval().requires_grad_(False)
        self.config = model.config
        self.tokenizer = tokenizer
        self.preprocess = preprocess
        self.files = files

    @torch.no_grad()
    def outputs(self, batch: Batch, wants: Wants, image_tokens: Tensor | None = None) -> Outputs:
        """Return the outputs named by `wants` for the given pairs (no negatives).

        Args:
            batch: B pairs.
            wants: what to compute.
            image_tokens: (B, P, D) of an earlier pass over the same images, which is then not repeated; not with wants
                of the image itself.
        """
        if self.model.training:
            raise RuntimeError("the teacher left eval mode")
        modes = {want.mode for want in wants}
        model, out = self.model, Outputs(temperature=self.model.temperature.detach())
        if not modes:
            return out
        tokens = image_tokens
        if tokens is None and modes - {"text"}:
            out.image = model.encode_image(batch.images, wants)
            tokens = out.image.tokens_BPD
        if "text" in modes:
            out.text = model.encode_text(batch.caption_ids, batch.caption_mask, wants)
        if "fused" in modes and tokens is not None:
            out.fused = model.fuse(batch.caption_ids, batch.caption_mask, tokens, wants)
        if "decoder" in modes and tokens is not None:
            out.decoder = model.decode(batch.caption_ids, batch.caption_mask, tokens, wants=wants)
        if (
            "answer" in modes
            and tokens is not None
            and batch.question_ids is not None
            and batch.question_mask is not None
        ):
            out.answer = model.decode(
                batch.question_ids, batch.question_mask, tokens, mode="answer", wants=wants
            )
        return out
