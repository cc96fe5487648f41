"""A student as a folder of plain files, and back: what a user of a found student imports.

    from trainables.export import load

    student = load("student/")
    student.caption([Image.open("dog.jpg")])
    similarity = student.embed_images(pictures) @ student.embed_texts(["a dog", "a cat"]).T

Needs neither ray nor pydantic.
"""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from spaces.errors import ExportError, TeacherError
from spaces.files import atomic_folder, make_folder, write_text
from spaces.paths import user_path
from trainables.datasets.pictures import square
from trainables.families.base import Blueprint, Family
from trainables.model_folder import Reading, read_model_folder, write_model_folder
from trainables.preprocess import INTERPOLATIONS, Framing, PreprocessConfig
from trainables.signals import CAPTION, PIXELS, QUESTION, Batch, Signals, Want, Wants, reads_texts
from trainables.tasks.decoding import ANSWERS, LOGITS, Decoder, padded
from trainables.teachers.teacher import Teacher
from trainables.tokenizer import Tokenizer

IMAGE, TEXT, MATCH = Want("image", "embedding"), Want("text", "embedding"), Want("fused", "logits")
CARD = "README.md"
CANDIDATE = "candidate.json"
PREPROCESSOR = "preprocessor_config.json"

Picture = Image.Image | np.ndarray
Pictures = Sequence[Picture] | np.ndarray
"""Pictures as PIL images of any mode, seen as in training, or uint8 arrays (H, W, 3), or one array (N, H, W, 3)."""


@dataclass(frozen=True, kw_only=True)
class Student:
    """A loaded model with everything from raw input to answer.

    All methods take a list and run it as one batch on the device of `model`, without gradient.

    Attributes:
        model: in eval mode, float32, on the CPU; `student.model.to("cuda")` moves it.
        blueprint: its family and sizes.
        tokenizer, preprocess: from text and picture to its input; no tokenizer where it reads no texts.
        measured: the figures that were recorded when it was exported.
    """

    model: Family
    blueprint: Blueprint
    tokenizer: Tokenizer | None
    preprocess: PreprocessConfig
    measured: dict[str, Any] = field(default_factory=dict)

    def signals(
        self, images: Pictures | None = None, texts: Sequence[str] | None = None, *, wants: set[Want]
    ) -> Signals:
        """Return what the model says about pictures, texts, or pairs of them: any of `blueprint.offers`.

        Raises:
            ExportError: it does not offer a want, lacks what it has to read for it, or was given another number of texts
                than of pictures.
        """
        missing = sorted(str(want) for want in wants if want not in self.blueprint.offers)
        if missing:
            raise ExportError(f"this student has no {', '.join(missing)}; it was not made for that task.")
        fields: dict[str, Tensor] = {}
        if images is not None:
            fields[PIXELS] = self._pixels(images)
        if texts is not None:
            ids, mask = self._captions(texts)
            fields |= {f"{CAPTION}.ids": ids, f"{CAPTION}.mask": mask}
        if images is not None and texts is not None:
            _same_number("signals", images, texts)
        self._require_given(frozenset(wants), fields)
        with torch.inference_mode():
            found: Signals = self.model(Batch(fields=fields, rows={}), frozenset(wants))
        return Signals({want: value.detach() for want, value in found.items()})

    def embed_images(self, images: Pictures) -> Tensor:
        """Return unit-norm embeddings (N, E); their product with those of texts is the similarity.

        Raises:
            ExportError: a student without image embedding.
        """
        return self.signals(images, wants={IMAGE})[IMAGE]

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """Return unit-norm embeddings (N, E).

        Raises:
            ExportError: a student without text embedding.
        """
        return self.signals(texts=texts, wants={TEXT})[TEXT]

    def match(self, images: Pictures, texts: Sequence[str]) -> Tensor:
        """Return the probability (N,) that image i and text i belong together, by the image-grounded encoder.

        Raises:
            ExportError: a student that was not made for the task `matching`.
        """
        if MATCH not in self.blueprint.offers:
            raise ExportError(
                "match: this student was not made for the task 'matching'; compare embed_images with embed_texts "
                "instead, or search with `tasks: [matching, ...]`."
            )
        _same_number("match", images, texts)
        return self.signals(images, texts, wants={MATCH})[MATCH].softmax(dim=-1)[:, 1]

    def caption(self, images: Pictures) -> list[str]:
        """Return a caption per image, decoded greedily.

        Raises:
            ExportError: a student without decoder.
        """
        tokenizer = self._need_decoder("caption", LOGITS)
        pixels = self._pixels(images)
        prompts = [tokenizer.prompt() for _ in range(len(pixels))]
        return [
            tokenizer.decode(ids) for ids in self._decoder(LOGITS, CAPTION, tokenizer).greedy(prompts, pixels)
        ]

    def answer(self, images: Pictures, questions: Sequence[str]) -> list[str]:
        """Return the answer to question i about image i, decoded greedily.

        Raises:
            ExportError: a student without decoder.
        """
        tokenizer = self._need_decoder("answer", ANSWERS)
        _same_number("answer", images, questions)
        pixels = self._pixels(images)
        rows, _ = tokenizer.questions(list(questions), [""] * len(questions))
        prompts = [row[:-1] for row in rows]
        return [
            tokenizer.decode(ids)
            for ids in self._decoder(ANSWERS, QUESTION, tokenizer).greedy(prompts, pixels)
        ]

    def _require_given(self, wants: Wants, fields: Collection[str]) -> None:
        """Refuse wants that are about more than pictures and captions, or about what was not given."""
        for want in sorted(wants, key=str):
            needs = self.model.inputs(frozenset({want}))
            missing = sorted(needs.fields - set(fields)) + sorted(map(str, needs.source))
            if missing:
                raise ExportError(
                    f"signals: {want} is made of {', '.join(missing)}; allowed: wants about the images and texts that "
                    "are given. Give both, or ask for another."
                )

    def _need_decoder(self, method: str, logits: Want) -> Tokenizer:
        if logits not in self.blueprint.offers or self.tokenizer is None:
            raise ExportError(
                f"{method}: this student has no decoder; it offers {', '.join(sorted({w.mode for w in self.blueprint.offers}))}."
            )
        return self.tokenizer

    def _decoder(self, logits: Want, rows: str, tokenizer: Tokenizer) -> Decoder:
        return Decoder(
            model=self.model,
            logits=logits,
            rows=rows,
            vocabulary=tokenizer.vocabulary,
            longest=tokenizer.max_tokens,
        )

    def _pixels(self, images: Pictures) -> Tensor:
        """Return normalised pictures (N, 3, S, S), in the very steps of training."""
        side = self.preprocess.image_size
        squares = np.zeros((0, side, side, 3), dtype=np.uint8)
        if len(images):
            squares = np.stack(
                [_square(number, image, self.preprocess.framing) for number, image in enumerate(images)]
            )
        return self.preprocess.normalise(torch.from_numpy(squares).to(self.model.device))

    def _captions(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        if self.tokenizer is None:
            raise ExportError("this student reads no texts; it can embed_images.")
        return padded(self.tokenizer.captions(list(texts)), self.tokenizer.vocabulary.pad, self.model.device)


def _square(number: int, image: Picture, framing: Framing) -> np.ndarray:
    """Return the pixels that training would see of a picture.

    Raises:
        ExportError: it is no picture, or its file is broken.
    """
    try:
        return square(_picture(image), framing)
    except ExportError:
        raise
    except Exception as error:  # Pillow reads a file only now, and raises whatever its format leads to
        name = getattr(image, "filename", "") or ""
        place = f"image {number}{f' ({name})' if name else ''}"
        raise ExportError(f"{place}: cannot be used ({error or type(error).__name__}).") from error


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


def load(folder: str | Path) -> Student:
    """Return the student of a folder that `search/export.py` wrote.

    Raises:
        ExportError: the folder is missing, damaged or of another kind.
    """
    place = user_path(folder)
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
        blueprint=read.blueprint,
        measured=read.measured,
    )


