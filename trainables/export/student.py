"""A student as a folder of plain files, and back: what a user of a found student imports.

    from trainables.export import load

    student = load("student/")
    student.caption([Image.open("dog.jpg")])
    similarity = student.embed_images(pictures) @ student.embed_texts(["a dog", "a cat"]).T

Needs neither ray nor pydantic.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from spaces.errors import ExportError, TeacherError
from spaces.paths import user_path
from trainables.datasets.texts import AS_THEY_ARE, TextForm
from trainables.export.given import Pictures, pairs, squares
from trainables.export.given import texts as texts_of
from trainables.families.base import Blueprint, Family
from trainables.model_folder import READS, ModelFolder, read_model_folder
from trainables.preprocess import PreprocessConfig
from trainables.signals import (
    CAPTION,
    NOTHING,
    PIXELS,
    PIXELS_2,
    QUESTION,
    STATEMENT,
    Batch,
    Signals,
    Want,
    Wants,
)
from trainables.tasks.beams import Beams, beam_search
from trainables.tasks.decoding import ANSWERS, LOGITS, Decoder, cut_question, padded, question_room
from trainables.tokenizer import Tokenizer

IMAGE, TEXT, MATCH = Want("image", "embedding"), Want("text", "embedding"), Want("fused", "logits")
CLASSES, PAIRED = Want("image", "logits"), Want("paired", "logits")


@dataclass(frozen=True, kw_only=True)
class Student:
    """A loaded model with everything from raw input to answer.

    All methods take a list and run it as one batch on the device of `model`, without gradient.

    Attributes:
        model: in eval mode, float32, on the CPU; `student.model.to("cuda")` moves it.
        blueprint: its family and sizes.
        tokenizer, preprocess: from text and picture to its input; no tokenizer where it reads no texts.
        measured: the figures that were recorded when it was exported.
        source: the signals of its teacher that it reads; none of a student that stands alone.
        teacher: the part of its teacher that says them; None for a student that reads none, or was loaded alone.
        classes: names of the classes that it tells apart, in the order of its logits.
        texts: how it reads texts, as in training.
    """

    model: Family
    blueprint: Blueprint
    tokenizer: Tokenizer | None
    preprocess: PreprocessConfig
    measured: dict[str, Any] = field(default_factory=dict)
    source: Wants = NOTHING
    teacher: ModelFolder | None = None
    classes: tuple[str, ...] = ()
    texts: TextForm = AS_THEY_ARE

    def signals(
        self,
        images: Pictures | None = None,
        texts: Sequence[str] | None = None,
        *,
        wants: set[Want],
        given: Mapping[Want, Tensor] | None = None,
    ) -> Signals:
        """Return what the model says about pictures, texts, or pairs of them: any of `blueprint.offers`.

        Args:
            images: the pictures; None where no want is about them.
            texts: one per picture where both are given.
            wants: what is asked.
            given: what its teacher says, where the caller has it: it is then not computed.

        Raises:
            ExportError: it does not offer a want, lacks what it has to read for it, or was given another number of texts
                than of pictures.
        """
        missing = sorted(str(want) for want in wants if want not in self.blueprint.offers)
        if missing:
            raise ExportError(f"this student has no {', '.join(missing)}; it was not made for that task.")
        fields: dict[str, Tensor] = {}
        if images is not None and texts is not None:
            images, texts = pairs("signals", images, texts)
        if images is not None:
            fields[PIXELS] = self._pixels(images)
        if texts is not None:
            ids, mask = self._captions(texts)
            fields |= {f"{CAPTION}.ids": ids, f"{CAPTION}.mask": mask}
            if self.tokenizer and self.tokenizer.begun:  # read by the decoder alone, as in training
                begun = torch.tensor(self.tokenizer.begun, device=ids.device)
                fields[f"{CAPTION}.prompt"] = begun.expand(len(ids), -1)
        self._require_given(frozenset(wants), fields, given or {})
        with torch.no_grad():  # and not inference_mode: somebody may train a probe on what comes out
            batch = Batch(fields=fields, rows={})
            found: Signals = self.model(
                batch, frozenset(wants), self._said(batch, frozenset(wants), given or {})
            )
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

    def classify(self, images: Pictures, k: int = 1) -> list[list[tuple[str, float]]]:
        """Return for each picture the k likeliest classes, the likeliest first: name and probability.

        Raises:
            ExportError: a student without class head, names of classes that are not known, or a `k` that is none.
        """
        if CLASSES not in self.blueprint.offers:
            raise ExportError(
                "classify: this student has no class head; compare embed_images with those of pictures whose class you know, "
                "or search students with one (such as `student.classifier: true`)."
            )
        count = self.blueprint.offers[CLASSES].size("C")
        if len(self.classes) != count:
            raise ExportError(
                f"classify: got names of {len(self.classes)} classes for {count} logits (`classes` in config.json); allowed: one "
                "for each. Export the student again, or ask for its signals."
            )
        if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= count:
            raise ExportError(f"classify: k: got {k!r}; allowed: a whole number from 1 to {count}.")
        best = self.signals(images, wants={CLASSES})[CLASSES].float().softmax(dim=-1).topk(k)
        return [
            [(self.classes[place], share) for place, share in zip(places, shares, strict=True)]
            for places, shares in zip(best.indices.tolist(), best.values.tolist(), strict=True)
        ]

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
        return self.signals(*pairs("match", images, texts), wants={MATCH})[MATCH].softmax(dim=-1)[:, 1]

    def holds(self, images: Pictures, others: Pictures, statements: Sequence[str]) -> Tensor:
        """Return the probability (N,) that statement i is true of image i and the other one i.

        Raises:
            ExportError: a student that was not made for the task `nlvr2`.
        """
        if PAIRED not in self.blueprint.offers:
            raise ExportError(
                "holds: this student was not made for the task 'nlvr2'; search with `tasks: [nlvr2, ...]` and "
                "`student.fusion.two_pictures: true`."
            )
        images, statements = pairs("holds", images, statements)
        others, _ = pairs("holds", others, statements)
        ids, mask = self._captions(statements)
        fields = {f"{STATEMENT}.ids": ids, f"{STATEMENT}.mask": mask}
        fields |= {PIXELS: self._pixels(images), PIXELS_2: self._pixels(others)}
        with torch.no_grad():
            found: Tensor = self.model(Batch(fields=fields, rows={}), frozenset({PAIRED}))[PAIRED]
        return found.float().softmax(dim=-1)[:, 1]

    def caption(self, images: Pictures, *, beams: int = 1) -> list[str]:
        """Return a caption per image, decoded greedily, or by a search with several beams, of 5 to 20 tokens.

        Raises:
            ExportError: a student without decoder, or a number of beams that is none.
        """
        tokenizer = self._need_decoder("caption", LOGITS)
        if isinstance(beams, bool) or not isinstance(beams, int) or beams < 1:
            raise ExportError(f"caption: beams: got {beams!r}; allowed: a whole number from 1 on.")
        pixels = self._pixels(images)
        prompts = [tokenizer.prompt() for _ in range(len(pixels))]
        decoder = self._decoder(LOGITS, CAPTION, tokenizer)
        searched = beam_search(decoder, prompts, pixels, Beams(width=beams)) if beams > 1 else None
        rows = decoder.greedy(prompts, pixels) if searched is None else searched
        return [tokenizer.decode(ids) for ids in rows]

    def answer(self, images: Pictures, questions: Sequence[str]) -> list[str]:
        """Return the answer to question i about image i, decoded greedily.

        Raises:
            ExportError: a student without decoder.
        """
        tokenizer = self._need_decoder("answer", ANSWERS)
        images, questions = pairs("answer", images, questions)
        pixels = self._pixels(images)
        read = [self.texts.question(one) for one in questions]
        rows, _ = tokenizer.questions(read, [""] * len(read))
        prompts = [cut_question(row[:-1], question_room(tokenizer.max_tokens)) for row in rows]
        return [
            tokenizer.decode(ids)
            for ids in self._decoder(ANSWERS, QUESTION, tokenizer).greedy(prompts, pixels)
        ]

    def _require_given(self, wants: Wants, fields: Collection[str], given: Mapping[Want, Tensor]) -> None:
        """Refuse wants that are about more than pictures and captions, or about what was not given."""
        known = self.teacher.blueprint.offers if self.teacher else {}
        for want in sorted(wants, key=str):
            needs = self.model.inputs(frozenset({want}))
            asked, source = set(needs.fields), needs.source.difference(given)
            if self.teacher:
                asked |= self.teacher.model.inputs(source.intersection(known)).fields
            missing = sorted(asked.difference(fields))
            missing += [f"{one} of its teacher" for one in sorted(map(str, source.difference(known)))]
            if missing:
                raise ExportError(
                    f"signals: {want} is made of {', '.join(missing)}; allowed: wants about the images and texts that "
                    "are given, and what is `given` of its teacher. Give all of it, or ask for another."
                )

    def _said(self, batch: Batch, wants: Wants, given: Mapping[Want, Tensor]) -> Signals | None:
        """Return what the model reads of its teacher; None for a student that stands alone."""
        needed = self.model.inputs(wants).source
        if not needed:
            return None
        said = Signals({want: given[want].to(self.model.device) for want in needed.intersection(given)})
        left = needed.difference(given)
        if left and self.teacher:
            part = self.teacher.model.to(self.model.device)  # whoever moves the student need not know of it
            if all(map(len, batch.fields.values())):
                said.update(part(batch, left))
            else:  # a published model may refuse no rows at all
                known = self.teacher.blueprint.offers
                blank = {name: one.new_zeros(1, *one.shape[1:]) for name, one in batch.fields.items()}
                for want, one in part(Batch(fields=blank, rows={}), left).items():
                    said[want] = one[:0] if known[want].rows else one
        return said

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
        shown = torch.from_numpy(squares(images, self.preprocess.framing))
        return self.preprocess.normalise(shown.to(self.model.device))

    def _captions(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        if self.tokenizer is None:
            raise ExportError("this student reads no texts; it can embed_images.")
        rows = self.tokenizer.captions([self.texts.caption(one) for one in texts_of(texts)])
        return padded(rows, self.tokenizer.vocabulary.pad, self.model.device)


def load(folder: str | Path, *, alone: bool = False) -> Student:
    """Return the student of a folder that `search/export.py` wrote, with the part of its teacher that it reads.

    Args:
        folder: the folder.
        alone: leave that part out, where the caller has its signals: `student.signals(..., given=...)` takes them.

    Raises:
        ExportError: the folder is missing, damaged or of another kind.
    """
    place = user_path(folder)
    if not place.is_dir():
        raise ExportError(f"{place}: is no folder. Give what search/export.py wrote.")
    read = _read(place)
    return Student(
        model=read.model,
        tokenizer=read.tokenizer,
        preprocess=read.preprocess,
        blueprint=read.blueprint,
        measured=read.measured,
        source=read.source,
        teacher=_teacher(place / READS, read.source) if read.source and not alone else None,
        classes=read.classes,
        texts=read.texts,
    )


def _teacher(folder: Path, source: Wants) -> ModelFolder:
    """Return the part of its teacher that lies with a student."""
    wants = ", ".join(sorted(map(str, source)))
    if not folder.is_dir():
        raise ExportError(
            f"{folder}: is missing: the part of its teacher of which this student reads {wants}. Put it back, or give these "
            "signals yourself: load(folder, alone=True)."
        )
    read = _read(folder)
    if lacking := sorted(str(want) for want in source if want not in read.blueprint.offers):
        raise ExportError(
            f"{folder}: does not say {', '.join(lacking)}, which this student reads; allowed: the part of its own teacher. "
            "Export the student again."
        )
    return read


def _read(folder: Path) -> ModelFolder:
    try:
        return read_model_folder(folder)
    except TeacherError as error:  # the same files may serve as a teacher; here they are a student
        raise ExportError(str(error)) from error
