"""From a list of pictures to orders for shards, kept on disk: what a preparation that was killed goes on with."""

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, islice
from pathlib import Path
from typing import Any

from spaces.errors import DatasetError
from spaces.files import make_folder, write_text
from spaces.owner import OWNER_FILE
from spaces.plugins import resolve
from trainables.datasets.base import Progress
from trainables.datasets.contents import reason
from trainables.datasets.formats.entries import Problems
from trainables.datasets.formats.walk import some
from trainables.datasets.prepare.form import MANIFEST, PROGRESS, SHARDS, VERSION, file_digest
from trainables.datasets.prepare.items import Item, LeftOut
from trainables.datasets.prepare.kinds import KINDS
from trainables.datasets.prepare.listing import Asked, Listed
from trainables.datasets.prepare.making import ORDERS, RECORDS, Order

PLAN = "plan.json"
READ_WHOLE = 1 << 30  # bytes; tar and Parquet files hold the pictures themselves


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A preparation.

    Attributes:
        kind: of the data.
        asked: what it is made of.
        out: the folder that it fills, from the root.
        shard_pictures: pictures of a shard at most.
        longest_side: see `Order`.
    """

    kind: str
    asked: Asked
    out: Path
    shard_pictures: int
    longest_side: int

    def told(self) -> dict[str, Any]:
        """Return what decides the result, as JSON: another answer is another preparation."""
        asked = {
            name: str(value) if isinstance(value, Path) else value
            for name in Asked.__slots__
            if (value := getattr(self.asked, name)) is not None
        }
        return {
            "version": VERSION,
            "kind": self.kind,
            "asked": asked,
            "shard_pictures": self.shard_pictures,
            "longest_side": self.longest_side,
        }


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All shards of a preparation.

    Attributes:
        orders: one for each shard, split by split.
        pictures: that each of them lists.
        left_out: what the annotations themselves leave out.
        divided: by what the splits are made.
        notes: what the user should know.
    """

    orders: list[Order]
    pictures: list[int]
    left_out: list[LeftOut]
    divided: str
    notes: list[str]

    def missing(self) -> Iterator[tuple[Order, int]]:
        """Yield the orders that nobody has carried out yet, with the pictures of each."""
        for order, count in zip(self.orders, self.pictures, strict=True):
            if not order.done:
                yield order, count


