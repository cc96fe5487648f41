"""The embedded data set: scenes drawn from (seed, index), kept in Arrow files of the cache folder."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

import numpy as np
import pyarrow as pa

from spaces.rules import Number
from trainables.datasets.base import Progress, Split
from trainables.datasets.scenes import drawing, language
from trainables.datasets.scenes.drawn import Drawn, Row, hash_of, passed_on, pixels_of
from trainables.datasets.scenes.integers import IntegerStream
from trainables.preprocess import Framing
from trainables.signals import CAPTION, PICTURE, QUESTION

TEXTS_PER_IMAGE = 4
SEEDS = {"train": 11, "val": 12, "test": 13}
MISMATCHED = 5  # of the draw which pictures are
MOST_TRAIN, MOST_HELD_OUT = 1_000_000, 20_000
AMOUNT = {"rule": Number(whole=True, low=8, high=MOST_TRAIN, why="a million pictures are 13 GB")}
HELD_OUT = {
    "rule": Number(
        whole=True, low=8, high=MOST_HELD_OUT, why="captions of held-out pictures are unique, and run out"
    )
}
SHARE = {"rule": Number(low=0, high=1)}
SEED = {"rule": Number(whole=True, low=0)}
TASK_VERSION = 1  # raise it whenever a change here changes a scene, a caption or a question


def _specification() -> str:
    """Hash of what scenes are: constants, vocabulary and the integers of a few of them."""
    probe = [
        [item.numbers() for item in drawing.draw_scene(IntegerStream(SEEDS["train"], index))]
        for index in range(64)
    ]
    parts = {
        "version": TASK_VERSION,
        "size": drawing.SIZE,
        "colors": drawing.COLORS,
        "radii": drawing.RADII,
        "jitter": drawing.JITTER,
        "vocabulary": language.VOCABULARY,
        "scenes": probe,
    }
    return hash_of(parts)


_SCHEMA = pa.schema(
    [
        ("image", pa.binary(drawing.SIZE * drawing.SIZE * 3)),
        ("scene", pa.list_(pa.int32())),
        ("captions", pa.list_(pa.string())),
        (
            "questions",
            pa.list_(pa.struct([("kind", pa.string()), ("question", pa.string()), ("answer", pa.string())])),
        ),
    ]
)


class ScenesDataset(Drawn):
    """Procedural pictures of shapes: colour, shape, size, count, place and relation, told in 55 words."""

    kind: ClassVar[str] = "scenes"
    side: ClassVar[int] = drawing.SIZE
    seeds: ClassVar[Mapping[str, int]] = SEEDS
    shares: ClassVar[tuple[str, ...]] = ("mismatched",)
    schema: ClassVar[pa.Schema] = _SCHEMA
    teachers: ClassVar[str] = "the embedded teacher"

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Config:
        """Amounts, and how noisy the pairs are from which students learn.

        Attributes:
            train_images: pictures for training.
            mismatched: share of pictures whose texts belong to another picture, as on the web.
            val_images, test_images: pictures of the two clean splits, whose captions are unique.
            seed: 0 for the published task; another one draws other scenes.
        """

        train_images: int = field(default=4000, metadata=AMOUNT)
        mismatched: float = field(default=0.4, metadata=SHARE)
        val_images: int = field(default=1000, metadata=HELD_OUT)
        test_images: int = field(default=1000, metadata=HELD_OUT)
        seed: int = field(default=0, metadata=SEED)

    @staticmethod
    def draw(stream: IntegerStream, made: int) -> tuple[list[str], Callable[[], Row]]:
        """Return the captions of a scene, and what draws its picture and asks its questions."""
        scene = drawing.draw_scene(stream)
        captions = [
            language.caption(stream, scene, (k + made) % TEXTS_PER_IMAGE) for k in range(TEXTS_PER_IMAGE)
        ]

        def rest() -> Row:
            return {
                "image": drawing.render(stream, scene).tobytes(),
                "scene": [number for item in scene for number in item.numbers()],
                "questions": [
                    dict(zip(("kind", "question", "answer"), language.question(stream, scene), strict=True))
                    for _ in range(TEXTS_PER_IMAGE)
                ],
            }

        return captions, rest

    @cached_property
    def specification(self) -> str:
        """Hash of the task itself, equal for every amount and noise."""
        return _specification()

    @property
    def kinds(self) -> frozenset[str]:
        """Pictures, captions and questions."""
        return frozenset({PICTURE, CAPTION, QUESTION})

    def describe(self) -> str:
        """Return one line about sizes and noise."""
        c = self.config
        return (
            f"scenes: {c.train_images:,} images to train on, captions and questions of {c.mismatched:.0%} of "
            f"them mismatched; {c.val_images:,} to validate, {c.test_images:,} to test"
        )

    def split(self, name: str, *, framing: Framing, progress: Progress) -> Split:
        """Return one split; the train split with its mismatched texts.

        Raises:
            DatasetError: an unknown split, another picture size than 64, or a damaged file.
        """
        self.check_asked(name, framing)
        table = self.table(name, progress)
        share = self.config.mismatched if name == "train" else 0
        told = passed_on(self.chosen(MISMATCHED, table.num_rows, share), table.num_rows)
        captions = table.column("captions").to_pylist()
        questions = table.column("questions").to_pylist()
        return Split(
            name=name,
            pixels=pixels_of(table, drawing.SIZE),
            captions=[text for row in told for text in captions[row]],
            caption_images=np.repeat(np.arange(table.num_rows), TEXTS_PER_IMAGE),
            questions=[item["question"] for row in told for item in questions[row]],
            answers=[item["answer"] for row in told for item in questions[row]],
            question_images=np.repeat(np.arange(table.num_rows), TEXTS_PER_IMAGE),
        )

    def scenes(self, name: str, progress: Progress) -> list[list[int]]:
        """Return the integer description of every scene of a split: five numbers a shape."""
        rows: list[list[int]] = self.table(name, progress).column("scene").to_pylist()
        return rows
