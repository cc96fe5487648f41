"""Text tables of pictures and captions: CSV, TSV as Conceptual Captions has it, and JSON lines.

    data.csv             image,caption,split          a header; the usual names of columns are found by themselves
    Train_GCC.tsv        caption<TAB>file             no header, as in Conceptual Captions; or one, quoted as by pandas or not
    data.jsonl           {"image": "1.jpg", "captions": ["a dog"], "split": "train", "question": "...", "answers": ["...", ...]}

The split stands in a column, or in the name of the file; where neither says one, pictures are divided by ratio.
"""

import csv
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from spaces.errors import DatasetError
from trainables.datasets.formats.tables import read_bytes
from trainables.datasets.formats.walk import some
from trainables.datasets.jsonl_files import shown
from trainables.datasets.prepare.kinds.rows import (
    CAPTION_COLUMNS,
    IMAGE_COLUMNS,
    QUESTION_FIELDS,
    SPLIT_COLUMNS,
    Row,
    asked_of,
    columns,
    files_of,
    in_cell,
    joined,
    many,
    split_word,
)
from trainables.datasets.prepare.listing import Asked, Listed, Lister

LONGEST_CELL = 1 << 24


def comma_separated(asked: Asked) -> Listed:
    """List CSV files, which have a header.

    Raises:
        DatasetError: a file that cannot be read, or lacks a column; nothing to train on.
    """
    return _delimited(asked, (".csv",), delimiter=",")


def tab_separated(asked: Asked) -> Listed:
    """List TSV files: caption and file without a header, or columns by name with one.

    Raises:
        DatasetError: as `comma_separated`.
    """
    return _delimited(asked, (".tsv",), delimiter="\t")


def _delimited(asked: Asked, endings: tuple[str, ...], *, delimiter: str) -> Listed:
    lister = Lister(asked)
    pictures = joined(lister)
    csv.field_size_limit(LONGEST_CELL)
    captioned = False
    for file in files_of(asked, endings):
        lister.found.files.append(file)
        rows = _cells(file, delimiter, quoted=delimiter == "," or _is_quoted(file, asked))
        first = next(rows, None)
        if first is None:
            lister.found.notes.append(f"{file.name} is empty")
            continue
        header = [one.strip() for one in first[1]]
        named = delimiter == "," or _is_header(header, asked)
        if not named:
            header = [CAPTION_COLUMNS[0], IMAGE_COLUMNS[0]]
            rows = _with(first, rows)
        read = columns(pictures, header, file=file)
        captioned = captioned or bool(read.caption)
        for number, cells in rows:
            place = f"{file.name}:{number}"
            if len(cells) != len(header):
                lister.leave_out("picture", "", place, f"has {len(cells)} columns, and not {len(header)}")
                continue
            told = dict(zip(header, cells, strict=True))
            pictures.add(
                Row(
                    place=place,
                    split=split_word(lister, told[read.split] if read.split else None, place, file),
                    image=told[read.image],
                    captions=in_cell(told[read.caption]) if read.caption else (),
                )
            )
    pictures.finish(needs_text=captioned)
    return lister.done()


def _with(
    first: tuple[int, list[str]], rows: Iterable[tuple[int, list[str]]]
) -> Iterator[tuple[int, list[str]]]:
    yield first
    yield from rows


def _is_header(cells: list[str], asked: Asked) -> bool:
    """Return whether the first line of a TSV names columns."""
    names = {
        *IMAGE_COLUMNS,
        *CAPTION_COLUMNS,
        *SPLIT_COLUMNS,
        asked.image_column,
        asked.caption_column,
        asked.split_column,
    }
    return len(cells) > 1 and sum(one in names for one in cells) > 1


def _is_quoted(file: Path, asked: Asked) -> bool:
    """Return whether a TSV is written as by pandas and `csv.writer`: a header, and quotes around cells with marks in them.

    It is where all of it can be read so, with rows of one width. Else quotes are letters, as in Conceptual Captions; so they
    are where a cell would hold tabs and line breaks: a quote at the beginning of one caption and one at the end of another
    would make all between them a cell.
    """
    width = 0
    try:
        for _, cells in _cells(file, "\t", quoted=True):
            width = width or (len(cells) if _is_header([one.strip() for one in cells], asked) else -1)
            if len(cells) != width or any("\t" in one and {"\n", "\r"} & set(one) for one in cells):
                return False
    except DatasetError:  # an open quote; what else is wrong is met again
        return False
    return width > 0


