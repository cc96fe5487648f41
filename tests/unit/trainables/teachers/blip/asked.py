"""What teachers of the published classes are asked in tests, and the sizes of these."""

from pathlib import Path
from typing import Any

import torch
from transformers import BlipForConditionalGeneration, BlipForImageTextRetrieval, BlipForQuestionAnswering

from tests.unit.trainables.teachers.published import TEXT, VISION, save
from trainables.signals import PIXELS, Batch
from trainables.teachers.teacher import Teacher

KINDS = {
    "retrieval": BlipForImageTextRetrieval,
    "captioning": BlipForConditionalGeneration,
    "vqa": BlipForQuestionAnswering,
}
Size = tuple[dict[str, Any], dict[str, Any]]
CAPTIONS = ["a red circle", "two green star above the blue square", "a star"]
QUESTIONS, ANSWERS = ["the left square", "a star of the red", "two"], ["blue", "red circle", "a"]
WIDE = {"hidden_size": 768, "intermediate_size": 768, "num_hidden_layers": 2, "num_attention_heads": 12}
REAL = ({**WIDE, "image_size": 96, "layer_norm_eps": 1e-5}, WIDE)
ODD = (
    {**VISION, "hidden_size": 80, "num_attention_heads": 5, "image_size": 48},
    {**TEXT, "hidden_size": 24, "num_attention_heads": 6, "num_hidden_layers": 2},
)
EQUAL = (
    {**VISION, "image_size": 32},
    {**TEXT, "hidden_size": 32, "num_attention_heads": 4},
)  # as questions need


def padded(rows: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    width = max(map(len, rows))
    ids = torch.tensor([row + [0] * (width - len(row)) for row in rows])
    return ids, torch.tensor([[number < len(row) for number in range(width)] for row in rows])


def batch_of(teacher: Teacher) -> Batch:
    assert teacher.tokenizer is not None
    captions, real = padded(teacher.tokenizer.captions(CAPTIONS))
    rows, starts = teacher.tokenizer.questions(QUESTIONS, ANSWERS)
    questions, asked = padded(rows)
    places = torch.arange(questions.shape[1])[None]
    ends = asked.sum(1, keepdim=True)
    side = teacher.preprocess.image_size
    fields = {
        PIXELS: torch.randn(3, 3, side, side, generator=torch.Generator().manual_seed(1)),
        "caption.ids": captions,
        "caption.mask": real,
        "question.ids": questions,
        "question.mask": asked,
        "question.targets": (places >= torch.tensor(starts)[:, None] - 1) & (places < ends - 1),
    }
    numbers = torch.arange(3)
    return Batch(fields=fields, rows={"picture": numbers, "caption": numbers, "question": numbers})


def close(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    """Within 1e-5 of the largest value: float32, summed in another order."""
    torch.testing.assert_close(ours, theirs, atol=1e-5 * max(float(theirs.abs().max()), 1.0), rtol=0)


def save_class(folder: Path, task: str) -> Path:
    """Save a small model of the class of a task, and return its folder."""
    return save(folder, *EQUAL, kind=KINDS[task]).folder
