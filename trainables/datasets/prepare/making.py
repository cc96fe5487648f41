"""One shard, made by one process: read the bytes of its pictures, decode each once, and keep those that can be read."""

import json
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from io import BytesIO
from itertools import groupby
from os.path import isfile
from pathlib import Path

import pyarrow.parquet as pq
from PIL import Image

from spaces.errors import DatasetError
from spaces.files import atomic_path, write_text
from trainables.datasets.cache_folder import DAMAGED
from trainables.datasets.contents import reason
from trainables.datasets.formats.rows import group_values, parts
from trainables.datasets.jsonl_files import LARGEST, shown, what_it_is, wrong_size
from trainables.datasets.pictures import refuse_line, seen, whole
from trainables.datasets.prepare.form import PROGRESS, SHARDS, Shard, file_digest, write_shard
from trainables.datasets.prepare.items import Item, LeftOut
from trainables.datasets.prepared import why_broken

ORDERS, RECORDS = "orders", "records"
JPEG_QUALITY = 95


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """What a process is told to make a shard.

    Attributes:
        out: the folder of the preparation.
        name: of the shard, without ending; its pictures stand in `progress/orders/NAME.jsonl`.
        root: that paths in rows of Parquet files start from, where they are not beside those.
        image_column: of Parquet files.
        longest_side: pictures that are longer are made smaller and encoded anew; 0 keeps the bytes of all.
    """

    out: str
    name: str
    root: str
    image_column: str
    longest_side: int

    @property
    def listed(self) -> Path:
        """The file with its pictures."""
        return Path(self.out) / PROGRESS / ORDERS / f"{self.name}.jsonl"

    @property
    def record(self) -> Path:
        """The file that says what became of it; it is written last."""
        return Path(self.out) / PROGRESS / RECORDS / f"{self.name}.json"

    @property
    def target(self) -> Path:
        """The shard."""
        return Path(self.out) / SHARDS / f"{self.name}.arrow"

    @property
    def done(self) -> bool:
        """Whether somebody has carried it out."""
        return self.record.is_file() and self.target.is_file()


@dataclass(frozen=True, kw_only=True)
class Made:
    """What became of an order.

    Attributes:
        shard: what was written.
        left_out: what was not, and why.
    """

    shard: Shard
    left_out: list[LeftOut]

    @classmethod
    def read(cls, path: Path) -> "Made":
        """Return what `make_shard` kept.

        Raises:
            DatasetError: the file is damaged.
        """
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
            left = [LeftOut.from_dict(one) for one in told["left_out"]]
            return cls(shard=Shard(**told["shard"]), left_out=left)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DatasetError(
                f"{path}: damaged ({shown(str(error))}). Delete it, and run the preparation again: its shard is made anew."
            ) from error


def make_shards(orders: list[Order]) -> list[Made]:
    """Make some shards, those that are made already left aside: a process that was lost begins where it ended."""
    return [Made.read(one.record) if one.done else make_shard(one) for one in orders]


def make_shard(order: Order) -> Made:
    """Make a shard and its record.

    Raises:
        DatasetError: the list of its pictures is damaged.
        StorageError: it cannot be written.
    """
    items = _listed(order)
    left_out: list[LeftOut] = []
    kept: list[Item] = []
    target = order.target

    def rows() -> Iterator[tuple[Item, bytes]]:
        for item, content in contents(items, Path(order.root), order.image_column):
            got = content if isinstance(content, str) else checked(content, order.longest_side)
            if isinstance(got, str):
                left_out.append(LeftOut(what="picture", name=shown(item.name), place=item.place, reason=got))
            else:
                kept.append(item)
                yield item, got

    with warnings.catch_warnings():
        # of damaged metadata, and of pictures that are large, but not too large
        warnings.filterwarnings("ignore", module=r"PIL\.")
        with atomic_path(target) as draft:
            write_shard(draft, rows())
            digest, size = file_digest(draft), draft.stat().st_size
    shard = Shard(
        file=target.name,
        split=items[0].split,
        pictures=len(kept),
        captions=sum(len(one.captions) for one in kept),
        questions=sum(len(one.questions) for one in kept),
        statements=sum(len(one.statements) for one in kept),
        bytes=size,
        digest=digest,
    )
    told = {"shard": asdict(shard), "left_out": [one.to_dict() for one in left_out]}
    write_text(order.record, json.dumps(told) + "\n")
    return Made(shard=shard, left_out=left_out)