def export_student(
    student: Family,
    teacher: Teacher,
    *,
    blueprint: Blueprint,
    measured: dict[str, Any],
    out: Path,
    card: str,
) -> Path:
    """Write a student as a folder; it appears whole or not at all.

    Args:
        student: the model.
        teacher: whose tokenizer and preprocessing it was trained with.
        blueprint: of the student.
        measured: figures and origin, JSON-able, kept in config.json; but `job`, what trains the student again, as a file of
            its own that `python -m trainables.worker` takes.
        out: the new folder.
        card: text of its README.md, see `model_card`.

    Returns:
        The folder.

    Raises:
        ExportError: `out` exists and is not empty; the tokenizer's files are gone.
        StorageError: it cannot be written.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ExportError(f"{out}: exists already; allowed: a new or an empty folder. Give another --out.")
    tokenizer = _tokenizer(teacher) if reads_texts(blueprint.offers) else None
    make_folder(out.parent)
    with atomic_folder(out) as draft:
        write_model_folder(
            draft,
            student,
            kind=blueprint.kind,
            reading=Reading(preprocess=teacher.preprocess, tokenizer=tokenizer, folder=teacher.files.folder),
            measured={name: value for name, value in measured.items() if name != "job"},
        )
        if measured.get("job"):
            write_text(draft / CANDIDATE, json.dumps(measured["job"], indent=1) + "\n")
        write_text(draft / PREPROCESSOR, json.dumps(_image_processor(teacher.preprocess), indent=2) + "\n")
        write_text(draft / CARD, card)
    return out


def _tokenizer(teacher: Teacher) -> Tokenizer:
    """Return the teacher's tokenizer, whose files can still be copied."""
    if teacher.tokenizer is None:
        raise ExportError(
            f"teacher {teacher.files.name}: has no tokenizer, and this student reads texts. Give its own teacher."
        )
    try:
        Tokenizer.from_folder(
            teacher.files.folder, teacher.tokenizer.vocabulary, teacher.tokenizer.max_tokens
        )
    except TeacherError as error:
        raise ExportError(str(error)) from error
    return teacher.tokenizer


def _image_processor(preprocess: PreprocessConfig) -> dict[str, Any]:
    """Return the preprocessing as `transformers.AutoImageProcessor` reads it; ViT's does just these steps, CLIP's crops."""
    side, shorter = preprocess.image_size, preprocess.resize
    square = {"height": side, "width": side}
    crop = {"do_center_crop": True, "crop_size": square} if shorter else {}
    return {
        "image_processor_type": "CLIPImageProcessor" if shorter else "ViTImageProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": {"shortest_edge": shorter} if shorter else square,
        **crop,
        "resample": INTERPOLATIONS.index(preprocess.interpolation),
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(preprocess.mean),
        "image_std": list(preprocess.std),
    }
