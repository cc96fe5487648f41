"""What all kinds have in common while they list: options, texts that are none, splits, and pictures that are told twice."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from os.path import isfile  # False where a name is no name, at which `Path.is_file` raises
from pathlib import Path
from typing import Any

from spaces.errors import DatasetError
from trainables.datasets.base import SPLITS
from trainables.datasets.formats.entries import Problems, divide
from trainables.datasets.formats.walk import some
from trainables.datasets.jsonl_files import shown
from trainables.datasets.prepare.items import Item, LeftOut

LONGEST_CAPTION = 2000  # letters; longer ones are pages of text that landed in the wrong column
MOST_PROBED = 20  # pictures that are looked for before a folder is taken


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """What the command was asked for; None where a flag was not given.

    Attributes:
        root: folder or file of the data.
        image_root: folder that relative paths of pictures start from.
        annotations: the file of annotations, where it is not at its usual place.
        split: of COCO, `karpathy` or `official`.
        year: of COCO's official files.
        vg: the question_answers.json of Visual Genome, beside its pictures.
        image_column, caption_column, split_column: names of columns or fields.
        val_ratio, test_ratio: shares that are held out where the data names no split.
        seed: of that division.
        longest_caption: letters of a caption at most.
    """

    root: Path
    image_root: Path | None = None
    annotations: Path | None = None
    split: str | None = None
    year: int | None = None
    vg: Path | None = None
    image_column: str | None = None
    caption_column: str | None = None
    split_column: str | None = None
    val_ratio: float | None = None
    test_ratio: float | None = None
    seed: int | None = None
    longest_caption: int = LONGEST_CAPTION


@dataclass(kw_only=True)
class Listed:
    """All that a kind lists.

    Attributes:
        items: pictures in an order that does not hang on the machine.
        left_out: texts and pictures that cannot be used, as far as the annotations tell.
        divided: by what the splits are made, in words.
        notes: what the user should know though nothing is wrong.
        image_column: of Parquet files that hold pictures.
        files: annotation files that were read; another version of them is another preparation.
    """

    items: list[Item] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    divided: str = ""
    notes: list[str] = field(default_factory=list)
    image_column: str = ""
    files: list[Path] = field(default_factory=list)


class Lister:
    """Collects what a kind lists, and checks each text on its way."""

    def __init__(self, asked: Asked) -> None:
        """Take what was asked for."""
        self.asked = asked
        self.found = Listed()
        self.problems = Problems(asked.root)

    def leave_out(self, what: str, name: str, place: str, reason: str) -> None:
        """Note what is not used."""
        self.found.left_out.append(LeftOut(what=what, name=shown(name), place=shown(place), reason=reason))

    def text(self, what: str, value: Any, name: str, place: str) -> str | None:
        """Return a text without blanks around it; None where it is none, which is noted.

        Args:
            what: it is: `caption`, `question` or `statement`.
            value: as the data has it.
            name: of the picture.
            place: in the data.
        """
        why = text_problem(value, self.asked.longest_caption)
        if why:
            self.leave_out(what, name, place, why)
            return None
        return str(value).strip()

    def captions(self, values: Iterable[Any], name: str, place: str) -> list[str]:
        """Return the captions of a picture that can be used; the others are noted."""
        found = (self.text("caption", one, name, f"{place}[{n}]") for n, one in enumerate(values))
        return [one for one in found if one is not None]

    def take(self, item: Item, *, needs_text: bool = True) -> None:
        """Take a picture; one without any text is noted where its kind has texts."""
        if any("\ud800" <= letter <= "\udfff" for letter in item.name):
            self.leave_out("picture", item.name, item.place, "its name is no UTF-8; rename it")
        elif needs_text and not (item.captions or item.questions or item.statements):
            self.leave_out("picture", item.name, item.place, "it has no text that can be used")
        else:
            self.found.items.append(item)

    def split_of(self, value: Any, place: str, known: dict[str, str]) -> str:
        """Return the split that a word names, "" for a wrong one, which is a problem of the file.

        Args:
            value: the word.
            place: in the data.
            known: word -> split.
        """
        if isinstance(value, str) and value in known:
            return known[value]
        self.problems.add(
            f"{place}: split: got {shown(repr(value), 40)}; allowed: {', '.join(known)}. Mend it in the file."
        )
        return ""

    def once(self, names: Iterable[tuple[str, str]], what: str) -> None:
        """Refuse names that stand twice: whose texts are whose cannot be told.

        Args:
            names: each with the file that tells it.
            what: the name is, such as `file` or `id`.
        """
        counts = Counter(names)
        twice = [f"{name} ({file})" for (name, file), count in counts.items() if count > 1]
        if twice:
            self.problems.add(
                f"{len(twice):,} {what}s stand more than once: {some(twice)}. Remove all but one of each."
            )

    def done(self, *, divided: str = "") -> Listed:
        """Return all of it, divided by ratio where pictures have no split.

        Raises:
            DatasetError: all that is wrong with the annotations; nothing to train or validate on.
        """
        self.problems.raise_any()
        self.found.divided = divided or self._divide()
        counts = Counter(item.split for item in self.found.items)
        # without any to validate on it is what others are trained along with: only where that is asked for
        needed = (("train", "train"), *([] if self.asked.val_ratio == 0 else [("val", "validate")]))
        for name, verb in needed:
            if not counts[name]:
                said = ", ".join(f"{counts[one]:,} {one}" for one in SPLITS)
                gone = f"; {len(self.found.left_out):,} entries cannot be used" if self.found.left_out else ""
                first = f", such as {_told(self.found.left_out[0])}" if self.found.left_out else ""
                raise DatasetError(
                    f"{self.asked.root}: has no pictures to {verb} on: got {said} (divided by {self.found.divided}{gone}"
                    f"{first}). Add some, or change the division."
                )
        order = {name: place for place, name in enumerate(SPLITS)}
        self.found.items.sort(key=lambda item: order[item.split])  # stable: in a split as listed
        return self.found

    def hold_out(self) -> str:
        """Give the share of `--test-ratio` of the pictures to train on to the test split of official splits; return so in words.

        Raises:
            DatasetError: there is a seed, and nothing that it divides.
        """
        share, seed = self.asked.test_ratio or 0.0, self.asked.seed or 0
        if not share:
            self._unused(["seed"], "goes with --test-ratio, since official splits are not divided otherwise")
            return ", no test split"
        self._share_out([item for item in self.found.items if item.split == "train"], {"test": share}, seed)
        return f", test is {share:g} of train, seed {seed}"

    def _divide(self) -> str:
        """Give pictures without a split one by ratio; return by what all are divided."""
        a, items = self.asked, self.found.items
        shares = {"val": a.val_ratio if a.val_ratio is not None else 0.1}
        shares["test"] = a.test_ratio if a.test_ratio is not None else 0.1
        seed = a.seed or 0
        bare = [item for item in items if not item.split]
        there = {item.split for item in items}
        if bare and len(bare) < len(items):
            raise DatasetError(
                f"{a.root}: {len(bare):,} of {len(items):,} pictures name no split, such as {shown(bare[0].name)} "
                f"({shown(bare[0].place)}); allowed: {', '.join(SPLITS)} for all, or for none. Name them."
            )
        if bare:
            self._share_out(items, shares, seed)
            return f"ratio {shares['val']:g} val, {shares['test']:g} test, seed {seed}"
        if "val" not in there and "train" in there and shares["val"]:
            self._unused(["test_ratio"], "goes with data that names no splits, and this data names some")
            del shares["test"]
            self._share_out([item for item in items if item.split == "train"], shares, seed)
            return f"the data's splits, but val is {shares['val']:g} of train, seed {seed}"
        if items:
            self._unused(
                ["val_ratio", "test_ratio", "seed"],
                "goes with data that names no splits, and this data names some",
            )
        return "the data's splits"

    def _unused(self, names: Sequence[str], why: str) -> None:
        """Refuse flags that were given and would change nothing."""
        for name in names:
            if getattr(self.asked, name):
                raise DatasetError(f"--{name.replace('_', '-')}: {why}. Leave it out.")

    def _share_out(self, items: Sequence[Item], shares: dict[str, float], seed: int) -> None:
        splits = divide({0: [item.name for item in items]}, shares, seed) if items else {}
        for item in items:
            item.split = splits[item.name]


def text_problem(value: Any, longest: int) -> str:
    """Return why a value is no text to learn from, "" for nothing."""
    if not isinstance(value, str):
        return f"is no text but {type(value).__name__} {shown(repr(value), 40)}"
    if not any(letter.isprintable() and not letter.isspace() for letter in value):
        return "is empty"
    if any("\ud800" <= letter <= "\udfff" for letter in value):
        return f"holds half a character (a lone surrogate): {shown(value, 60)}"
    if len(value) > longest:
        return f"has {len(value):,} letters; allowed: {longest:,} (--longest-caption)"
    return ""


def first_folder(lister: Lister, folders: Sequence[str], names: Sequence[str], *, what: str) -> Path:
    """Return the folder below the root (or `--image-root`) in which the pictures lie.

    Args:
        lister: of the data.
        folders: where they usually are, relative to the root, the likeliest first; "" for itself.
        names: of pictures, some of which may be missing.
        what: they are, for the message.

    Raises:
        DatasetError: none of the first pictures is in any of them.
    """
    root = lister.asked.image_root or lister.asked.root
    probed = names[:MOST_PROBED]
    for folder in folders:
        if any(isfile(root / folder / one) for one in probed):
            return root / folder
    raise DatasetError(
        f"{root}: none of the first {len(probed)} pictures of {what} is there, such as {shown(names[0])}; "
        f"looked in {', '.join(one or 'the folder itself' for one in folders)}. Unpack them there, or say where they are: "
        "--image-root FOLDER."
    )


def _told(one: LeftOut) -> str:
    return f"{one.place}: {one.what} {one.reason}"