def _cells(file: Path, delimiter: str, *, quoted: bool) -> Iterator[tuple[int, list[str]]]:
    """Yield number and cells of the lines that are not empty.

    Args:
        file: the table.
        delimiter: between cells.
        quoted: whether quotes around a cell are marks, and not letters.

    Raises:
        DatasetError: the file cannot be read, or is no UTF-8.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="", errors="strict") as source:
            lines = (line.replace("\0", "\ufffd") for line in source)
            reader = csv.reader(
                lines,
                delimiter=delimiter,
                quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE,
                strict=quoted,  # else an open quote swallows rows
            )
            for cells in reader:
                if any(one.strip() for one in cells):
                    yield reader.line_num, cells
    except UnicodeDecodeError as error:
        raise DatasetError(f"{file}: byte {error.start + 1} of a part is no UTF-8. Save it so.") from error
    except csv.Error as error:
        raise DatasetError(
            f"{file}:{reader.line_num}: cannot be read as a table ({error}); a quote that is opened is closed before the next "
            'comma, and a quote in a cell is written twice (""). Mend it.'
        ) from error
    except OSError as error:
        raise DatasetError(
            f"{file}: cannot be read ({error.strerror or error}). Give yourself access."
        ) from error


def json_lines(asked: Asked) -> Listed:
    """List JSONL files: one object with a picture and its texts a line.

    Raises:
        DatasetError: as `comma_separated`; or a field that was asked for stands in no line.
    """
    lister = Lister(asked)
    pictures = joined(lister)
    images = (asked.image_column,) if asked.image_column else IMAGE_COLUMNS
    captions = (asked.caption_column,) if asked.caption_column else CAPTION_COLUMNS
    split = asked.split_column or "split"
    read = {split, *QUESTION_FIELDS, "questions"}
    fields: dict[str, None] = {}
    texts = False
    for file in files_of(asked, (".jsonl", ".ndjson", ".json")):
        lister.found.files.append(file)
        content = read_bytes(file, "a table of pictures, one JSON object a line")
        for number, line in enumerate(content.splitlines(), start=1):
            place = f"{file.name}:{number}"
            row = _object(lister, line, place)
            if row is None:
                continue
            fields |= dict.fromkeys(row)
            image = _first(row, images)
            asks = asked_of(row)
            told = _told(row, captions[: 2 if asks else None], read)  # beside questions a `text` may be one
            texts = texts or bool(told or asks)
            read.add(image)
            pictures.add(
                Row(
                    place=place,
                    split=split_word(lister, row.get(split), place, file),
                    image=row.get(image),
                    captions=told,
                    asked=asks,
                )
            )
    _check_fields(asked, fields)
    if other := [name for name in CAPTION_COLUMNS[2:] if asked.caption_column is None and name in read]:
        lister.found.notes.append(
            f"captions are read from {some(other)}; --caption-column NAME reads another field"
        )
    pictures.unread |= dict.fromkeys(name for name in fields if name not in read)
    pictures.finish(needs_text=texts)
    return lister.done()


def _check_fields(asked: Asked, fields: Collection[str]) -> None:
    """Refuse a table of which no line has a field that is needed.

    Raises:
        DatasetError: names it, and what there is.
    """
    has = f"They have {some(fields) or 'none'}."
    named = {"image": asked.image_column, "caption": asked.caption_column, "split": asked.split_column}
    for flag, name in named.items():
        if name is not None and not {name, *([f"{name}s"] if flag == "caption" else [])} & set(fields):
            raise DatasetError(f"--{flag}-column: no line of {asked.root} has a field {name!r}. {has}")
    if asked.image_column is None and fields and not set(IMAGE_COLUMNS) & set(fields):
        raise DatasetError(
            f"{asked.root}: no line has a field called {' or '.join(IMAGE_COLUMNS)}. {has} Name the one of the pictures: "
            "--image-column NAME."
        )


def _first(row: Mapping[str, Any], names: Sequence[str]) -> str:
    """Return the first of some fields that a row has; the first of all where it has none."""
    return next((name for name in names if row.get(name) is not None), names[0])


def _told(row: Mapping[str, Any], names: Sequence[str], read: set[str]) -> list[Any]:
    """Return the captions of a row, of the first field that has some and of its plural; which, is noted in `read`."""
    name = _first(row, names)
    plural = f"{name}s"
    read |= {name, plural}
    return many(row.get(name)) + many(row.get(plural))


def _object(lister: Lister, line: bytes, place: str) -> dict[str, Any] | None:
    """Return the object of a line; None for an empty one, and for what is none, which is noted."""
    if not line.strip():
        return None
    try:
        row = json.loads(line.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:  # no UTF-8 is a ValueError, too
        lister.leave_out(
            "picture", "", place, f"is no JSON ({shown(str(error) or type(error).__name__, 80)})"
        )
        return None
    if not isinstance(row, dict):
        lister.leave_out("picture", "", place, f"holds a {type(row).__name__}; allowed: an object")
        return None
    return row
