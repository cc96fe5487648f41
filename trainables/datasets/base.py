"""What every data set gives: splits of pictures with, maybe, captions, questions and answers."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import numpy as np

from trainables.datasets.texts import AS_THEY_ARE, TextForm
from trainables.preprocess import Framing

SPLITS = ("train", "val", "test")
Progress = Callable[[str], None]
"""Takes one line about long work, such as `scenes: 1,000 of 4,000 drawn`."""


class Pixels(Protocol):
    """(N, S, S, 3) uint8: an array, mapped from disk where it is large, or what decodes each time it is asked."""

    @property
    def shape(self) -> tuple[int, ...]:
        """N, S, S, 3."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Any) -> np.ndarray: ...


@dataclass(frozen=True, kw_only=True)
class Statements:
    """M sentences that are true or false of two pictures each, as in NLVR2.

    Attributes:
        texts: the sentences.
        images: (M, 2) int64, the left and the right picture of each.
        holds: (M,) bool, whether it is true of them.
    """

    texts: list[str] = field(default_factory=list)
    images: np.ndarray = field(default_factory=lambda: np.zeros((0, 2), dtype=np.int64))
    holds: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=bool))


@dataclass(frozen=True, kw_only=True)
class Split:
    """N pictures with their texts, as read from disk.

    Attributes:
        name: train, val or test.
        pixels: (N, S, S, 3) uint8, memory-mapped where it is large, or decoded as it is asked for.
        captions: all captions of the split, empty where the data set has none.
        caption_images: (len(captions),) int64, the picture of each caption.
        references: parallel to captions, as the data has them, whole: what a caption that a model says is compared with. Empty
            where captions are read as they are.
        questions, answers: parallel lists, empty where the data set asks nothing.
        question_images: (len(questions),) int64.
        labels: (N,) int64, the class of each picture among `Dataset.classes`; None where the data set has no classes.
        answer_sets: parallel to questions, the answers of all annotators, where the data has several; else empty.
        question_weights: (len(questions),) float32, how much each counts in training; None where all count 1.
        question_times: (len(questions),) int64, how often each is drawn beside others of its picture; None where all are alike. A
            question with several answers is several, each drawn as often as people gave its answer.
        statements: sentences on pairs of pictures.
    """

    name: str
    pixels: Pixels
    captions: list[str]
    caption_images: np.ndarray
    questions: list[str]
    answers: list[str]
    question_images: np.ndarray
    labels: np.ndarray | None = None
    answer_sets: list[tuple[str, ...]] = field(default_factory=list)
    question_weights: np.ndarray | None = None
    question_times: np.ndarray | None = None
    references: list[str] = field(default_factory=list)
    statements: Statements = field(default_factory=Statements)

    @property
    def num_images(self) -> int:
        """Number N of pictures."""
        return len(self.pixels)


class Dataset(ABC):
    """A source of splits. Subclasses nest a `Config` and take it whole.

    Attributes:
        smoke: options that make it small, for `--smoke`; {} where there are none.
    """

    smoke: ClassVar[Mapping[str, Any]] = {}

    @classmethod
    def text_form(cls, options: Mapping[str, Any]) -> TextForm:
        """Return how its texts are read with these options, which students of it are exported with."""
        return AS_THEY_ARE

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Hash of everything that decides what the splits hold: contents, not places and times."""

    def fingerprinted(self, progress: Progress) -> str:
        """Return `fingerprint`, telling the progress where that is long work."""
        return self.fingerprint

    @property
    @abstractmethod
    def specification(self) -> str:
        """Hash of what the data is about, without amount and noise; teachers of another are refused."""

    @property
    @abstractmethod
    def kinds(self) -> frozenset[str]:
        """Kinds of rows that its splits have: `picture`, and those of `caption`, `question` and `label` that there are."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes in the order of their labels; () where pictures have none."""
        return ()

    @property
    def split_names(self) -> tuple[str, ...]:
        """The splits that this data has; all have train and val."""
        return SPLITS

    @property
    def varied(self) -> bool:
        """Whether pictures to train on are shown another way at each visit, of which no cache of a teacher can tell."""
        return False

    @property
    def num_images(self) -> int:
        """Number of pictures in all splits, known before any is prepared; 0 where a data set does not say."""
        return 0

    def caption_counts(self, name: str, *, images: int, captions_per_image: int) -> tuple[int, int] | None:
        """Return how many pictures, and how many different captions, the first of a split have.

        None where every caption is about one picture by construction, which is what a data set says that does not count.

        Args:
            name: of the split.
            images: pictures at most.
            captions_per_image: captions of each at most.
        """
        return None

    @abstractmethod
    def describe(self) -> str:
        """Return one line for the log and the report: sizes, noise, source."""

    def remarks(self) -> list[str]:
        """Return what the user should know of this data though nothing is wrong with it, a line each."""
        return []

    def unread(self) -> list[str]:
        """Return which texts of it are read by nobody, and why, a line each."""
        return []

    @abstractmethod
    def split(self, name: str, *, framing: Framing, progress: Progress) -> Split:
        """Return a split with its pictures framed so, prepared on disk at the first call.

        Raises:
            DatasetError: a file, picture or text that cannot be used; an unknown split name.
        """
