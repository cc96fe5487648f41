"""The embedded data set: scenes drawn from (seed, index), kept in Arrow files of the cache folder."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from spaces.errors import DatasetError
from spaces.rules import Number
from trainables.datasets.base import SPLITS, Dataset, Progress, Split
from trainables.datasets.cache_folder import cache_folder
from trainables.datasets.scenes import drawing, language
from trainables.datasets.scenes.drawn import drawn_table, passed_on, pixels_of
from trainables.datasets.scenes.integers import IntegerStream
from trainables.preprocess import Framing
from trainables.signals import CAPTION, PICTURE, QUESTION

TEXTS_PER_IMAGE = 4
SEEDS = {"train": 11, "val": 12, "test": 13}
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
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def make_scenes(seed: int, count: int, *, unique: bool) -> Iterator[dict[str, Any]]:
    """Yield scenes with picture, captions and questions.

    Args:
        seed: with the index it fixes a scene.
        count: how many.
        unique: leave out scenes of which a caption was already said, so that a gallery has one right answer.
    """
    said: set[str] = set()
    index = made = 0
    while made < count:
        stream = IntegerStream(seed, index)
        index += 1
        scene = drawing.draw_scene(stream)
        captions = [
            language.caption(stream, scene, (k + made) % TEXTS_PER_IMAGE) for k in range(TEXTS_PER_IMAGE)
        ]
        if unique and not said.isdisjoint(captions):
            continue
        said.update(captions)
        yield {
            "image": drawing.render(stream, scene).tobytes(),
            "scene": [number for item in scene for number in item.numbers()],
            "captions": captions,
            "questions": [
                dict(zip(("kind", "question", "answer"), language.question(stream, scene), strict=True))
                for _ in range(TEXTS_PER_IMAGE)
            ],
        }
        made += 1


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


class ScenesDataset(Dataset):
    """Procedural pictures of shapes: colour, shape, size, count, place and relation, told in 55 words."""

    smoke: ClassVar[Mapping[str, Any]] = {"train_images": 256, "val_images": 200, "test_images": 200}

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

    def __init__(self, config: Config) -> None:
        self.config = config
        for name in ("train_images", "val_images", "test_images"):
            if getattr(config, name) < 8:
                raise DatasetError(f"dataset.{name}: got {getattr(config, name)}; allowed: 8 or more.")
        if not 0 <= config.mismatched <= 1:
            raise DatasetError(f"dataset.mismatched: got {config.mismatched}; allowed: 0 to 1 (a share).")

    @cached_property
    def specification(self) -> str:
        """Hash of the task itself, equal for every amount and noise."""
        return _specification()

    @property
    def fingerprint(self) -> str:
        """Hash of task and options."""
        text = json.dumps({"specification": self.specification, **asdict(self.config)}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def kinds(self) -> frozenset[str]:
        """Pictures, captions and questions."""
        return frozenset({PICTURE, CAPTION, QUESTION})

    @property
    def num_images(self) -> int:
        """Number of pictures in all splits."""
        return self.config.train_images + self.config.val_images + self.config.test_images

    def describe(self) -> str:
        """Return one line about sizes and noise."""
        c = self.config
        return (
            f"scenes: {c.train_images:,} images to train on, captions and questions of {c.mismatched:.0%} of "
            f"them mismatched; {c.val_images:,} to validate, {c.test_images:,} to test"
        )

    def _table(self, name: str, progress: Progress) -> pa.Table:
        count = getattr(self.config, f"{name}_images")
        path = cache_folder("scenes") / f"{self.specification}-{name}-{count}-{self.config.seed}.arrow"
        seed = SEEDS[name] + 100 * self.config.seed
        return drawn_table(
            path,
            lambda: make_scenes(seed, count, unique=name != "train"),
            schema=_SCHEMA,
            count=count,
            noun="scenes",
            progress=progress,
        )

    def split(self, name: str, *, framing: Framing, progress: Progress) -> Split:
        """Return one split; the train split with its mismatched texts.

        Raises:
            DatasetError: an unknown split, another picture size than 64, or a damaged file.
        """
        if name not in SPLITS:
            raise DatasetError(f"scenes: no split is called {name!r}; allowed: {', '.join(SPLITS)}.")
        if framing.side != drawing.SIZE or framing.resize not in (None, drawing.SIZE):
            seen = framing.resize or framing.side
            raise DatasetError(
                f"scenes: pictures are {drawing.SIZE} x {drawing.SIZE}, "
                f"the teacher sees {framing.side} x {framing.side}{f' of {seen} x {seen}' if seen != framing.side else ''}. "
                "Use the embedded teacher, or data of your own: --dataset jsonl:FILE."
            )
        table = self._table(name, progress)
        told = self._told(table.num_rows) if name == "train" else np.arange(table.num_rows)
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

    def _told(self, count: int) -> np.ndarray:
        """Return the scene that each picture's texts are about: another one for the mismatched share."""
        order = IntegerStream(5, self.config.seed, count).shuffled(count)
        return passed_on(np.array(order[: round(count * self.config.mismatched)], dtype=np.int64), count)

    def scenes(self, name: str, progress: Progress) -> list[list[int]]:
        """Return the integer description of every scene of a split: five numbers a shape."""
        rows: list[list[int]] = self._table(name, progress).column("scene").to_pylist()
        return rows
