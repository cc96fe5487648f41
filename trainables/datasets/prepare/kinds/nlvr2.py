"""NLVR2: sentences that are true or false of two pictures (Suhr et al. 2019).

    root/data/{train,dev,test1}.json
                     one object a line: {"identifier": "train-10171-0-0", "sentence", "label": "True", "directory": 71}
    root/images/train/71/train-10171-0-img0.png   ...-img1.png        (or without the number of the directory)
    root/images/dev/dev-850-0-img0.png  root/images/test1/...

`dev` is the validation split, `test1` (test-P, the public one) the test split.
"""

import json
from collections.abc import Iterator, Mapping
from os.path import isfile
from pathlib import Path
from typing import Any

from spaces.errors import DatasetError
from trainables.datasets.formats.tables import read_bytes
from trainables.datasets.jsonl_files import shown
from trainables.datasets.prepare.items import Item, Statement
from trainables.datasets.prepare.listing import Asked, Listed, Lister

SPLITS_OF_NLVR2 = {"train": "train", "dev": "val", "test1": "test"}
TRUTHS = {"True": True, "False": False}
PARTS = 4  # of an identifier: split, set, pair, sentence


def nlvr2(asked: Asked) -> Listed:
    """List both pictures of every sentence; the sentence stands with the left one.

    Raises:
        DatasetError: the annotations cannot be used, or the pictures are nowhere.
    """
    lister = Lister(asked)
    root = asked.image_root or asked.root / "images"
    for told, split in SPLITS_OF_NLVR2.items():
        usual = [asked.root / folder / f"{told}.json" for folder in ("data", "", "nlvr2/data")]
        file = next((one for one in usual if one.is_file()), usual[0])
        if told == "test1" and not file.is_file():
            lister.found.notes.append(f"there is no {file.name}: no test split")
            continue
        lister.found.files.append(file)
        _list_split(lister, file, root / told, split)
    return lister.done(divided="the official splits: dev to validate, test1 to test")


def _list_split(lister: Lister, file: Path, folder: Path, split: str) -> None:
    found: dict[str, Item] = {}
    first: dict[str, str] = {}
    for where, row in _lines(lister, file):
        number, label = row.get("identifier"), row.get("label")
        parts = number.split("-") if isinstance(number, str) else []
        if len(parts) != PARTS:
            lister.problems.add(
                f"{where}: identifier: got {shown(repr(number), 40)}; allowed: such as 'train-10171-0-0'."
            )
            continue
        assert isinstance(number, str)
        if number in first:
            lister.problems.add(
                f"{where}: identifier {number} stands twice, at {first[number]}, too. Remove one."
            )
            continue
        first[number] = where
        pair = "-".join(parts[:3])
        sentence = lister.text("statement", row.get("sentence"), pair, where)
        if str(label) not in TRUTHS:
            lister.leave_out(
                "statement", pair, where, f"label {shown(repr(label), 40)} is neither 'True' nor 'False'"
            )
            continue
        if sentence is None:
            continue
        left, right = (_picture(found, folder, f"{pair}-img{side}.png", row, where, split) for side in (0, 1))
        left.statements.append(
            Statement(id=number, text=sentence, other=right.name, holds=TRUTHS[str(label)])
        )
    for item in found.values():
        lister.take(item, needs_text=False)
    if found and not any(isfile(item.file) for item in list(found.values())[:20]):
        raise DatasetError(
            f"{folder}: none of the first pictures is there, such as {shown(next(iter(found.values())).file)}. Unpack them "
            "there, or say where train, dev and test1 are: --image-root FOLDER."
        )


def _picture(
    found: dict[str, Item], folder: Path, name: str, row: Mapping[str, Any], where: str, split: str
) -> Item:
    key = f"{folder.name}/{name}"
    if key not in found:
        deep = folder / str(row.get("directory", "")) / name
        flat = folder / name
        file = flat if isfile(flat) and not isfile(deep) else deep
        found[key] = Item(name=key, split=split, place=where, file=str(file))
    return found[key]


def _lines(lister: Lister, file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield place and object of every line; one that is none is a problem."""
    content = read_bytes(file, "the sentences of NLVR2, one JSON object a line")
    for number, line in enumerate(content.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            lister.problems.add(
                f"{file.name}:{number}: is no JSON ({shown(str(error), 60)}). Copy the file again."
            )
            continue
        if isinstance(row, dict):
            yield f"{file.name}:{number}", row
        else:
            lister.problems.add(f"{file.name}:{number}: holds a {type(row).__name__}; allowed: an object.")
