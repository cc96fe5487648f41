"""Pictures decoded at each look, ahead of the training and in processes of their own, for data too large to be kept as pixels.

A hundred thousand pictures of 384 x 384 pixels are 50 GB, fourteen million are 6 TB; encoded they take a tenth. What is decoded
is what `mapped` would keep, to the bit. Pictures to train on can be varied (`Variation`), each visit another way; which way hangs
on seed, visit and row alone, so that neither workers nor a resume change it.
"""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np
from PIL import Image

from spaces.errors import DatasetError, ResourceError
from trainables.datasets.decoders import Decoders, ProcessLost
from trainables.datasets.pictures import read_square, seen
from trainables.preprocess import Framing
from trainables.share import usable_cores

RESTARTS = 3  # of processes that were lost, in an epoch
LEVELS = 11  # a magnitude of 5 is half of what each operation can do
ROTATED, SHEARED, MOVED, ENHANCED = 30.0, 0.3, 10.0, 0.9
"""At the highest level: degrees, share of the side, pixels, and by how much a factor differs from 1, which it is half way up."""
APPLIED = 0.5  # of the operations that are drawn
GREY = 128  # of what comes into the picture from outside

Orders = list[tuple[int, int | None]]
"""Rows of pictures, each with the seed of its variation; None for the picture as it is."""

Rows = TypeVar("Rows", bound=Mapping[str, np.ndarray])
Shown = tuple[np.ndarray, np.ndarray]
"""Rows of pictures (B,), and numbers (B, K) that no other visit of a training has."""


class Encoded(Protocol):
    """Where the bytes of a picture are; it travels to other processes."""

    def content(self) -> bytes:
        """Return the bytes.

        Raises:
            DatasetError, OSError: they are not there any more.
        """


@dataclass(frozen=True, kw_only=True)
class Variation:
    """How pictures to train on are varied (Li et al. 2022): a part of it, mirrored or not, and a few changes of colour and shape.

    Attributes:
        least: share of its area that the part has at least.
        changes: of `operations`, how many are drawn in a row (RandAugment, Cubuk et al. 2020); 0 for none.
        magnitude: of them, of 10.
        flip: whether every second one is mirrored: not where texts tell left from right.
    """

    least: float = 0.5
    changes: int = 2
    magnitude: int = 5
    flip: bool = True

    def varied(self, picture: Image.Image, framing: Framing, seed: int) -> np.ndarray:
        """Return (S, S, 3) uint8 of a picture in one of its ways."""
        import torch
        from torchvision.transforms import v2

        side = [framing.side, framing.side]
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(
                seed
            )  # `torch.manual_seed` would begin those of GPUs anew, too
            crop = v2.RandomResizedCrop(
                side, scale=(self.least, 1.0), interpolation=v2.InterpolationMode.BICUBIC
            )
            found = crop(picture)
            if self.flip:
                found = v2.RandomHorizontalFlip()(found)
            if self.changes:
                found = _changes(self.changes, self.magnitude)(found)
        return np.asarray(found, dtype=np.uint8)


def operations() -> dict[str, tuple[Callable[[int, int, int], Any], bool]]:
    """Return the operations of Li et al. 2022 as torchvision takes them: their levels, and whether the sign is drawn, too.

    Two differ from torchvision's own: pictures move by pixels and not by a share of their width, and brightness and sharpness go
    from 0.1 to 1.9, so that they do nothing at half of the levels.
    """
    import torch

    def up_to(most: float) -> Callable[[int, int, int], Any]:
        return lambda levels, height, width: torch.linspace(0.0, most, levels)

    def around(most: float) -> Callable[[int, int, int], Any]:
        return lambda levels, height, width: torch.linspace(-most, most, levels)

    def nothing(levels: int, height: int, width: int) -> None:
        return None

    return {
        **dict.fromkeys(("Identity", "AutoContrast", "Equalize"), (nothing, False)),
        **dict.fromkeys(("Brightness", "Sharpness"), (around(ENHANCED), False)),
        **dict.fromkeys(("ShearX", "ShearY"), (up_to(SHEARED), True)),
        **dict.fromkeys(("TranslateX", "TranslateY"), (up_to(MOVED), True)),
        "Rotate": (up_to(ROTATED), True),
    }


def _changes(count: int, magnitude: int) -> Callable[[Image.Image], Image.Image]:
    import torch
    from torchvision.transforms import v2

    class Some(v2.RandAugment):
        _AUGMENTATION_SPACE: ClassVar = operations()

        def _apply_image_or_video_transform(self, image: Any, *args: Any, **options: Any) -> Any:
            if torch.rand(()) > APPLIED:
                return image
            return super()._apply_image_or_video_transform(image, *args, **options)

    return Some(
        num_ops=count,
        magnitude=magnitude,
        num_magnitude_bins=LEVELS,
        interpolation=v2.InterpolationMode.BILINEAR,
        fill=GREY,
    )


