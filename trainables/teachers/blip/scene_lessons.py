"""What the embedded teacher is taught beyond the published task: more questions, captions made false, and where things are.

Scenes are generated, so that all of it costs nothing: a caption with 'left' and 'right' exchanged is the hardest of negatives.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from trainables.datasets.base import Split
from trainables.datasets.encoded import EncodedSplit, Rows
from trainables.datasets.scenes.drawing import Shape
from trainables.datasets.scenes.falsehoods import false_caption
from trainables.datasets.scenes.integers import IntegerStream
from trainables.datasets.scenes.language import relation_question
from trainables.preprocess import PreprocessConfig
from trainables.signals import CAPTION, FALSEHOOD, PICTURE, QUESTION, Batch
from trainables.teachers.blip.scene_places import PATCHES, Mentions, mentions, patches
from trainables.tokenizer import Tokenizer
from trainables.transfer import to_device

NUMBERS_PER_SHAPE = 5
TRIES = 20  # of scenes some allow no question of a kind
QUESTIONS, FALSE = 6, 7  # of which draw


def shapes_of(numbers: Sequence[int]) -> list[Shape]:
    """Return the shapes of a scene from its integers, five each."""
    return [Shape(*numbers[i : i + NUMBERS_PER_SHAPE]) for i in range(0, len(numbers), NUMBERS_PER_SHAPE)]


def with_questions(
    split: Split, scenes: Sequence[Sequence[int]], kinds: Sequence[str], *, seed: int
) -> Split:
    """Return the split with one more question of each of `kinds` about every scene that allows it.

    Args:
        split: the clean scenes.
        scenes: integers of each.
        kinds: `relation` or `where`, once for each question.
        seed: of the draw.
    """
    questions, answers, pictures = list(split.questions), list(split.answers), split.question_images.tolist()
    for picture, numbers in enumerate(scenes):
        scene, stream = shapes_of(numbers), IntegerStream(QUESTIONS, seed, picture)
        for kind in kinds if len(scene) > 1 else ():
            drawn = (relation_question(stream, scene, stream.choose(scene), kind) for _ in range(TRIES))
            if found := next((one for one in drawn if one is not None), None):
                questions.append(found[0])
                answers.append(found[1])
                pictures.append(picture)
    return replace(split, questions=questions, answers=answers, question_images=np.array(pictures))


class SceneLessons(EncodedSplit):
    """A split whose batches bring more than others.

    - each caption made false of its picture: `falsehood.ids` and `.mask`, as wide as the captions. How it is made false hangs on
      the rows of caption and question alone: neither workers nor a resume change it.
    - where things are: the fields of `scene_places`.
    """

    def __init__(
        self,
        split: Split,
        tokenizer: Tokenizer,
        preprocess: PreprocessConfig,
        *,
        scenes: Sequence[Sequence[int]],
        grid: int,
    ) -> None:
        """Take the clean scenes.

        Args:
            split: of them.
            tokenizer, preprocess: of the teacher.
            scenes: integers of each.
            grid: patches of a picture along a side.
        """
        super().__init__(split, tokenizer, preprocess)
        self._scenes, self._reader, self._grid = scenes, tokenizer, grid
        self._mentions = Mentions(tokenizer)

    def batch(self, rows: Rows, device: torch.device, *, pixels: bool = True) -> Batch:
        """Return one batch with its false captions, and the places of its things."""
        batch = super().batch(rows, device, pixels=pixels)
        brought = self._places(rows, batch) if PICTURE in rows else {}
        if CAPTION in rows:
            brought[f"{FALSEHOOD}.ids"], brought[f"{FALSEHOOD}.mask"] = self._made_false(rows)
        batch.fields |= {name: to_device(torch.from_numpy(one), device) for name, one in brought.items()}
        return batch

    def _places(self, rows: Rows, batch: Batch) -> dict[str, np.ndarray]:
        """Return what each patch shows, and where the things are that texts mention."""
        seen = [shapes_of(self._scenes[picture]) for picture in rows[PICTURE].tolist()]
        found = {PATCHES: patches(seen, self._grid)}
        for kind in (CAPTION, QUESTION):
            if kind in rows:
                ids_BT = batch.hosted[f"{kind}.ids"]
                found[mentions(kind)] = self._mentions.places(ids_BT, seen, self._grid)
        return found

    def _made_false(self, rows: Rows) -> tuple[np.ndarray, np.ndarray]:
        """Return (B, T) ids and mask."""
        captions, others = rows[CAPTION].tolist(), rows.get(QUESTION, rows[CAPTION]).tolist()
        texts = [
            false_caption(
                IntegerStream(FALSE, caption, other),
                shapes_of(self._scenes[picture]),
                self.texts[CAPTION][caption],
            )
            for picture, caption, other in zip(rows[PICTURE].tolist(), captions, others, strict=True)
        ]
        made = self._reader.captions(texts)
        ids = np.full((len(made), max(map(len, made))), self.vocabulary.pad, dtype=np.int64)
        for place, one in enumerate(made):
            ids[place, : len(one)] = one
        return ids, np.arange(ids.shape[1])[None] < np.array([len(one) for one in made])[:, None]
