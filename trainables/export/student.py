"""A student as a folder of plain files, and back: what a user of a found student imports.

    from trainables.export import load

    student = load("student/")
    student.caption([Image.open("dog.jpg")])
    similarity = student.embed_images(pictures) @ student.embed_texts(["a dog", "a cat"]).T

Needs neither ray nor pydantic.
"""

import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError
from torch import Tensor

from spaces.errors import ExportError, TeacherError
from trainables.datasets.pictures import square
from trainables.metrics.generation import greedy_captions
from trainables.model_card import model_card
from trainables.model_folder import read_model_folder, write_model_folder
from trainables.models.blip import Blip
from trainables.models.config import BlipConfig, PreprocessConfig
from trainables.tokenizer import Tokenizer

__all__ = ["Student", "export_student", "load", "model_card"]

CARD = "README.md"
PREPROCESSOR = "preprocessor_config.json"

Picture = Image.Image | np.ndarray
Pictures = Sequence[Picture] | np.ndarray
"""Pictures as PIL images or uint8 arrays (H, W, 3), or one array (N, H, W, 3)."""


@dataclass(frozen=True, kw_only=True)
class Student:
    """A loaded model with everything from raw input to answer.

    All methods take a list and run it as one batch on the device of `model`, without gradient.

    Attributes:
        model: in eval mode, float32, on the CPU; `student.model.to("cuda")` moves it.
        tokenizer, preprocess: from text and picture to its input.
        config: its sizes.
        measured: the figures that were recorded when it was exported.
    """

    model: Blip
    tokenizer: Tokenizer
    preprocess: PreprocessConfig
    config: BlipConfig
    measured: dict[str, Any] = field(default_factory=dict)

    def embed_images(self, images: Pictures) -> Tensor:
        """Return unit-norm embeddings (N, E); their product with those of texts is the ITC similarity."""
        with torch.inference_mode():
            return _given(self.model.encode_image(self._pixels(images)).embedding_BE)

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """Return unit-norm embeddings (N, E)."""
        with torch.inference_mode():
            return _given(self.model.encode_text(*self._captions(texts)).embedding_BE)

    def match(self, images: Pictures, texts: Sequence[str]) -> Tensor:
        """Return the probability (N,) that image i and text i belong together, by the image-grounded encoder.

        Raises:
            ExportError: a dual encoder, which has none.
        """
        if not self.config.has_fusion:
            raise ExportError(
                "match: this student has 0 fusion layers; compare embed_images with embed_texts instead."
            )
        _same_number("match", images, texts)
        with torch.inference_mode():
            ids, mask = self._captions(texts)
            return _given(self.model.fuse(ids, mask, self._tokens(images)).logits_N2).softmax(dim=-1)[:, 1]

    def caption(self, images: Pictures) -> list[str]:
        """Return a caption per image, decoded greedily.

        Raises:
            ExportError: a student without decoder.
        """
        self._need_decoder("caption")
        with torch.inference_mode():
            return [self.tokenizer.decode(ids) for ids in greedy_captions(self.model, self._tokens(images))]

    def answer(self, images: Pictures, questions: Sequence[str]) -> list[str]:
        """Return the answer to question i about image i, decoded greedily.

        Raises:
            ExportError: a student without decoder.
        """
        self._need_decoder("answer")
        _same_number("answer", images, questions)
        rows, _ = self.tokenizer.questions(list(questions), [""] * len(questions))
        with torch.inference_mode():
            answers = greedy_answers(self.model, [row[:-1] for row in rows], self._tokens(images))
        return [self.tokenizer.decode(ids) for ids in answers]

    def _need_decoder(self, method: str) -> None:
        if not self.config.has_decoder:
            raise ExportError(f"{method}: this student has no decoder; it can embed_images and embed_texts.")

    def _device(self) -> torch.device:
        return self.model.temperature.device

    def _pixels(self, images: Pictures) -> Tensor:
        """Return normalised pictures (N, 3, S, S), in the very steps of training."""
        side = self.preprocess.image_size
        squares = np.stack([square(_picture(image), side) for image in images])
        values = torch.from_numpy(squares).to(self._device()).permute(0, 3, 1, 2).float() / 255
        mean, std = (
            torch.tensor(three, device=values.device).view(1, 3, 1, 1)
            for three in (self.preprocess.mean, self.preprocess.std)
        )
        return ((values - mean) / std).contiguous()

    def _tokens(self, images: Pictures) -> Tensor:
        return _given(self.model.encode_image(self._pixels(images)).tokens_BPD)

    def _captions(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        return padded(self.tokenizer.captions(list(texts)), self.config.vocabulary.pad, self._device())


def _given(tensor: Tensor | None) -> Tensor:
    assert tensor is not None  # the model always fills what its method is named after
    return tensor


def _picture(image: Picture) -> Image.Image:
    if isinstance(image, Image.Image):
        return image
    if isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3:
        return Image.fromarray(image)
    got = (
        f"{image.dtype} array of shape {image.shape}"
        if isinstance(image, np.ndarray)
        else type(image).__name__
    )
    raise ExportError(f"image: got {got}; allowed: PIL images or uint8 arrays of shape (height, width, 3).")


def _same_number(method: str, images: Pictures, texts: Sequence[str]) -> None:
    if len(images) != len(texts):
        raise ExportError(
            f"{method}: got {len(images)} images and {len(texts)} texts; allowed: one text per image."
        )


def padded(rows: list[list[int]], pad: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return ids (B, T) padded on the right, and their mask (B, T)."""
    width = max(len(row) for row in rows)
    ids = torch.tensor([row + [pad] * (width - len(row)) for row in rows], device=device)
    lengths = torch.tensor([len(row) for row in rows], device=device)
    return ids, torch.arange(width, device=device)[None, :] < lengths[:, None]


def greedy_answers(model: Blip, prompts: list[list[int]], image_tokens: Tensor) -> list[list[int]]:
    """Return the ids that follow each prompt up to [SEP], chosen greedily, at most up to max_tokens.

    Rows are padded on the right and each goes on from its own end: the causal mask hides what stands behind.

    Args:
        model: with a decoder.
        prompts: `[DEC] question` per row.
        image_tokens: (B, P, D), a picture per row.
    """
    sep, longest = model.config.vocabulary.sep, model.config.max_tokens
    rows = [list(prompt) for prompt in prompts]
    done = [False] * len(rows)
    for _ in range(longest):
        open_rows = [i for i, row in enumerate(rows) if not done[i] and len(row) < longest]
        if not open_rows:
            break
        ids, mask = padded([rows[i] for i in open_rows], model.config.vocabulary.pad, image_tokens.device)
        logits = _given(model.decode(ids, mask, image_tokens[open_rows], mode="answer").logits_BTV)
        ends = mask.sum(dim=1) - 1
        chosen = logits[torch.arange(len(open_rows), device=logits.device), ends].argmax(dim=-1).tolist()
        for i, token in zip(open_rows, chosen, strict=True):
            done[i] = token == sep
            if not done[i]:
                rows[i].append(token)
    return [row[len(prompt) :] for row, prompt in zip(rows, prompts, strict=True)]


def load(folder: str | Path) -> Student:
    """Return the student of a folder that `search/export.py` wrote.

    Raises:
        ExportError: the folder is missing, damaged or of another kind.
    """
    place = Path(folder)
    if not place.is_dir():
        raise ExportError(f"{place}: is no folder. Give what search/export.py wrote.")
    try:
        read = read_model_folder(place)
    except TeacherError as error:  # the same files may serve as a teacher; here they are a student
        raise ExportError(str(error)) from error
    return Student(
        model=read.model,
        tokenizer=read.tokenizer,
        preprocess=read.preprocess,
        config=read.model.config,
        measured=read.measured,
    )


def export_student(
    student: Blip,
    tokenizer_folder: Path,
    *,
    preprocess: PreprocessConfig,
    measured: dict[str, Any],
    out: Path,
    card: str,
) -> Path:
    """Write a student as a folder; it appears whole or not at all.

    Args:
        student: the model.
        tokenizer_folder: holds its teacher's tokenizer files.
        preprocess: its teacher's preprocessing.
        measured: figures and origin, JSON-able, kept in config.json.
        out: the new folder.
        card: text of its README.md, see `model_card`.

    Returns:
        The folder.

    Raises:
        ExportError: `out` exists and is not empty, or cannot be written.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ExportError(f"{out}: exists already; allowed: a new or an empty folder. Give another --out.")
    try:
        Tokenizer.from_folder(tokenizer_folder, student.config.vocabulary, student.config.max_tokens)
    except TeacherError as error:
        raise ExportError(str(error)) from error
    temporary: Path | None = None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}."))
        temporary.chmod(0o755)
        write_model_folder(
            temporary, student, tokenizer_folder=tokenizer_folder, preprocess=preprocess, measured=measured
        )
        (temporary / PREPROCESSOR).write_text(json.dumps(_image_processor(preprocess), indent=2) + "\n")
        (temporary / CARD).write_text(card)
        temporary.replace(out)
    except (OSError, SafetensorError) as error:
        raise ExportError(
            f"{out}: could not be written ({error}). Free disk space or give another --out."
        ) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
    return out


def _image_processor(preprocess: PreprocessConfig) -> dict[str, Any]:
    """Return the preprocessing as `transformers.AutoImageProcessor` reads it."""
    side = preprocess.image_size
    return {
        "image_processor_type": "BlipImageProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": {"height": side, "width": side},
        "resample": int(Image.Resampling.BICUBIC),
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(preprocess.mean),
        "image_std": list(preprocess.std),
    }
