"""Prepared data, as `python -m trainables.datasets.prepare` leaves it, read by every command: `--dataset prepared:DIR`."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from io import BytesIO
from typing import Any, Literal

import numpy as np

from spaces.errors import DatasetError, PluginError
from spaces.rules import Beside, Number, show
from trainables.datasets.base import SPLITS, Dataset, Progress, Split, Statements
from trainables.datasets.formats.collected import WORDS
from trainables.datasets.formats.walk import some
from trainables.datasets.jsonl_files import shown
from trainables.datasets.live import Decoder, LivePixels, Variation
from trainables.datasets.pictures import VERSION as PIXELS
from trainables.datasets.pictures import read_square
from trainables.datasets.prepare.answering import Answered, commonest, differ, drawn
from trainables.datasets.prepare.folder import PreparedFolder
from trainables.datasets.prepare.items import VG
from trainables.datasets.prepare.reading import Place, Rows, joined
from trainables.datasets.prepared import Prepared, broken, mapped, owners
from trainables.datasets.texts import AS_IS, TextForm
from trainables.datasets.twins import Twin, told_twins, twins
from trainables.preprocess import Framing
from trainables.signals import CAPTION, PICTURE, QUESTION, STATEMENT

WHOLE = {"rule": Number(whole=True, low=0)}
PLAIN_FORM = {"plain": "plain 2"}  # raise it whenever a text gets another plain form
VQAV2 = "vqav2"  # the kind that has questions of Visual Genome
VARIED = "operations 3"  # raise it whenever a picture is varied another way
LIVE, VARIES = {"beside": Beside("pixels", "live")}, {"beside": Beside("vary", True)}
LEAST = {"rule": Number(low=0, high=1, open_low=True), **VARIES}
STRENGTH = {"rule": Number(low=0, high=10, whole=True), **VARIES}


class PreparedDataset(Dataset):
    """Pictures and texts in shards."""

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Config:
        """Where it is, and how its texts are read.

        Attributes:
            root: the folder that was prepared; or several, as [A, B]: all are trained on, and the first is validated and tested
                on alone.
            text: `as_is`; or `plain`: lower case and without the signs . ! " ( ) * # : ; ~ (Li et al. 2022; questions, too). What
                models read; a caption that one says is compared with those of the data as they are.
            max_words: of a caption or statement, cut behind; 0 for all; in Li et al. 2022 30, 40 of a statement.
            answers: of several people to a question to train on: `drawn`: at each visit the answer of one of them, so that each
                counts by its share, as in Li et al. 2022; `commonest`: the one that most gave, which held-out questions have.
            vg_weight: how much a question of Visual Genome counts in training, where one of VQA counts 1; in Li et al. 2022 0.2.
            pixels: `mapped`: pictures are decoded once, into one array of the cache folder; `live`: at each look, for data of
                which that array would be too large.
            workers: of `live`: processes beside each worker of a training that decode ahead of it; 0: it decodes itself.
            vary: of `live`: pictures to train on are shown another way at each visit: a part, mirrored, changed a little.
            least_part, changes, magnitude: of that: the share of its area that a part has at least; changes of colour and shape
                in a row (RandAugment), and how strong they are, of 10. Li et al. 2022 show 0.2 in pre-training, 0.5 after it.
            flip: of that: every second one is mirrored; false where texts tell left from right.
        """

        root: str | tuple[str, ...]
        text: Literal["as_is", "plain"] = "as_is"
        max_words: int = field(default=0, metadata=WHOLE)
        answers: Literal["drawn", "commonest"] = "drawn"
        vg_weight: float = field(default=0.2, metadata={"rule": Number(low=0, high=1, open_low=True)})
        pixels: Literal["mapped", "live"] = "mapped"
        workers: int = field(default=2, metadata={**WHOLE, **LIVE})
        vary: bool = field(default=False, metadata=LIVE)
        least_part: float = field(default=0.5, metadata=LEAST)
        changes: int = field(default=2, metadata={**WHOLE, **VARIES})
        magnitude: int = field(default=5, metadata=STRENGTH)
        flip: bool = field(default=True, metadata=VARIES)

        def __post_init__(self) -> None:
            several = self.root if isinstance(self.root, tuple) else (self.root,)
            if not several or not all(isinstance(one, str) for one in several):
                got = show(list(several) if isinstance(self.root, tuple) else self.root)
                raise PluginError(f"root: got {got}; allowed: a folder, or a list of them. Name one.")

    def __init__(self, config: Config) -> None:
        self.config = config
        if config.vary and config.pixels != "live":
            raise DatasetError(
                "dataset.vary: needs pictures that are decoded at each look; set dataset.pixels: live."
            )
        named = (config.root,) if isinstance(config.root, str) else config.root
        self.folders = [PreparedFolder(one) for one in named]
        first: dict[str, PreparedFolder] = {}
        for one in self.folders:
            other = first.setdefault(one.fingerprint, one)
            if other is not one:
                raise DatasetError(
                    f"dataset.root: got {other.root} and {one.root}, which hold the same pictures and texts; allowed: each once. "
                    "Leave one out."
                )
        self.root = self.folders[0].root

    @classmethod
    def text_form(cls, options: Mapping[str, Any]) -> TextForm:
        """Return how its texts are read."""
        return TextForm(form=options.get("text", AS_IS), max_words=options.get("max_words", 0))

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
        rows = [one.fingerprint for one in self.folders]
        told = ["+".join(rows), PIXELS, PLAIN_FORM.get(c.text, c.text), c.max_words]
        told += ["vg", c.vg_weight] if self._weighs else []
        told += ["drawn"] if self._draws else []
        told += [VARIED, c.least_part, c.changes, c.magnitude, c.flip] if c.vary else []
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]

    def _verify(self, progress: Progress) -> None:
        for folder in self.folders:
            folder.verify(progress)

    @cached_property
    def _rows(self) -> dict[str, Rows]:
        """The rows of each split, without captions of which nothing is left."""
        self._verify(lambda line: None)
        form = TextForm(form=self.config.text, max_words=self.config.max_words)
        found = {}
        for name in SPLITS:
            read = [rows for one in self._read(name) if (rows := one.rows(name)) is not None]
            if read:
                found[name] = joined(read).with_texts(
                    form.caption,
                    form.question,
                    keep=name != "train",  # of millions to train on nobody reads them
                )
        for name in dict.fromkeys(("train", "val", *self.split_names)):
            if name not in found or not len(found[name].places):
                first = (
                    name != "train"
                    and "; or name another folder first, which has some: dataset.root=[OTHER, THIS]"
                )
                raise DatasetError(
                    f"{self.root}: has no pictures to {WORDS[name]}. Prepare it again with some{first or ''}."
                )
        return found

    @cached_property
    def _weighs(self) -> bool:
        """Whether some questions to train on count less than others."""
        if self.config.vg_weight == 1 or not any(one.kind == VQAV2 for one in self.folders):
            return False
        return any(one.source == VG for asked in self._rows["train"].questions for one in asked)

    @cached_property
    def _draws(self) -> bool:
        """Whether some question to train on is read with several answers."""
        if self.config.answers != "drawn" or not any(
            shard.questions for one in self.folders for shard in one.shards
        ):
            return False
        return any(differ(asked) for asked in self._rows["train"].questions)

    def _read(self, split: str) -> list[PreparedFolder]:
        """Return the folders that a split is read from: to hold out the first alone, so that figures have one meaning."""
        return self.folders if split == "train" else self.folders[:1]

    @property
    def split_names(self) -> tuple[str, ...]:
        """The splits that have pictures: train and val always."""
        return tuple(name for name in SPLITS if any(one.pictures(name) for one in self._read(name)))

    @property
    def num_images(self) -> int:
        """Number of pictures in all splits."""
        return sum(one.pictures(name) for name in SPLITS for one in self._read(name))

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
        words += f", questions of Visual Genome count {self.config.vg_weight:g}" if self._weighs else ""
        first = self.folders[0]
        source = f"{shown(first.root.name, 60)} ({first.kind})" if len(self.folders) == 1 else self._sources()
        return (
            f"prepared {source}: {len(train.places):,} images"
            f"{f' with {told}' if told else ''} to train on; {held} (divided by {first.manifest['divided']}; texts "
            f"{self.config.text}{words}; {self._told_pixels()})"
        )

    def _sources(self) -> str:
        """Return what each of several folders gives to train on, in words."""
        parts = []
        for folder in self.folders:
            shards = [one for one in folder.shards if one.split == "train"]
            counts = [
                (sum(one.pictures for one in shards), "images"),
                (sum(one.captions for one in shards), "captions"),
            ]
            counts.append((sum(one.questions for one in shards), "questions"))
            told = ", ".join(f"{count:,} {noun}" for count, noun in counts if count or noun == "images")
            parts.append(f"{shown(folder.root.name, 60)} ({folder.kind}; {told})")
        return " + ".join(parts)

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
        empty = [text for rows in self._rows.values() for text in rows.emptied]
        more = (
            [
                f"WARNING: {len(empty):,} captions are left out: `text: {self.config.text}` leaves nothing of {some(empty)}"
            ]
            if empty
            else []
        )
        return [
            *(line for one in self.folders for line in one.left_out()),
            *self._held_back(),
            *more,
            *self.unread(),
            *told_twins(self._twins(), captioned=CAPTION in self.kinds),
        ]

    def _held_back(self) -> list[str]:
        """Return which pictures of further folders nobody reads, since the first is validated and tested on alone."""
        told = []
        for folder in self.folders[1:]:
            counts = [(folder.pictures(name), WORDS[name]) for name in ("val", "test")]
            words = " and ".join(f"{count:,} to {word}" for count, word in counts if count)
            if words:
                told.append(
                    f"{shown(folder.root.name, 60)}: of its pictures {words} are not used: {self.root.name} alone is held out"
                )
        return told

    def unread(self) -> list[str]:
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
        captioned = CAPTION in self.kinds
        captions = rows.captions if captioned else [()] * len(rows.places)
        answer = drawn if name == "train" and self._draws else commonest
        answered = [answer(some_of) for some_of in rows.questions]
        asked = [one for some_of in answered for one in some_of]
        return Split(
            name=name,
            pixels=pixels,
            captions=[text for texts in captions for text in texts],
            caption_images=owners(len(texts) for texts in captions),
            references=[text for texts in rows.references for text in texts] if captioned else [],
            questions=[one.question.text for one in asked],
            answers=[one.answer for one in asked],
            question_images=owners(len(some_of) for some_of in answered),
            answer_sets=[one.question.answers for one in asked],
            question_weights=self._weights(asked) if name == "train" and self._weighs else None,
            question_times=np.array([one.times for one in asked], dtype=np.int64)
            if answer is drawn
            else None,
            statements=Statements(
                texts=[one.text for one in rows.statements],
                images=rows.pairs,
                holds=np.array([one.holds for one in rows.statements], dtype=bool),
            ),
        )

    def _weights(self, asked: Sequence[Answered]) -> np.ndarray:
        """Return how much each question counts in training."""
        less = self.config.vg_weight
        return np.array([less if one.question.source == VG else 1 for one in asked], dtype=np.float32)

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
