"""Data that is not here, as far as a plan needs it: how much there is of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn

from spaces.errors import DatasetError
from trainables.datasets.base import Dataset, Progress
from trainables.preprocess import Framing
from trainables.signals import CAPTION, PICTURE, QUESTION


@dataclass(frozen=True, kw_only=True)
class Amount:
    """How much a source has to train on."""

    images: int
    captions: int = 0
    questions: int = 0


class PlannedDataset(Dataset):
    """Sizes alone; whoever asks for a picture is refused. No row of the table: nobody can train on it."""

    def __init__(self, sources: Mapping[str, Amount], *, missing: str, varied: bool) -> None:
        """Take what is known.

        Args:
            sources: name -> how much it has.
            missing: the place that is not here.
            varied: whether pictures to train on will be shown another way at each visit.
        """
        self.sources, self.missing, self._varied = dict(sources), missing, varied

    @property
    def fingerprint(self) -> str:
        """Hash of nothing: there is nothing."""
        return "not here"

    @property
    def specification(self) -> str:
        """Empty: bound to no task."""
        return ""

    @property
    def kinds(self) -> frozenset[str]:
        """Pictures, and the texts that some source has."""
        captions, questions = (
            sum(getattr(one, name) for one in self.sources.values()) for name in ("captions", "questions")
        )
        return frozenset({PICTURE, *([CAPTION] if captions else []), *([QUESTION] if questions else [])})

    @property
    def varied(self) -> bool:
        """Whether pictures to train on will be shown another way at each visit."""
        return self._varied

    @property
    def num_images(self) -> int:
        """Number of pictures to train on."""
        return sum(one.images for one in self.sources.values())

    @property
    def num_captions(self) -> int:
        """Number of captions to train on."""
        return sum(one.captions for one in self.sources.values())

    def describe(self) -> str:
        """Return one line about the sizes."""
        parts = ", ".join(f"{name} {_told(one)}" for name, one in self.sources.items())
        return (
            f"data: {self.missing} is not here; planned with what plan.data says, {self.num_images:,} images with "
            f"{self.num_captions:,} captions to train on ({parts}). A search needs the data"
        )

    def split(self, name: str, *, framing: Framing, progress: Progress) -> NoReturn:
        """Refuse: there is nothing to read.

        Raises:
            DatasetError: always.
        """
        raise DatasetError(
            f"{self.missing}: is not here, and a plan reads nothing of it. Bring the data, then search."
        )


def _told(amount: Amount) -> str:
    counts = ((amount.images, "images"), (amount.captions, "captions"), (amount.questions, "questions"))
    return ", ".join(f"{count:,} {noun}" for count, noun in counts if count)