def planned(wanted: Wanted, say: Progress) -> Plan:
    """Return the plan of a preparation: the one that its folder holds, else a new one.

    Raises:
        DatasetError: the data cannot be used; or the folder holds another preparation, or one of other annotations.
        StorageError: nothing can be written there.
    """
    path = wanted.out / PROGRESS / PLAN
    if not path.is_file():
        if (wanted.out / MANIFEST).is_file():
            raise DatasetError(
                f"--out {wanted.out}: holds prepared data without its {PROGRESS} folder, so that it cannot go on. "
                "Name another folder, or delete it."
            )
        _check_free(wanted.out)
        return _new(path, wanted, say)
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        found = _of(kept, wanted)
        files = {str(name): str(digest) for name, digest in kept["files"].items()}
        before = dict(kept["wanted"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(
            f"{path}: damaged ({str(error) or type(error).__name__}). Delete {wanted.out}, and prepare the data again."
        ) from error
    _check_same(before, wanted)
    changed = [
        name for name, digest in files.items() if not Path(name).is_file() or _version(Path(name)) != digest
    ]
    if changed:
        raise DatasetError(
            f"--out {wanted.out}: was begun with another {changed[0]}, which has changed or is gone since. Put it back, or "
            "name another folder."
        )
    return found


def _check_free(out: Path) -> None:
    """Refuse a folder with files of somebody else; a listing that was killed leaves ours, and a record of its own beside them.

    Raises:
        DatasetError: names some of them.
    """
    ours = {OWNER_FILE, *([PROGRESS, SHARDS] if (out / PROGRESS).is_dir() else [])}
    others = sorted(entry.name for entry in out.iterdir() if entry.name not in ours) if out.is_dir() else []
    if others:
        raise DatasetError(
            f"--out {out}: holds {some(others)} already; allowed: a new or empty folder, or one in which this preparation was "
            "begun. Name another folder."
        )


def _check_same(before: dict[str, Any], wanted: Wanted) -> None:
    """Refuse to go on with a preparation that was asked for otherwise."""
    now = json.loads(json.dumps(wanted.told()))
    flat = [{**one, **one["asked"]} for one in (before, now)]
    names = [
        name for name in {**flat[0], **flat[1]} if name != "asked" and flat[0].get(name) != flat[1].get(name)
    ]
    if names:
        said = ", ".join(
            f"{name}: {flat[0].get(name)!r}, now {flat[1].get(name)!r}" for name in sorted(names)
        )
        raise DatasetError(
            f"--out {wanted.out}: holds another preparation ({said}). Name another folder, or give the same flags to go on."
        )


def _new(path: Path, wanted: Wanted, say: Progress) -> Plan:
    """List the data, and write an order for each shard."""
    say(f"{wanted.kind}: lists {wanted.asked.root}")
    try:
        listed: Listed = resolve(KINDS, wanted.kind, "kinds")(wanted.asked)
    except OSError as error:
        raise DatasetError(
            f"{error.filename or wanted.asked.root}: cannot be read ({reason(error)}). Give yourself access, or another folder."
        ) from error
    _check_names(listed, wanted)
    work = make_folder(path.parent)
    shutil.rmtree(work / ORDERS, ignore_errors=True)  # of a listing that was killed
    for folder in (work / ORDERS, work / RECORDS, wanted.out / SHARDS):
        make_folder(folder)
    shards = []
    for split, items in groupby(listed.items, key=lambda item: item.split):
        for number, batch in enumerate(_batches(items, wanted.shard_pictures)):
            name = f"{split}-{number:05d}"
            write_text(work / ORDERS / f"{name}.jsonl", "".join(f"{item.to_json()}\n" for item in batch))
            shards.append([name, len(batch)])
    kept = {
        "wanted": wanted.told(),
        "root": str(_root(wanted.asked)),
        "image_column": listed.image_column,
        "files": {str(file): _version(file) for file in listed.files},
        "shards": shards,
        "left_out": [one.to_dict() for one in listed.left_out],
        "divided": listed.divided,
        "notes": listed.notes,
    }
    write_text(path, json.dumps(kept, indent=1) + "\n")
    return _of(kept, wanted)


def _batches(items: Iterator[Item], most: int) -> Iterator[list[Item]]:
    while batch := list(islice(items, most)):
        yield batch


def _check_names(listed: Listed, wanted: Wanted) -> None:
    """Refuse a listing in which a picture of a split stands twice, or one stands in two splits."""
    problems = Problems(wanted.asked.root)
    first: dict[str, Item] = {}
    for item in listed.items:
        other = first.setdefault(item.name, item)
        if other is not item:
            where = "twice" if other.split == item.split else f"in {other.split} and in {item.split}"
            problems.add(
                f"{item.place}: {item.name} stands {where}, at {other.place}, too. Remove one of them."
            )
    problems.raise_any()


def _version(file: Path) -> str:
    """Return what tells one version of an annotation file from another: its bytes, or of a large one size and time."""
    status = file.stat()
    return file_digest(file) if status.st_size <= READ_WHOLE else f"{status.st_size} {status.st_mtime_ns}"


def _root(asked: Asked) -> Path:
    return asked.image_root or (asked.root if asked.root.is_dir() else asked.root.parent)


def _of(kept: dict[str, Any], wanted: Wanted) -> Plan:
    order = Order(
        out=str(wanted.out),
        name="",
        root=str(kept["root"]),
        image_column=str(kept["image_column"]),
        longest_side=wanted.longest_side,
    )
    shards: Sequence[tuple[str, int]] = kept["shards"]
    return Plan(
        orders=[replace(order, name=str(name)) for name, _ in shards],
        pictures=[int(count) for _, count in shards],
        left_out=[LeftOut.from_dict(one) for one in kept["left_out"]],
        divided=str(kept["divided"]),
        notes=[str(one) for one in kept["notes"]],
    )
