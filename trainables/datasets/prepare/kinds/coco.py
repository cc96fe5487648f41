"""COCO captions and Flickr30k: Karpathy's splits, or the official captions of COCO.

    root/dataset_coco.json        {"images": [{"filepath", "filename", "split", "cocoid", "sentences": [{"raw"}, ...]}, ...]}
    root/train2014/*.jpg root/val2014/*.jpg              or those of 2017, which hold the same pictures under their ids
    root/annotations/captions_{train,val}2017.json
                                  {"images": [{"id", "file_name"}], "annotations": [{"image_id", "caption"}]}
    root/dataset_flickr30k.json  root/flickr30k-images/*.jpg

Karpathy's `restval` are pictures of the official validation split that he trains on: 113,287 to train on, 5,000 to validate,
5,000 to test (Karpathy and Fei-Fei 2015; Li et al. 2022 use the same for retrieval and captioning). All captions of a picture are
kept: in retrieval each of them is a match of it.
"""

from collections.abc import Callable, Mapping, Sequence
from os.path import isfile
from pathlib import Path
from typing import Any

from spaces.errors import DatasetError
from spaces.plugins import meant
from trainables.datasets.formats.coco import is_id, pictures_of, rows_of
from trainables.datasets.formats.tables import read_json
from trainables.datasets.jsonl_files import shown
from trainables.datasets.prepare.items import Item
from trainables.datasets.prepare.listing import MOST_PROBED, Asked, Listed, Lister, first_folder

KARPATHY, OFFICIAL = "karpathy", "official"
SPLITS_OF_KARPATHY = {"train": "train", "restval": "train", "val": "val", "test": "test"}
FLICKR_FOLDERS = ("flickr30k-images", "flickr30k_images", "images", "")

Finder = Callable[[Mapping[str, Any]], str]
"""Gives the file of a picture, relative to the root, from what the annotations say of it."""


def coco(asked: Asked) -> Listed:
    """List COCO: by Karpathy's splits where their file is there, unless the official ones are asked for.

    Raises:
        DatasetError: the annotations cannot be used, or the pictures are nowhere.
    """
    karpathy = _karpathy_file(asked, "dataset_coco.json")
    if asked.split == OFFICIAL or (asked.split is None and not karpathy.is_file()):
        if asked.annotations is not None:
            raise DatasetError(
                f"--annotations {asked.annotations}: is the file of Karpathy's splits, and those are not asked for "
                f"(--split {OFFICIAL}). Leave out one of the two."
                if asked.split == OFFICIAL
                else f"--annotations {asked.annotations}: does not exist. Give the file of Karpathy's splits (dataset_coco.json)."
            )
        return _official(asked)
    read = [name for name in ("year", "test_ratio", "seed") if getattr(asked, name) is not None]
    if read:
        raise DatasetError(
            f"--{read[0].replace('_', '-')}: goes with --split {OFFICIAL}; {karpathy} says which split a picture is in. Leave "
            "out one of the two."
        )
    lister = Lister(asked)
    rows = _karpathy_rows(lister, karpathy)
    find = _coco_finder(lister, rows)
    _list_karpathy(lister, rows, karpathy, find)
    return lister.done(divided=f"Karpathy's splits in {karpathy.name}, restval to train on")


def flickr30k(asked: Asked) -> Listed:
    """List Flickr30k by Karpathy's splits.

    Raises:
        DatasetError: as `coco`.
    """
    lister = Lister(asked)
    file = _karpathy_file(asked, "dataset_flickr30k.json")
    rows = _karpathy_rows(lister, file)
    names = [str(row.get("filename")) for row in rows]
    folder = first_folder(lister, FLICKR_FOLDERS, names, what="Flickr30k")
    _list_karpathy(lister, rows, file, lambda row: str(folder / str(row["filename"])))
    return lister.done(divided=f"Karpathy's splits in {file.name}")


def _karpathy_file(asked: Asked, name: str) -> Path:
    """Return where the file of Karpathy's splits is, or would be."""
    if asked.annotations is not None:
        return asked.annotations
    usual = [asked.root / folder / name for folder in ("", "annotations", "karpathy")]
    return next((one for one in usual if one.is_file()), usual[0])


def _karpathy_rows(lister: Lister, file: Path) -> list[dict[str, Any]]:
    """Return the pictures of Karpathy's file.

    Raises:
        DatasetError: it is not there, or no such file.
    """
    lister.found.files.append(file)
    told = read_json(file, "Karpathy's splits, with pictures and sentences")
    rows = told.get("images")
    if not isinstance(rows, list):
        hint = meant("images", told, f"It has {', '.join(shown(one, 40) for one in told) or 'nothing'}.")
        raise DatasetError(f"{shown(str(file))}: has no list `images`; allowed: Karpathy's file. {hint}")
    for place, row in enumerate(rows):
        if not isinstance(row, dict) or not isinstance(row.get("filename"), str) or not row["filename"]:
            lister.problems.add(
                f"{file.name} images[{place}]: got {shown(repr(row), 80)}; allowed: an object with `filename`, `split` and "
                "`sentences`."
            )
        elif not is_id(row.get("cocoid", 0)):
            lister.problems.add(
                f"{file.name} images[{place}]: cocoid: got {shown(repr(row['cocoid']), 40)}; allowed: a whole number."
            )
    if not rows:
        lister.problems.add(f"{file.name}: `images` is empty. Copy the file again.")
    lister.problems.raise_any()
    return rows


