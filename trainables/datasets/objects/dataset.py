"""The embedded labelled data set: objects drawn from (seed, index), kept in Arrow files of the cache folder."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

import numpy as np
import pyarrow as pa

from spaces.rules import Number
from trainables.datasets.base import Progress, Split
from trainables.datasets.objects import drawing
from trainables.datasets.scenes import language
from trainables.datasets.scenes.drawing import COLORS
from trainables.datasets.scenes.drawn import Drawn, Row, hash_of, passed_on, pixels_of
from trainables.datasets.scenes.integers import IntegerStream
from trainables.preprocess import Framing
from trainables.signals import CAPTION, LABEL, PICTURE

CAPTIONS_PER_IMAGE = 4
SEEDS = {"train": 21, "val": 22, "test": 23}
MISMATCHED, MISLABELLED = 25, 26  # of the draws which pictures are
MOST_TRAIN, MOST_HELD_OUT = 1_000_000, 10_000
AMOUNT = {"rule": Number(whole=True, low=8, high=MOST_TRAIN, why="a million pictures are 7 GB")}
HELD_OUT = {
    "rule": Number(
        whole=True, low=8, high=MOST_HELD_OUT, why="captions of held-out pictures are unique, and run out"
    )
}
SHARE = {"rule": Number(low=0, high=1)}
SEED = {"rule": Number(whole=True, low=0)}
TASK_VERSION = 1  # raise it whenever a change here changes a picture, a caption or a class
_SCHEMA = pa.schema(
    [
        ("image", pa.binary(drawing.SIZE * drawing.SIZE * 3)),
        ("objects", pa.list_(pa.int32())),
        ("captions", pa.list_(pa.string())),
    ]
)


def _specification() -> str:
    """Hash of what objects are: constants, classes, vocabulary and the integers of a few pictures."""
    probe = [
        [thing.numbers() for thing in drawing.draw_objects(IntegerStream(SEEDS["train"], index))]
        for index in range(64)
    ]
    parts = {
        "version": TASK_VERSION,
        "size": drawing.SIZE,
        "classes": drawing.CLASSES,
        "colors": [COLORS[color] for color in drawing.CLASS_COLORS],
        "ground": [drawing.GROUND, drawing.TINT, drawing.SHADE, drawing.NOISE],
        "vocabulary": language.VOCABULARY,
        "objects": probe,
    }
    return hash_of(parts)


class ObjectsDataset(Drawn):
    """Pictures of one large shape among small ones: 24 classes of colour and outline, and captions of all that is there."""

    kind: ClassVar[str] = "objects"
    side: ClassVar[int] = drawing.SIZE
    seeds: ClassVar[Mapping[str, int]] = SEEDS
    shares: ClassVar[tuple[str, ...]] = ("mismatched", "mislabelled")
    schema: ClassVar[pa.Schema] = _SCHEMA
    teachers: ClassVar[str] = "one of the embedded teachers of objects"

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Config:
        """Amounts, and how noisy the texts and labels are from which students learn.

        Attributes:
            train_images: pictures for training.
            mismatched: share of training pictures whose captions belong to another picture, as on the web.
            mislabelled: share of training pictures that have the label of another class.
            val_images, test_images: pictures of the two clean splits, whose captions are unique.
            seed: 0 for the published task; another one draws other pictures.
        """

        train_images: int = field(default=4000, metadata=AMOUNT)
        mismatched: float = field(default=0.0, metadata=SHARE)
        mislabelled: float = field(default=0.0, metadata=SHARE)
        val_images: int = field(default=1000, metadata=HELD_OUT)
        test_images: int = field(default=1000, metadata=HELD_OUT)
        seed: int = field(default=0, metadata=SEED)

    def draw(self, stream: IntegerStream, made: int) -> tuple[list[str], Callable[[], Row]]:
        """Return the captions of objects, and what draws their picture."""
        things = drawing.draw_objects(stream)
        shapes = [thing.shape for thing in things]
        captions = [
            language.caption(stream, shapes, (k + made) % CAPTIONS_PER_IMAGE, side=drawing.SIZE)
            for k in range(CAPTIONS_PER_IMAGE)
        ]
        numbers = [number for thing in things for number in thing.numbers()]
        return captions, lambda: {"image": drawing.render(stream, things).tobytes(), "objects": numbers}

    @cached_property
    def specification(self) -> str:
        """Hash of the task itself, equal for every amount and noise."""
        return _specification()

    @property
    def kinds(self) -> frozenset[str]:
        """Pictures, captions and labels."""
        return frozenset({PICTURE, CAPTION, LABEL})

    @property
    def classes(self) -> tuple[str, ...]:
        """The 24 classes, colour by colour: `red circle`, `red square`, ..."""
        return drawing.CLASSES

    def describe(self) -> str:
        """Return one line about sizes and noise."""
        c = self.config
        return (
            f"objects: {len(self.classes)} classes; {c.train_images:,} images to train on, captions of "
            f"{c.mismatched:.0%} of them mismatched, labels of {c.mislabelled:.0%} wrong; {c.val_images:,} to validate, "
            f"{c.test_images:,} to test"
        )

    def split(self, name: str, *, framing: Framing, progress: Progress) -> Split:
        """Return one split; the train split with its mismatched captions and wrong labels.

        Raises:
            DatasetError: an unknown split, another picture size than 48, or a damaged file.
        """
        self.check_asked(name, framing)
        table = self.table(name, progress)
        count, train = table.num_rows, name == "train"
        told = passed_on(self.chosen(MISMATCHED, count, self.config.mismatched if train else 0), count)
        captions = table.column("captions").to_pylist()
        labels = np.array(
            [drawing.label_of(row) for row in table.column("objects").to_pylist()], dtype=np.int64
        )
        if train:
            labels = self._mislabelled(labels)
        return Split(
            name=name,
            pixels=pixels_of(table, self.side),
            captions=[text for row in told for text in captions[row]],
            caption_images=np.repeat(np.arange(count), CAPTIONS_PER_IMAGE),
            questions=[],
            answers=[],
            question_images=np.zeros(0, dtype=np.int64),
            labels=labels,
        )

    def _mislabelled(self, labels: np.ndarray) -> np.ndarray:
        """Return the labels, a share of them moved to another class."""
        chosen = self.chosen(MISLABELLED, len(labels), self.config.mislabelled)
        others = len(self.classes) - 1
        moves = IntegerStream(MISLABELLED, self.config.seed).grid(len(chosen), 1, others)
        labels[chosen] = (labels[chosen] + moves) % len(self.classes)
        return labels

    def objects(self, name: str, progress: Progress) -> list[list[int]]:
        """Return the integer description of every picture of a split: six numbers a shape, the large one first."""
        rows: list[list[int]] = self.table(name, progress).column("objects").to_pylist()
        return rows
