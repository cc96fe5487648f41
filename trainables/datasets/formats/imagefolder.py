"""Class folders: `root/train/CLASS/*.jpg` beside `root/val/CLASS/*.jpg`, or `root/CLASS/*.jpg` divided by ratio.

A picture may lie deeper inside of its class folder. The classes are those of train, in the order of their names; others'
folders are looked up by name, so that a split without a class does not shift the labels, as it does where each split is
numbered for itself.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from spaces.plugins import folded
from trainables.datasets.base import SPLITS
from trainables.datasets.formats.collected import Collected, class_notes
from trainables.datasets.formats.entries import SEED, SHARE, Listing, Problems, check_shares, redivided
from trainables.datasets.formats.stores import Entry, FileStore
from trainables.datasets.formats.walk import alike, folder_of, folders_in, pictures_below, some, told_others
from trainables.datasets.jsonl_files import shown

SPLIT_FOLDERS = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test", "testing": "test",
}  # fmt: skip


class ImageFolderDataset(Collected):
    """Pictures whose folder names their class."""

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Config:
        """Where the class folders are and how they are divided.

        Attributes:
            root: folder of `train`, `val` (or `validation`) and maybe `test`, or of the class folders themselves.
            val_ratio, test_ratio: shares of each class, used where the folders do not say; where there is train but no val, its
                share is taken from train.
            seed: of that division.
            broken: `refuse` tells all pictures that cannot be read, and ends; `quarantine` leaves them out, and lists them.
        """

        root: str
        val_ratio: float = field(default=0.1, metadata=SHARE)
        test_ratio: float = field(default=0.1, metadata=SHARE)
        seed: int = field(default=0, metadata=SEED)
        broken: Literal["refuse", "quarantine"] = "refuse"

    def __init__(self, config: Config) -> None:
        self.config = config
        check_shares(val_ratio=config.val_ratio, test_ratio=config.test_ratio)
        super().__init__("imagefolder", folder_of("imagefolder", config.root), broken=config.broken)

    def _list(self) -> Listing:
        problems, others, notes = Problems(self.root), Counter[str](), list[str]()
        places = split_places(self.root, problems)
        notes += self._unread(places)
        places = {name: place for name, place in places.items() if self._holds_classes(name, place, notes)}
        named = {name: folders_in(self.root / place) for name, place in (places or {"train": ""}).items()}
        classes = tuple(named.get("train", ()))
        self._check_folders(named, places, problems)
        entries = []
        for name, folders in named.items():
            for folder in folders:
                below = pictures_below(self.root, str(Path(places.get(name, "")) / folder), problems.add)
                others += below.others
                label = classes.index(folder) if folder in classes else -1
                entries += [Entry(name=one, split=name, label=label) for one in below.pictures]
                if not below.pictures and name == "train":
                    place = shown(str(Path(places.get(name, "")) / folder))
                    problems.add(f"{place} is a class folder without pictures. Fill or remove it.")
        problems.raise_any()
        entries, divided = self._divided(entries, places)
        return Listing(
            entries=entries,
            classes=classes,
            divided=divided,
            store=FileStore(self.kind, self.root),
            notes=[*notes, *class_notes(entries, classes), *told_others(others)],
        )

    def _divided(self, entries: list[Entry], places: dict[str, str]) -> tuple[list[Entry], str]:
        """Return the pictures in their splits, and by what they are divided."""
        c = self.config
        if not places:
            shares = {"val": c.val_ratio, "test": c.test_ratio}
            return list(redivided(entries, shares, c.seed)), f"ratio, class by class, seed {c.seed}"
        if "val" not in places:
            by = f"the folders, but val is {c.val_ratio:g} of train, seed {c.seed}"
            return list(redivided(entries, {"val": c.val_ratio}, c.seed)), by
        return entries, "the folders"

    def _holds_classes(self, name: str, place: str, notes: list[str]) -> bool:
        """Return whether a split has class folders; a test split without any has no labels, and is not used."""
        if name == "test" and not folders_in(self.root / place):
            notes.append(
                f"WARNING: {place} is not used: its pictures lie in no class folders, so that they have no labels"
            )
            return False
        return True

    def _unread(self, places: dict[str, str]) -> Iterator[str]:
        """Yield what is said of what lies beside the folders that are read."""
        beside = [name for name in folders_in(self.root) if places and name not in places.values()]
        if beside:
            yield f"folders beside {', '.join(places.values())} that are not read: {some(beside)}"
        loose = [
            name
            for place in (places.values() or [""])
            for name in pictures_below(self.root, place, lambda text: None, deep=False).pictures
        ]
        if loose:
            yield f"WARNING: {len(loose):,} pictures lie outside of class folders and are not read: {some(loose)}"

    def _check_folders(self, named: dict[str, list[str]], places: dict[str, str], problems: Problems) -> None:
        """Note class folders that are missing, too many, or that another machine would take for one."""
        if (self.root / "wnids.txt").is_file():
            problems.add(
                f"this is Tiny ImageNet in its own format. Take --dataset tiny_imagenet:{shown(str(self.root))}."
            )
            return
        classes = named.get("train", [])
        if not classes:
            problems.add(self._no_classes(places))
            return
        for name, folders in named.items():
            for one, other in alike(folders):
                problems.add(
                    f"the class folders {one!a} and {other!a} of {name} differ in case or Unicode form only, and are one on "
                    "other machines. Join or rename them."
                )
            for folder in folders:
                if shown(folder) != folder:
                    problems.add(
                        f"the class folder {shown(folder)} has a name that cannot be printed. Rename it."
                    )
            strange = [folder for folder in folders if folder not in classes]
            if strange:
                problems.add(
                    f"{_strange(places[name], strange, classes)} Add it to {places['train']}, rename or remove it."
                )

    def _no_classes(self, places: dict[str, str]) -> str:
        if places:
            lacks = (
                f"{places['train']} holds no class folders" if "train" in places else "has no folder `train`"
            )
            return f"{lacks} (there is {', '.join(places.values())}); allowed: train/CLASS/*.jpg beside val/CLASS/*.jpg. Add it."
        has = pictures_below(self.root, "", lambda text: None, deep=False).pictures
        hint = f" Pictures without classes are --dataset pictures:{shown(str(self.root))}." if has else ""
        return f"holds no class folders; allowed: a folder for each class, with pictures in it.{hint}"


def _strange(place: str, strange: Sequence[str], classes: Sequence[str]) -> str:
    """Return what is said of classes that train does not have."""
    alike_names = {folded(name): name for name in classes}
    guesses = [alike_names[folded(name)] for name in strange if folded(name) in alike_names]
    hint = f" (train has {shown(guesses[0], 60)})" if guesses else ""
    many = "classes" if len(strange) > 1 else "the class"
    return f"{place} has {many} {some(strange)}, which train has no folder of{hint}."


def split_places(root: Path, problems: Problems) -> dict[str, str]:
    """Return split -> its folder; {} where the folders of the root are classes.

    A folder that is called like a split is one if it holds folders, or if there are two of them: `train` may be a class beside
    `plane` and `car`.
    """
    found: dict[str, str] = {}
    for name in folders_in(root):
        split = SPLIT_FOLDERS.get(name.casefold())
        if split in found:
            problems.add(
                f"{name} and {found[split]} are both the {split} split; allowed: one folder. Join or remove one."
            )
        elif split:
            found[split] = name
    nested = any(folders_in(root / name) for name in found.values())
    together = len(found) > 1 and "train" in found
    return {name: found[name] for name in SPLITS if name in found} if nested or together else {}
