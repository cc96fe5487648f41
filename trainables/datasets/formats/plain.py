"""A folder of pictures without labels: all below it, divided by ratio, or by the folders train and val that it holds.

Distillation needs no labels; what needs some, or captions, cannot be measured on such data.
"""

from dataclasses import dataclass, field
from typing import Literal

from trainables.datasets.formats.collected import Collected
from trainables.datasets.formats.entries import SEED, SHARE, Listing, Problems, check_shares, redivided
from trainables.datasets.formats.imagefolder import split_places
from trainables.datasets.formats.stores import Entry, FileStore
from trainables.datasets.formats.walk import folder_of, pictures_below, told_others

UNLABELLED = "pictures have neither labels nor captions: what needs some (classification, retrieval) cannot be measured"


class PicturesDataset(Collected):
    """Unlabelled pictures."""

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Config:
        """Where the pictures are and how they are divided.

        Attributes:
            root: folder; pictures in folders below it are read, too.
            val_ratio, test_ratio: shares of the pictures; not used where root holds train and val folders.
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
        super().__init__("pictures", folder_of("pictures", config.root), broken=config.broken)

    def _list(self) -> Listing:
        problems, c = Problems(self.root), self.config
        places = split_places(self.root, problems)
        if not {"train", "val"} <= set(places):
            places = {}
        below = pictures_below(self.root, "", problems.add)
        of_place = {place: split for split, place in places.items()}
        entries = [
            Entry(name=name, split=of_place.get(name.partition("/")[0], "") if places else "train")
            for name in below.pictures
        ]
        beside = sum(not entry.split for entry in entries)
        if not entries:
            problems.add("holds no pictures. Give a folder that does: --dataset pictures:FOLDER.")
        problems.raise_any()
        notes = [UNLABELLED, *told_others(below.others)]
        if beside:
            notes.append(f"WARNING: {beside:,} pictures beside {', '.join(places.values())} are not read")
        shares = {} if places else {"val": c.val_ratio, "test": c.test_ratio}
        return Listing(
            entries=list(redivided([entry for entry in entries if entry.split], shares, c.seed)),
            classes=(),
            divided="the folders" if places else f"ratio, seed {c.seed}",
            store=FileStore(self.kind, self.root),
            notes=notes,
        )