def _listed(order: Order) -> list[Item]:
    """Return the pictures of an order.

    Raises:
        DatasetError: their list is gone, or damaged.
    """
    try:
        items = [
            Item.from_json(line) for line in order.listed.read_text(encoding="utf-8").split("\n") if line
        ]
        if items:
            return items
        why = "it is empty"
    except (OSError, ValueError, KeyError, TypeError) as error:
        why = shown(str(error)) or type(error).__name__
    raise DatasetError(f"{order.listed}: damaged ({why}). Delete {order.out}, and prepare the data again.")


def contents(items: Iterable[Item], root: Path, column: str) -> Iterator[tuple[Item, bytes | str]]:
    """Yield pictures in their order with their bytes, or with what hinders to read them."""
    for (file, in_rows), some in groupby(items, key=lambda item: (item.file, item.row >= 0)):
        path = root / file
        if in_rows:
            yield from _of_rows(path, list(some), column, root=root)
        else:
            for item in some:
                yield item, _of_file(path, item)


def _of_file(path: Path, item: Item) -> bytes | str:
    try:
        if wrong := what_it_is(path):
            return f"{shown(str(path))} {wrong}"
        size = item.size if item.offset >= 0 else path.stat().st_size
        if why := wrong_size(size):
            return why
        with path.open("rb") as source:
            source.seek(max(0, item.offset))
            content = source.read(size)
    except FileNotFoundError:
        return f"{shown(str(path))} does not exist"
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        return (
            f"cannot be read ({reason(error) if isinstance(error, OSError) else 'no file has such a name'})"
        )
    return content if len(content) == size else f"is cut off: {len(content):,} of {size:,} bytes are there"


def _of_rows(path: Path, items: list[Item], column: str, *, root: Path) -> Iterator[tuple[Item, bytes | str]]:
    """Yield pictures of a Parquet file, row group by row group; all that are left where it cannot be read on."""
    left = iter(items)
    item = next(left, None)
    wanted = {one.row for one in items}
    try:
        with pq.ParquetFile(path) as file:
            first = 0
            for group in range(file.num_row_groups):
                count = file.metadata.row_group(group).num_rows
                if any(row in wanted for row in range(first, first + count)):
                    for _, value in group_values(file, group, column, first=first, wanted=wanted):
                        if item is None:
                            return
                        yield item, _of_value(value, (path.parent, root), item)
                        item = next(left, None)
                first += count
    except DAMAGED as error:
        while item is not None:
            yield item, f"its file cannot be read on ({shown(str(error), 100)})"
            item = next(left, None)


def _of_value(value: object, folders: Sequence[Path], item: Item) -> bytes | str:
    content, name = parts(value)
    if content is None and name:
        places = [folder / name for folder in folders]  # beside its Parquet file, else below the root
        return _of_file(next(filter(isfile, places), places[0]), replace(item, offset=-1, size=-1))
    if content is None:
        return "the row has neither bytes nor a path"
    return wrong_size(len(content)) or content


def checked(content: bytes, longest_side: int) -> bytes | str:
    """Return the bytes of a picture that can be decoded, made smaller where asked for; else what is wrong with it.

    Args:
        content: as the file has it.
        longest_side: pixels at most; 0 for any.
    """
    try:
        with Image.open(BytesIO(content)) as picture:
            refuse_line(
                picture
            )  # which some teachers cannot be shown: told now, and not in the middle of a training
            if not longest_side or max(picture.size) <= longest_side:
                whole(picture)
                return content
            small = seen(picture)
            small.thumbnail((longest_side, longest_side), Image.Resampling.BICUBIC)
        sink = BytesIO()
        small.save(sink, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    except Exception as error:  # Pillow's readers raise whatever their formats lead them to
        return why_broken(error)
    return sink.getvalue() if sink.tell() <= LARGEST else f"has more than {LARGEST:,} bytes"
