"""One optimisation step: (student, batch, teacher outputs, losses) -> weighted sum and a report by loss name.

Three stages: unimodal pass, pair sampler, fused pass. Only the passes that an active loss needs are run.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from trainables.losses.base import Loss
from trainables.models.blip import Blip
from trainables.outputs import Batch, Outputs, Want, Wants
from trainables.pairs import fused_pairs

NEGATIVE_SOURCES = ("teacher", "student")


@dataclass(frozen=True, kw_only=True)
class StepReport:
    """The loss to descend (scalar with gradient), and every loss by name, detached and unweighted."""

    total: Tensor
    losses: dict[str, Tensor]


class DistillationStep(nn.Module):
    """Student and losses as one module: optimiser, DistributedDataParallel and checkpoint see all weights.

    Args:
        student: the model in training.
        losses: active losses by name; they own their projections.
        weights: weight of each loss.
        negatives: whose ITC similarities draw the ITM negatives, `teacher` or `student`.
        blind: zero the pixels, for the baseline that sees nothing.
    """

    def __init__(
        self,
        student: Blip,
        losses: Mapping[str, Loss],
        *,
        weights: Mapping[str, float],
        negatives: str,
        blind: bool,
    ) -> None:
        super().__init__()
        self.student = student
        self.losses = nn.ModuleDict(losses)
        self.weights = dict(weights)
        self.negatives = negatives
        self.blind = blind
        self.student_wants: Wants = frozenset().union(*(loss.student_wants for loss in losses.values()))
        teacher_wants: Wants = frozenset().union(*(loss.teacher_wants for loss in losses.values()))
        if negatives == "teacher" and "itm" in losses:
            teacher_wants |= {Want("image", "embedding"), Want("text", "embedding")}
        self.teacher_wants = teacher_wants
        self.modes = frozenset(want.mode for want in self.student_wants)
        self.fused_losses = frozenset(
            name for name, loss in losses.items() if any(want.mode == "fused" for want in loss.student_wants)
        )

    def forward(
        self, batch: Batch, teacher: Outputs, generator: torch.Generator, fused: bool = True
    ) -> StepReport:
        """Return the step's report.

        Args:
            batch: B pairs.
            teacher: outputs for `teacher_wants` on the same pairs, without gradient.
            generator: draws the ITM negatives.
            fused: run the image-grounded encoder; its losses are absent from a step without it (unless there
                are no others).
        """
        fused = fused or len(self.fused_losses) == len(self.losses)
        active = {name: loss for name, loss in self.losses.items() if fused or name not in self.fused_losses}
        student = self._outputs(batch, teacher, generator, self.modes if fused else self.modes - {"fused"})
        values = {name: loss(student, teacher, batch) for name, loss in active.items()}
        total = torch.stack([self.weights[name] * value for name, value in values.items()]).sum()
        return StepReport(total=total, losses={name: value.detach() for name, value in values.items()})

    def _outputs(
        self, batch: Batch, teacher: Outputs, generator: torch.Generator, modes: frozenset[str]
    ) -> Outputs:
        model, wants = self.student, self.student_wants
        pixels = torch.zeros_like(batch.images) if self.blind else batch.images
        out = Outputs(temperature=model.temperature, image=model.encode_image(pixels, wants))
        draws_by_student = "fused" in modes and self.negatives == "student"
        if "text" in modes or draws_by_student:
            out.text = model.encode_text(batch.caption_ids, batch.caption_mask, wants)
        assert out.image is not None
        tokens = out.image.tokens_BPD
        assert tokens is not None
        if "fused" in modes:
            self._fuse(batch, teacher, out, generator)
        if "decoder" in modes:
            out.decoder = model.decode(batch.caption_ids, batch.caption_mask, tokens, wants=wants)
        if "answer" in modes and batch.question_ids is not None and batch.question_mask is not None:
            out.answer = model.decode(
                batch.question_ids, batch.question_mask, tokens, mode="answer", wants=wants
            )
        return out

    def _fuse(self, batch: Batch, teacher: Outputs, out: Outputs, generator: torch.Generator) -> None:
        """Fill `out.fused`: the given pairs, and hard negatives where ITM is active."""
        assert out.image is not None
        assert out.image.tokens_BPD is not None
        ids, mask, tokens = batch.caption_ids, batch.caption_mask, out.image.tokens_BPD
        if "itm" not in self.losses:
            out.fused = self.student.fuse(ids, mask, tokens, self.student_wants)
            return
        pairs = fused_pairs(
            self._similarity(teacher if self.negatives == "teacher" else out), batch, generator
        )
        out.fused = self.student.fuse(
            ids[pairs.captions_N], mask[pairs.captions_N], tokens[pairs.images_N], self.student_wants
        )
        out.fused.labels_N = pairs.labels_N

    @staticmethod
    @torch.no_grad()
    def _similarity(outputs: Outputs) -> Tensor:
        assert outputs.image is not None
        assert outputs.text is not None
        image_BE, text_BE = outputs.image.embedding_BE, outputs.text.embedding_BE
        assert image_BE is not None
        assert text_BE is not None
        assert outputs.temperature is not None
        return image_BE @ text_BE.T / outputs.temperature
