"""The embedded data set: scenes drawn from (seed, index), kept in Arrow files of the cache folder."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa

from spaces.errors import DatasetError
from spaces.rules import Number
from trainables.datasets.base import Progress, Split, Statements
from trainables.datasets.scenes import drawing, language
from trainables.datasets.scenes.drawn import Drawn, Row, drawn_table, hash_of, passed_on, pixels_of
from trainables.datasets.scenes.integers import IntegerStream
from trainables.datasets.scenes.statements import SCHEMA as STATED
from trainables.datasets.scenes.statements import scene_of, stated
from trainables.preprocess import Framing
from trainables.signals import CAPTION, PICTURE, QUESTION, STATEMENT

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
SENTENCES = {"rule": Number(whole=True, low=0, high=8, why="each is said of two pairs of pictures")}
VARIANTS: dict[str, drawing.Manner | None] = {"plain": None, "harder": drawing.HARDER}
STATEMENTS_VERSION = 1  # raise it whenever a change in `statements.py` changes one
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
    later: ClassVar[Mapping[str, Any]] = {"variant": "plain", "statements": 0}

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Config:
        """Amounts, and how noisy the pairs are from which students learn.

        Attributes:
            train_images: pictures for training.
            mismatched: share of pictures whose texts belong to another picture, as on the web.
            val_images, test_images: pictures of the two clean splits, whose captions are unique.
            seed: 0 for the published task; another one draws other scenes.
            variant: `harder` scatters, turns and sizes shapes more freely, so that they may overlap: another domain in the same
                words, to measure on what nobody was trained for.
            statements: sentences about each picture with another one, for the task `nlvr2`; each is true of one such pair and
                false of one. 0 for none.
        """

        train_images: int = field(default=4000, metadata=AMOUNT)
        mismatched: float = field(default=0.4, metadata=SHARE)
        val_images: int = field(default=1000, metadata=HELD_OUT)
        test_images: int = field(default=1000, metadata=HELD_OUT)
        seed: int = field(default=0, metadata=SEED)
        variant: Literal["plain", "harder"] = "plain"
        statements: int = field(default=0, metadata=SENTENCES)

    def __init__(self, config: Config) -> None:
        """Take the options.

        Raises:
            DatasetError: one of them is out of range.
        """
        super().__init__(config)
        if config.variant not in VARIANTS:
            allowed = ", ".join(VARIANTS)
            raise DatasetError(f"dataset.variant: got {config.variant!r}; allowed: {allowed}.")

    def draw(self, stream: IntegerStream, made: int) -> tuple[list[str], Callable[[], Row]]:
        """Return the captions of a scene, and what draws its picture and asks its questions."""
        scene = drawing.draw_scene(stream, VARIANTS[self.config.variant])
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

    @cached_property
    def manner(self) -> str:
        """Nothing for plain scenes; else the variant with a hash of what it is."""
        how = VARIANTS[self.config.variant]
        return "" if how is None else f"-{self.config.variant}-{hash_of(asdict(how))[:8]}"

    @property
    def kinds(self) -> frozenset[str]:
        """Pictures, captions and questions; statements where they are asked for."""
        return frozenset({PICTURE, CAPTION, QUESTION, *([STATEMENT] if self.config.statements else [])})

    def describe(self) -> str:
        """Return one line about sizes and noise."""
        c = self.config
        harder = "" if c.variant == "plain" else f"{c.variant} "
        said = f"; {c.statements:,} statements about each with another one" if c.statements else ""
        return (
            f"{harder}scenes: {c.train_images:,} images to train on, captions and questions of {c.mismatched:.0%} of "
            f"them mismatched; {c.val_images:,} to validate, {c.test_images:,} to test{said}"
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
            statements=self._statements(name, told, progress) if self.config.statements else Statements(),
        )

    def _statements(self, name: str, told: np.ndarray, progress: Progress) -> Statements:
        """Return the statements of a split: those about a picture as the left one, told of whom its texts belong to.

        Args:
            name: of the split.
            told: (N,) whose texts each picture has.
            progress: is told of long work.
        """
        scenes, each = self.scenes(name, progress), self.config.statements
        table = drawn_table(
            self.path(name, ending=f"-{each}-statements-{STATEMENTS_VERSION}"),
            lambda: stated([scene_of(numbers) for numbers in scenes], each=each, seed=self.seed_of(name)),
            schema=STATED,
            count=2 * each * len(scenes),
            noun="statements",
            progress=progress,
        )
        left, right, holds = (table.column(key).to_numpy() for key in ("left", "right", "holds"))
        order = np.argsort(left, kind="stable")
        first = np.searchsorted(left[order], np.arange(len(scenes) + 1))
        rows = np.concatenate([order[first[one] : first[one + 1]] for one in told])
        lefts = np.concatenate([np.full(first[one + 1] - first[one], at) for at, one in enumerate(told)])
        texts = table.column("text").to_pylist()
        return Statements(
            texts=[texts[row] for row in rows],
            images=np.stack([lefts, right[rows]], axis=1),
            holds=holds[rows],
        )

    def scenes(self, name: str, progress: Progress) -> list[list[int]]:
        """Return the integer description of every scene of a split: five numbers a shape."""
        rows: list[list[int]] = self.table(name, progress).column("scene").to_pylist()
        return rows
