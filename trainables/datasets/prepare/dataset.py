"""Prepared data, as `python -m trainables.datasets.prepare` leaves it, read by every command: `--dataset prepared:DIR`."""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np

from spaces.errors import DatasetError
from spaces.rules import Number
from trainables.datasets.base import SPLITS, Dataset, Progress, Split, Statements
from trainables.datasets.contents import Contents
from trainables.datasets.formats.collected import WORDS
from trainables.datasets.formats.walk import folder_of, some
from trainables.datasets.jsonl_files import shown
from trainables.datasets.live import Decoder, LivePixels, Variation
from trainables.datasets.pictures import VERSION as PIXELS
from trainables.datasets.pictures import read_square
from trainables.datasets.prepare.form import AGAIN, MANIFEST, PROGRESS, SHARDS, VERSION, Shard
from trainables.datasets.prepare.reading import Place, Rows, read_rows
from trainables.datasets.prepared import Prepared, broken, mapped, owners
from trainables.datasets.texts import asked, normalised
from trainables.datasets.twins import Twin, told_twins, twins
from trainables.preprocess import Framing
from trainables.signals import CAPTION, PICTURE, QUESTION, STATEMENT

WHOLE = {"rule": Number(whole=True, low=0)}
PLAIN_FORM = {"plain": "plain 2"}  # raise it whenever a text gets another plain form
VARIED = "operations 2"  # raise it whenever a picture is varied another way
COMMAND = "python -m trainables.datasets.prepare --kind KIND --root DATA --out"