@dataclass(frozen=True, kw_only=True)
class Decoder:
    """Makes pixels of rows; a copy of it lives in every process that decodes.

    Attributes:
        places: of all pictures of the split.
        framing: how they become squares.
        variation: of pictures that are asked for with a seed; None for none.
    """

    places: Sequence[Encoded]
    framing: Framing
    variation: Variation | None = None

    def __len__(self) -> int:
        """Return how many pictures there are."""
        return len(self.places)

    def one(self, row: int, seed: int | None = None) -> np.ndarray:
        """Return (S, S, 3) uint8 of a row.

        Args:
            row: of the split.
            seed: of its variation; None for the picture as it is.

        Raises:
            DatasetError: it cannot be decoded, although it could when the data was prepared.
        """
        try:
            content = BytesIO(self.places[row].content())
            if seed is None or self.variation is None:
                return read_square(content, self.framing)
            with Image.open(content) as picture:
                return self.variation.varied(seen(picture), self.framing, seed)
        except DatasetError:
            raise
        except Exception as error:  # Pillow's readers raise whatever their formats lead them to
            raise DatasetError(
                f"{self.places[row]}: cannot be decoded any more ({error}). Look at the disk, and prepare the data again."
            ) from error

    def batch(self, asked: Orders) -> np.ndarray | DatasetError:
        """Return (B, S, S, 3) uint8 of rows with their seeds, or what is wrong with one of them."""
        try:
            return np.stack([self.one(row, seed) for row, seed in asked])
        except DatasetError as error:
            return error


class LivePixels:
    """(N, S, S, 3) uint8 like an array, of which only what is asked for is ever in memory."""

    dtype = np.dtype(np.uint8)

    def __init__(self, decoder: Decoder, *, workers: int) -> None:
        """Take what decodes.

        Args:
            decoder: of the split.
            workers: processes that decode ahead of a training; 0 decodes in this one, as it is asked.
        """
        self._decoder, self.workers = decoder, workers
        self._next: list[tuple[np.ndarray, np.ndarray]] = []
        self._decoders: tuple[int, Decoders[Orders, np.ndarray | DatasetError]] | None = None

    @property
    def varied(self) -> bool:
        """Whether pictures are shown another way at each visit of a training."""
        return self._decoder.variation is not None

    @property
    def shape(self) -> tuple[int, ...]:
        """That of the array."""
        side = self._decoder.framing.side
        return len(self._decoder), side, side, 3

    def __len__(self) -> int:
        return len(self._decoder)

    def __getitem__(self, rows: Any) -> np.ndarray:
        """Return pixels of a row, of a slice, or of an array of rows."""
        if isinstance(rows, int | np.integer):
            return self._decoder.one(range(len(self))[int(rows)])
        numbers = np.arange(len(self))[rows]
        for known, pixels in self._next:
            if np.array_equal(known, numbers):
                return pixels
        with ThreadPoolExecutor(usable_cores()) as pool:  # Pillow decodes outside of Python's lock
            found = list(pool.map(self._decoder.one, numbers.tolist()))
        return np.stack(found) if found else np.zeros((0, *self.shape[1:]), dtype=np.uint8)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:]

    def ahead(
        self, batches: Iterable[Rows], shown: Callable[[Rows], Sequence[Shown]], *, seed: int
    ) -> Iterator[Rows]:
        """Yield batches as they are, each when its pictures are decoded; the same rows are then asked for at once.

        Args:
            batches: of one epoch; kind of row -> numbers.
            shown: gives the pictures of a batch, array by array, each of which is then asked for as a whole.
            seed: of the training.

        Raises:
            DatasetError: a picture cannot be decoded any more.
            ResourceError: processes that decode are lost again and again.
        """
        known = list(batches)
        rows = [shown(batch) for batch in known]
        asked = [[order for one in some for order in self._orders(*one, seed)] for some in rows]
        decoded = self._processed(asked) if self.workers else map(self._decoder.batch, asked)
        try:
            for batch, some, pixels in zip(known, rows, decoded, strict=True):
                if isinstance(pixels, DatasetError):
                    raise pixels
                ends = np.cumsum([len(one) for one, _ in some])[:-1]
                self._next = list(zip([one for one, _ in some], np.split(pixels, ends), strict=True))
                yield batch
        finally:
            self._next = []

    def _orders(self, rows: np.ndarray, visits: np.ndarray, seed: int) -> Orders:
        if self._decoder.variation is None:
            return [(row, None) for row in rows.tolist()]
        told = zip(rows.tolist(), visits.tolist(), strict=True)
        return [
            (row, int(np.random.SeedSequence([seed, *visit, row]).generate_state(1)[0]))
            for row, visit in told
        ]

    def _processed(self, asked: Sequence[Orders]) -> Iterator[np.ndarray | DatasetError]:
        """Yield what the processes make of batches; where one is lost, new ones go on behind what was yielded.

        A system that is short of memory kills some process. None of these holds anything that is not made again.

        Raises:
            ResourceError: they are lost again and again.
        """
        done = lost = 0
        while done < len(asked):
            try:
                for pixels in self._processes().all(asked[done:]):
                    done += 1
                    yield pixels
            except ProcessLost as error:
                told = f"a process that decodes pictures was lost ({error})"
                lost += 1
                self._end()
            else:
                return
            if lost > RESTARTS:
                raise ResourceError(
                    f"dataset.workers: {told}, as {RESTARTS} before it in this epoch; perhaps memory ran out. Lower it from "
                    f"{self.workers} (with 0 the training decodes itself), or give the node more memory."
                )
            print(f"{told}; new ones are started ({lost} of {RESTARTS})", file=sys.stderr, flush=True)

    def _processes(self) -> Decoders[Orders, np.ndarray | DatasetError]:
        """Return the processes that decode, which live as long as this one does."""
        if self._decoders is None or self._decoders[0] != os.getpid():
            self._decoders = (os.getpid(), Decoders(self._decoder.batch, self.workers))
        return self._decoders[1]

    def _end(self) -> None:
        """End the processes; the next epoch, perhaps of another training, has new ones."""
        if self._decoders is not None and self._decoders[0] == os.getpid():
            self._decoders[1].end()
        self._decoders = None