def _list_karpathy(lister: Lister, rows: Sequence[Mapping[str, Any]], file: Path, find: Finder) -> None:
    lister.once(((_name(row), file.name) for row in rows), "picture")
    for key in ("cocoid", "imgid"):
        lister.once(((str(row[key]), file.name) for row in rows if key in row), key)
    for place, row in enumerate(rows):
        where = f"{file.name} images[{place}]"
        split = lister.split_of(row.get("split"), where, SPLITS_OF_KARPATHY)
        sentences = row.get("sentences")
        if not isinstance(sentences, list):
            lister.problems.add(f"{where}: has no list `sentences`. Copy the file again.")
            continue
        told = [one.get("raw") if isinstance(one, dict) else one for one in sentences]
        captions = lister.captions(told, _name(row), f"{where}.sentences")
        lister.take(Item(name=_name(row), split=split, place=where, file=find(row), captions=captions))


def _name(row: Mapping[str, Any]) -> str:
    folder = row.get("filepath")
    return f"{folder}/{row['filename']}" if isinstance(folder, str) and folder else str(row["filename"])


def _coco_finder(lister: Lister, rows: Sequence[Mapping[str, Any]]) -> Finder:
    """Return how COCO's pictures are found: as Karpathy names them, in one folder, or under the names of 2017.

    Raises:
        DatasetError: the first pictures are nowhere.
    """
    root = lister.asked.image_root or lister.asked.root

    def of_2017(row: Mapping[str, Any]) -> str:
        name = f"{row.get('cocoid', -1):012d}.jpg"
        folder = next((one for one in ("train2017", "val2017") if isfile(root / one / name)), "train2017")
        return str(root / folder / name)

    ways: list[tuple[str, Finder]] = [
        ("FILEPATH/FILENAME", lambda row: str(root / _name(row))),
        ("images/FILEPATH/FILENAME", lambda row: str(root / "images" / _name(row))),
        ("FILENAME", lambda row: str(root / str(row["filename"]))),
        ("images/FILENAME", lambda row: str(root / "images" / str(row["filename"]))),
        ("{train,val}2017/COCOID.jpg", of_2017),
    ]
    probed = rows[:MOST_PROBED]
    for _, find in ways:
        if any(isfile(find(row)) for row in probed):
            return find
    raise DatasetError(
        f"{root}: none of the first {len(probed)} pictures is there, such as {shown(_name(rows[0]))}; looked for "
        f"{', '.join(way for way, _ in ways)}. Unpack train2014 and val2014 there, or say where they are: --image-root FOLDER."
    )


def _official(asked: Asked) -> Listed:
    """List COCO by its official train and val splits; a share of train may be held out to test."""
    lister = Lister(asked)
    year = asked.year or 2017
    for split in ("train", "val"):
        file = asked.root / "annotations" / f"captions_{split}{year}.json"
        lister.found.files.append(file)
        told = read_json(
            file,
            f"the official captions of {split} {year} (Karpathy's splits would be dataset_coco.json in the folder above)",
        )
        _list_official(lister, told, file, split=split, year=year)
    lister.problems.raise_any()
    return lister.done(divided=f"the official splits of {year}{lister.hold_out()}")


def _list_official(lister: Lister, told: Mapping[str, Any], file: Path, *, split: str, year: int) -> None:
    captions = dict[int, list[tuple[str, Any]]]()
    names = pictures_of(told, noted(lister, file))
    rows = rows_of(told, "annotations", noted(lister, file))
    lister.problems.raise_any()
    if not names:
        lister.problems.add(f"{file.name}: `images` is empty. Copy the file again.")
    lister.problems.raise_any()
    for place, row in enumerate(rows):
        where = f"{file.name} annotations[{place}]"
        if isinstance(row, dict) and "caption" not in row and ("bbox" in row or "segmentation" in row):
            lister.problems.add(
                f"{where}: holds boxes and no caption: these are instances; take captions_*.json."
            )
            return
        number = row.get("image_id") if isinstance(row, dict) else None
        if not is_id(number) or number not in names:
            lister.leave_out(
                "caption", f"image {number}", where, f"image_id {shown(repr(number), 40)} is not in `images`"
            )
        else:
            captions.setdefault(number, []).append((where, row.get("caption")))
    folder = f"{split}{year}"
    root = first_folder(lister, (folder, f"images/{folder}", "images", ""), list(names.values()), what=folder)
    for number in sorted(names):
        name = f"{folder}/{names[number]}"
        texts = [
            text
            for where, value in captions.get(number, [])
            if (text := lister.text("caption", value, name, where)) is not None
        ]
        at = f"{file.name} image {number}"
        lister.take(Item(name=name, split=split, place=at, file=str(root / names[number]), captions=texts))


def noted(lister: Lister, file: Path) -> Callable[[str], None]:
    """Return what takes a problem of a file of annotations."""
    return lambda text: lister.problems.add(f"{file.name}: {text}")