class PreparedDataset(Dataset):
    """Pictures and texts in shards."""

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Config:
        """Where it is, and how its texts are read.

        Attributes:
            root: the folder that was prepared.
            text: `as_is`; or `plain`: lower case and without the signs . ! " ( ) * # : ; ~ (Li et al. 2022; questions, too).
            max_words: of a caption or statement, cut behind; 0 for all; in Li et al. 2022 30, 40 of a statement.
            pixels: `mapped`: pictures are decoded once, into one array of the cache folder; `live`: at each look, for data of
                which that array would be too large.
            workers: of `live`: processes beside each worker of a training that decode ahead of it; 0: it decodes itself.
            vary: of `live`: pictures to train on are shown another way at each visit: a part, mirrored, changed a little.
            least_part, changes, magnitude: of that: the share of its area that a part has at least; changes of colour and shape
                in a row (RandAugment), and how strong they are, of 10. Li et al. 2022 show 0.2 in pre-training, 0.5 after it.
            flip: of that: every second one is mirrored; false where texts tell left from right.
        """

        root: str
        text: Literal["as_is", "plain"] = "as_is"
        max_words: int = field(default=0, metadata=WHOLE)
        pixels: Literal["mapped", "live"] = "mapped"
        workers: int = field(default=2, metadata=WHOLE)
        vary: bool = False
        least_part: float = field(default=0.5, metadata={"rule": Number(low=0, high=1, open_low=True)})
        changes: int = field(default=2, metadata=WHOLE)
        magnitude: int = field(default=5, metadata={"rule": Number(low=0, high=10, whole=True)})
        flip: bool = True

    def __init__(self, config: Config) -> None:
        self.config = config
        if config.vary and config.pixels != "live":
            raise DatasetError(
                "dataset.vary: needs pictures that are decoded at each look; set dataset.pixels: live."
            )
        self.root = folder_of("prepared", config.root)
        self._manifest = _manifest(self.root)
        self._shards = _shards(self._manifest, self.root)
        self._verified = False

    @property
    def specification(self) -> str:
        """Empty: such data is bound to no task."""
        return ""

    @property
    def fingerprint(self) -> str:
        """Hash of all rows in their order, and of how texts are read; however they are spread over shards."""
        return self.fingerprinted(lambda line: None)

    def fingerprinted(self, progress: Progress) -> str:
        """Return `fingerprint`, telling the progress of reading shards for the first time.

        Raises:
            DatasetError: a shard is gone, or its bytes are others than when it was written.
        """
        self._verify(progress)
        c = self.config
        told = [str(self._manifest["fingerprint"]), PIXELS, PLAIN_FORM.get(c.text, c.text), c.max_words]
        told += [VARIED, c.least_part, c.changes, c.magnitude, c.flip] if c.vary else []
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]

    def _verify(self, progress: Progress) -> None:
        """Compare all shards with the manifest, once; `contents.py` says what keeps it cheap."""
        if self._verified:
            return
        paths = [self.root / SHARDS / shard.file for shard in self._shards]
        gone = [path.name for path in paths if not path.is_file()]
        if gone:
            raise DatasetError(f"{self.root}: {len(gone):,} shards are gone: {some(gone)}. {AGAIN}")
        found = Contents(f"prepared|{self.root}").hashes(paths, progress)
        wrong = [
            f"{path.name} ({digest})" if isinstance(digest, OSError) else path.name
            for path, shard, digest in zip(paths, self._shards, found, strict=True)
            if digest != shard.digest
        ]
        if wrong:
            raise DatasetError(
                f"{self.root}: {len(wrong):,} shards hold other bytes than were written: {some(wrong)}. {AGAIN}"
            )
        self._verified = True

    @cached_property
    def _rows(self) -> dict[str, Rows]:
        """The rows of each split, without captions of which nothing is left."""
        self._verify(lambda line: None)
        c = self.config
        found = {}
        for name in SPLITS:
            shards = [shard for shard in self._shards if shard.split == name]
            if shards:
                rows = read_rows(self.root, shards)
                found[name] = rows.with_texts(
                    lambda text: normalised(text, c.text, c.max_words), lambda text: asked(text, c.text)
                )
        for name in dict.fromkeys(("train", "val", *self.split_names)):
            if name not in found or not len(found[name].places):
                raise DatasetError(
                    f"{self.root}: has no pictures to {WORDS[name]}. Prepare it again with some."
                )
        return found

    @property
    def split_names(self) -> tuple[str, ...]:
        """The splits that have pictures: train and val always."""
        return tuple(
            name for name in SPLITS if any(one.split == name and one.pictures for one in self._shards)
        )

    @property
    def num_images(self) -> int:
        """Number of pictures in all splits."""
        return sum(shard.pictures for shard in self._shards)

    @property
    def varied(self) -> bool:
        """Whether pictures to train on are shown another way at each visit."""
        return self.config.vary

    @property
    def kinds(self) -> frozenset[str]:
        """Pictures; captions where every picture has some, questions and statements where every split has some."""
        rows = self._rows.values()
        captioned = all(all(one.captions) for one in rows)
        asked = all(any(one.questions) for one in rows)
        stated = all(one.statements for one in rows)
        has = {CAPTION: captioned, QUESTION: asked, STATEMENT: stated}
        return frozenset({PICTURE, *(kind for kind, there in has.items() if there)})

    def caption_counts(self, name: str, *, images: int, captions_per_image: int) -> tuple[int, int] | None:
        """Return how many pictures, and how many different captions, the first of a split have; None without captions."""
        if CAPTION not in self.kinds:
            return None
        chosen = self._rows[name].captions[:images]
        different = {
            " ".join(text.casefold().split()) for texts in chosen for text in texts[:captions_per_image]
        }
        return len(chosen), len(different)

    def describe(self) -> str:
        """Return one line about kind, sizes, division and texts."""
        rows = self._rows
        train = rows["train"]
        texts = [(sum(map(len, train.captions)), "captions"), (sum(map(len, train.questions)), "questions")]
        texts.append((len(train.statements), "statements"))
        told = " and ".join(f"{count:,} {noun}" for count, noun in texts if count)
        held = ", ".join(
            f"{len(rows[name].places):,} to {WORDS[name]}" for name in ("val", "test") if name in rows
        )
        words = f", {self.config.max_words} words at most" if self.config.max_words else ""
        return (
            f"prepared {shown(self.root.name, 60)} ({self._manifest['kind']}): {len(train.places):,} images"
            f"{f' with {told}' if told else ''} to train on; {held} (divided by {self._manifest['divided']}; texts "
            f"{self.config.text}{words}; {self._told_pixels()})"
        )

    def _told_pixels(self) -> str:
        """Return how pictures are decoded, in words."""
        c = self.config
        if c.pixels == "mapped":
            return "decoded once"
        mirrored = "not mirrored"
        if c.flip:
            mirrored = "every second one mirrored (dataset.flip: false where texts tell left from right)"
        how = (
            f"shown {c.least_part:g} to 1 of, {mirrored}, {c.changes} changes of strength {c.magnitude}"
            if c.vary
            else "as they are"
        )
        return f"decoded at each look by {c.workers} processes a worker, {how}"

    def remarks(self) -> list[str]:
        """Return what was left out while it was prepared, and pictures that are byte for byte in two splits."""
        left = self._manifest["left_out"]
        gone = ", ".join(f"{count:,} {what}{'s' if count != 1 else ''}" for what, count in left.items())
        told = [
            f"WARNING: left out while it was prepared: {gone}; each stands in {self.root / 'quarantine.jsonl'}"
        ]
        empty = [text for rows in self._rows.values() for text in rows.emptied]
        more = (
            [
                f"WARNING: {len(empty):,} captions are left out: `text: {self.config.text}` leaves nothing of {some(empty)}"
            ]
            if empty
            else []
        )
        return [
            *map(str, self._manifest["notes"]),
            *(told if gone else []),
            *more,
            *self._unused(),
            *told_twins(self._twins()),
        ]

    def _unused(self) -> list[str]:
        """Return which texts are read by nobody, since some pictures, or some split, have none."""
        told, rows = [], self._rows
        bare = [
            name
            for one in rows.values()
            for name, some in zip(one.names, one.captions, strict=True)
            if not some
        ]
        if bare and any(any(one.captions) for one in rows.values()):
            told.append(
                f"WARNING: captions are not used: {len(bare):,} pictures have none, such as {some(bare)}. Give each one, or "
                "prepare those without elsewhere"
            )
        mute = [name for name, one in rows.items() if not any(one.questions)]
        if mute and len(mute) < len(rows):
            told.append(f"WARNING: questions are not used: no picture of {', '.join(mute)} has one")
        return told

    def _twins(self) -> list[Twin]:
        return twins(
            (name, split, digest.hex())
            for split, rows in self._rows.items()
            for name, digest in zip(rows.names, rows.digests, strict=True)
        )

    def split(self, name: str, *, framing: Framing, progress: Progress) -> Split:
        """Return one split; the pictures of all splits are prepared at the first call.

        Raises:
            DatasetError: a damaged shard; an unknown split, or one that is not there.
        """
        if name not in SPLITS:
            raise DatasetError(f"prepared: no split is called {name!r}; allowed: {', '.join(SPLITS)}.")
        if name not in self.split_names:
            raise DatasetError(f"{self.root}: has no {name} pictures; it has {', '.join(self.split_names)}.")
        self._verify(progress)
        rows = self._rows[name]
        live = self.config.pixels == "live"
        pixels = self._live(name, framing) if live else self._decoded(name, framing, progress)
        captions = rows.captions if CAPTION in self.kinds else [()] * len(rows.places)
        asked = [one for some_of in rows.questions for one in some_of]
        return Split(
            name=name,
            pixels=pixels,
            captions=[text for texts in captions for text in texts],
            caption_images=owners(len(texts) for texts in captions),
            questions=[one.text for one in asked],
            answers=[_commonest(one.answers) for one in asked],
            question_images=owners(len(some_of) for some_of in rows.questions),
            answer_sets=[one.answers for one in asked],
            statements=Statements(
                texts=[one.text for one in rows.statements],
                images=rows.pairs,
                holds=np.array([one.holds for one in rows.statements], dtype=bool),
            ),
        )

    def _live(self, name: str, framing: Framing) -> LivePixels:
        """Return the pictures of a split as they are decoded at each look."""
        c = self.config
        varied = Variation(least=c.least_part, changes=c.changes, magnitude=c.magnitude, flip=c.flip)
        decoder = Decoder(
            places=self._rows[name].places,
            framing=framing,
            variation=varied if c.vary and name == "train" else None,
        )
        return LivePixels(decoder, workers=c.workers)

    def _decoded(self, name: str, framing: Framing, progress: Progress) -> np.ndarray:
        """Return (N, S, S, 3) uint8 of a split, decoded once together with all others, and mapped from disk."""
        places = [place for rows in self._rows.values() for place in rows.places]
        wanted = Prepared[Place](
            kind="prepared",
            fingerprint=self.fingerprinted(progress),
            count=len(places),
            items=lambda: places,
            decode=self._decode,
            refuse=self._refuse,
        )
        first = sum(len(self._rows[one].places) for one in SPLITS[: SPLITS.index(name)] if one in self._rows)
        return mapped(wanted, framing, progress)[first : first + len(self._rows[name].places)]

    def _decode(self, place: Place, framing: Framing) -> np.ndarray | str:
        """Return the pixels (S, S, 3) uint8 of a picture, or what is wrong with it."""
        try:
            return read_square(BytesIO(place.content()), framing)
        except Exception as error:  # Pillow's readers raise whatever their formats lead them to
            return broken(str(place), error, remedy="prepare the data again")

    def _refuse(self, found: Sequence[tuple[Place, str]]) -> None:
        raise DatasetError("\n".join(why for _, why in found[:10]))


