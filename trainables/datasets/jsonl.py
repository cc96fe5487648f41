"""Own data: a JSONL file with one picture, its captions and perhaps questions per line.

    {"image": "dogs/1.jpg", "caption": "a dog on a sofa", "split": "train"}
    {"image": "dogs/2.jpg", "captions": ["two dogs", "dogs at play"], "split": "val"}
    {"image": "dogs/3.jpg", "caption": "a dog", "question": "how many dogs?", "answer": "1", "split": "val"}

Rows of one image are joined. Pictures are decoded and resized once, into one array in the cache folder.
"""

import hashlib
import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from spaces.errors import DatasetError
from trainables.datasets.base import SPLITS, Dataset, Progress, Split
from trainables.datasets.cache_folder import atomic_file, cache_folder
from trainables.datasets.jsonl_rows import Fields, Picture, Problems, read_pictures
from trainables.datasets.pictures import BROKEN, check_header, read_square
from trainables.share import usable_cores
from trainables.signals import CAPTION, PICTURE, QUESTION

VERSION = 1  # raise it whenever a change here changes a pixel, a text or a split
CHUNK = 250  # pictures in memory at a time


class JsonlDataset(Dataset):
    """Pictures and texts of a user."""

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Config:
        """Where the data is and how it is divided.

        Attributes:
            file: the JSONL file.
            image_root: folder that relative image paths start from; by default the folder of the file.
            image_field, caption_field, split_field: names of the fields. `<caption_field>s` is read too.
            val_ratio, test_ratio: shares of the pictures, used only when no row names a split.
            seed: of that division.
        """

        file: str
        image_root: str | None = None
        image_field: str = "image"
        caption_field: str = "caption"
        split_field: str = "split"
        val_ratio: float = 0.1
        test_ratio: float = 0.1
        seed: int = 0

    def __init__(self, config: Config) -> None:
        self.config = config
        self.file = Path(config.file).expanduser().absolute()
        if not self.file.is_file():
            raise DatasetError(
                f"dataset.file: {self.file} does not exist. Give a JSONL file: --dataset jsonl:FILE."
            )
        self.root = Path(config.image_root).expanduser().absolute() if config.image_root else self.file.parent
        if not self.root.is_dir():
            raise DatasetError(
                f"dataset.image_root: {self.root} is no folder. Give the folder of the pictures."
            )
        for name, value in (("val_ratio", config.val_ratio), ("test_ratio", config.test_ratio)):
            if not 0 <= value < 1:
                raise DatasetError(f"dataset.{name}: got {value}; allowed: 0 or more, below 1.")
        if config.val_ratio + config.test_ratio >= 1:
            raise DatasetError(
                f"dataset.val_ratio + dataset.test_ratio: got {config.val_ratio + config.test_ratio:g}; "
                "allowed: below 1."
            )

    @property
    def specification(self) -> str:
        """Empty: own data is bound to no task. Whether a teacher can read it is a matter of unknown words."""
        return ""

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the file, the options, and size and time of every picture file."""
        digest = hashlib.sha256(self.file.read_bytes())
        options = {
            key: value for key, value in asdict(self.config).items() if key not in ("file", "image_root")
        }
        digest.update(json.dumps({"version": VERSION, **options}, sort_keys=True).encode())
        for picture in self._pictures:
            status = picture.path.stat()
            digest.update(f"{picture.name}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
        return digest.hexdigest()[:16]

    @property
    def split_names(self) -> tuple[str, ...]:
        """The splits that have pictures: train and val always, test where the file has one."""
        return tuple(name for name in SPLITS if self._splits[name])

    @property
    def kinds(self) -> frozenset[str]:
        """Pictures, captions, and questions where every held-out split and the training split ask some."""
        asked = all(any(one.questions for one in chosen) for chosen in self._splits.values() if chosen)
        return frozenset({PICTURE, CAPTION, *([QUESTION] if asked else [])})

    def describe(self) -> str:
        """Return one line about file, sizes and division."""
        counts = {name: len(pictures) for name, pictures in self._splits.items()}
        train = self._splits["train"]
        by = "the split field" if any(p.split for p in train) else f"ratio, seed {self.config.seed}"
        return (
            f"jsonl {self.file.name}: {counts['train']:,} images to train on with "
            f"{sum(len(p.captions) for p in train):,} captions and "
            f"{sum(len(p.questions) for p in train):,} questions; "
            f"{counts['val']:,} to validate, {counts['test']:,} to test (divided by {by})"
        )

    def split(self, name: str, *, image_size: int, progress: Progress) -> Split:
        """Return one split; the pictures of all splits are prepared at the first call.

        Raises:
            DatasetError: what is wrong with the file, line by line; an unknown split, or an empty one.
        """
        if name not in SPLITS:
            raise DatasetError(f"jsonl: no split is called {name!r}; allowed: {', '.join(SPLITS)}.")
        chosen = self._splits[name]
        if not chosen:
            raise DatasetError(
                f"{self.file}: has no {name} rows. Mark some with {self.config.split_field!r}: {name!r}."
            )
        pixels = self._pixels(image_size, progress)
        first = sum(len(self._splits[earlier]) for earlier in SPLITS[: SPLITS.index(name)])
        return Split(
            name=name,
            pixels=pixels[first : first + len(chosen)],
            captions=[text for picture in chosen for text in picture.captions],
            caption_images=_owners(len(picture.captions) for picture in chosen),
            questions=[text for picture in chosen for text in picture.questions],
            answers=[text for picture in chosen for text in picture.answers],
            question_images=_owners(len(picture.questions) for picture in chosen),
        )

    @cached_property
    def _pictures(self) -> list[Picture]:
        """All pictures in the order of the file.

        Raises:
            DatasetError: all that is wrong with the file's text, and pictures that are missing.
        """
        c, problems = self.config, Problems(self.file)
        fields = Fields(image=c.image_field, caption=c.caption_field, split=c.split_field)
        pictures = read_pictures(self.file, self.root, fields, problems)
        if problems.lines:  # then tell of broken pictures too; a sound file is not slowed down
            _check_headers(pictures, problems)
        problems.raise_any()
        if not pictures:
            raise DatasetError(f"{self.file}: holds no rows. Give one JSON object per line.")
        return pictures

    @cached_property
    def _splits(self) -> dict[str, list[Picture]]:
        """Pictures by split, in the order of the file.

        Raises:
            DatasetError: only some rows name a split, or nothing is left to train or validate on.
        """
        pictures, field = self._pictures, self.config.split_field
        bare = [picture for picture in pictures if not picture.split]
        if bare and len(bare) < len(pictures):
            raise DatasetError(
                f"{self.file}:{bare[0].line}: no field {field!r}, which other rows have ({len(bare)} of "
                f"{len(pictures)} pictures lack it); allowed: {', '.join(SPLITS)} in every row, or in none."
            )
        names = self._divide([p.name for p in bare]) if bare else {p.name: p.split for p in pictures}
        splits = {name: [p for p in pictures if names[p.name] == name] for name in SPLITS}
        for name in ("train", "val"):
            if not splits[name]:
                c, word = self.config, "validation" if name == "val" else "training"
                got = f"val_ratio {c.val_ratio:g}, test_ratio {c.test_ratio:g} of {len(bare)} pictures"
                if not bare:
                    got = f"{len(pictures)} pictures in {' and '.join(sorted(set(names.values())))}"
                raise DatasetError(
                    f"{self.file}: no {word} rows: got {got}. Mark some rows with {field!r}: {name!r}, "
                    "or change the ratios."
                )
        return splits

    def _divide(self, names: list[str]) -> dict[str, str]:
        """Return the split of each picture, the same in whatever order the file lists them."""
        order = sorted(
            names, key=lambda name: hashlib.sha256(f"{self.config.seed}\0{name}".encode()).digest()
        )
        num_val, num_test = (
            round(len(names) * ratio) for ratio in (self.config.val_ratio, self.config.test_ratio)
        )
        return {
            name: "val" if place < num_val else "test" if place < num_val + num_test else "train"
            for place, name in enumerate(order)
        }

    def _pixels(self, side: int, progress: Progress) -> np.ndarray:
        """Return (N, S, S, 3) uint8 of all splits one after the other, mapped from disk."""
        path = cache_folder("jsonl") / f"{self.fingerprint}-{side}.npy"
        pictures = [picture for name in SPLITS for picture in self._splits[name]]
        if not path.exists():
            self._write_pixels(path, pictures, side, progress)
        try:
            pixels: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise DatasetError(f"{path}: damaged ({error}). Delete it; it is made again.") from error
        if pixels.shape != (len(pictures), side, side, 3) or pixels.dtype != np.uint8:
            raise DatasetError(f"{path}: damaged (shape {pixels.shape}). Delete it; it is made again.")
        return pixels

    def _write_pixels(self, path: Path, pictures: list[Picture], side: int, progress: Progress) -> None:
        """Decode all pictures; all broken ones are told in one error, and nothing is kept then."""
        problems = Problems(self.file)
        header = {"descr": "|u1", "fortran_order": False, "shape": (len(pictures), side, side, 3)}
        # written in order, not through a map: a full disk is then an error and not a bus error
        with (
            atomic_file(path) as temporary,
            temporary.open("wb") as sink,
            ThreadPoolExecutor(usable_cores()) as pool,
        ):
            np.lib.format.write_array_header_1_0(sink, header)
            for first in range(0, len(pictures), CHUNK):
                chunk = pictures[first : first + CHUNK]
                for picture, pixels in zip(chunk, pool.map(lambda p: _decode(p, side), chunk), strict=True):
                    if isinstance(pixels, np.ndarray):
                        sink.write(pixels.tobytes())
                    else:
                        problems.add(picture.line, pixels)
                done = first + len(chunk)
                if done == len(pictures) or done % (4 * CHUNK) == 0:
                    progress(f"jsonl: {done:,} of {len(pictures):,} pictures prepared")
            problems.raise_any()


def _owners(counts: Iterable[int]) -> np.ndarray:
    """Return for every text the row of its picture, from the number of texts of each picture."""
    numbers = np.fromiter(counts, dtype=np.int64)
    return np.repeat(np.arange(len(numbers)), numbers)


def _broken(picture: Picture, error: BaseException) -> str:
    reason = str(error) or type(error).__name__
    return f"{picture.path} cannot be read as a picture ({reason}); replace it or remove its rows."


def _decode(picture: Picture, side: int) -> np.ndarray | str:
    """Return the pixels (side, side, 3), or what is wrong with the file."""
    try:
        return read_square(picture.path, side)
    except BROKEN as error:
        return _broken(picture, error)


def _check_headers(pictures: list[Picture], problems: Problems) -> None:
    """Note the files that are no pictures; missing ones are noted already."""
    for picture in pictures:
        if not picture.path.is_file():
            continue
        try:
            check_header(picture.path)
        except BROKEN as error:
            problems.add(picture.line, _broken(picture, error))