def _commonest(answers: Sequence[str]) -> str:
    """Return the answer that most annotators gave; of several the first."""
    return Counter(answers).most_common(1)[0][0]


def _manifest(root: Path) -> dict[str, Any]:
    """Return what stands in the manifest.

    Raises:
        DatasetError: there is none, it is damaged, or another version wrote it.
    """
    path = root / MANIFEST
    if not path.is_file():
        begun = (root / PROGRESS).is_dir()
        why = (
            "its preparation is not finished"
            if begun
            else f"holds no {MANIFEST}, so that nothing was prepared there"
        )
        advice = (
            "Give the same command again: it goes on"
            if begun
            else f"Prepare the data first: {COMMAND} {root}"
        )
        raise DatasetError(f"dataset.root: {root}: {why}. {advice}.")
    try:
        told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        version = told["version"]
        for key in ("kind", "fingerprint", "divided", "counts", "left_out", "notes", "shards"):
            told[key]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(
            f"{path}: damaged ({type(error).__name__}: {shown(str(error), 80)}). {AGAIN}"
        ) from error
    if version != VERSION:
        raise DatasetError(f"{path}: is of version {version!r}; allowed: {VERSION}. Prepare the data again.")
    return told


def _shards(manifest: dict[str, Any], root: Path) -> list[Shard]:
    try:
        return [Shard(**one) for one in manifest["shards"]]
    except TypeError as error:
        raise DatasetError(f"{root / MANIFEST}: damaged ({shown(str(error), 80)}). {AGAIN}") from error
