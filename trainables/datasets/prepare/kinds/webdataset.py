"""WebDataset: tar files whose members of one stem are one sample, as `img2dataset` and many others write them.

    shards/train-000000.tar     0001.jpg  0001.txt  0001.json      0002.jpg  0002.txt ...

The caption is the text of `.txt`; where there is none, `caption` (or `captions`) of `.json`. A text of several lines is as many
captions, as sets for retrieval are published, unless `.json` says the same text as one. Only headers and texts are read here; a
picture is read where it lies in its tar. The split stands in the name of the tar or its folder, else samples are divided by
ratio.
"""

import json
import os
import tarfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from spaces.errors import DatasetError
from trainables.datasets.formats.parquet import split_of
from trainables.datasets.formats.walk import ENDINGS, files_below, is_passed_over, some
from trainables.datasets.jsonl_files import shown
from trainables.datasets.prepare.items import Item
from trainables.datasets.prepare.kinds.rows import lines_of, many
from trainables.datasets.prepare.listing import Asked, Listed, Lister

TEXT, JSON = ".txt", ".json"
LARGEST_TEXT = 1 << 24
PACKED = (".gz", ".tgz", ".bz2", ".xz", ".zst")


def webdataset(asked: Asked) -> Listed:
    """List the samples of tar files.

    Raises:
        DatasetError: there is no tar; nothing to train on.
    """
    lister = Lister(asked)
    root = asked.root if asked.root.is_dir() else asked.root.parent
    below = [] if asked.root.is_file() else files_below(root)
    files = [asked.root] if asked.root.is_file() else [one for one in below if one.suffix.lower() == ".tar"]
    packed = _packed(root, below)
    if not files:
        raise DatasetError(
            f"--root {asked.root}: holds no .tar file"
            + (
                f", but {len(packed):,} compressed ones, such as {packed[0]}, of which nothing can be read by its place. Unpack "
                "them to .tar."
                if packed
                else ". Give the folder of the shards, or one of them."
            )
        )
    if packed:
        lister.found.notes.append(
            f"compressed shards not read: {some(packed)}; unpack them to .tar to have them"
        )
    unread: Counter[str] = Counter()
    for file in files:
        if file.suffix.lower() in PACKED:
            raise DatasetError(
                f"--root {file}: is compressed, so nothing in it can be read by its place. Unpack it to .tar."
            )
        lister.found.files.append(file)
        name = os.path.relpath(file, root)
        for key, members in _samples(lister, file, name):
            _take(lister, file, f"{name} {key}", members, unread)
    if unread:
        told = ", ".join(f"{shown(one, 20)} ({count:,})" for one, count in unread.most_common(5))
        lister.found.notes.append(f"members not read: {told}")
    return lister.done()


def _packed(root: Path, below: Iterable[Path]) -> list[str]:
    """Return the compressed tar files among those below a folder, as they are called there."""
    found = [path for path in below if path.suffix.lower() in PACKED]
    tars = [path for path in found if path.suffix.lower() == ".tgz" or path.stem.lower().endswith(".tar")]
    return sorted(os.path.relpath(path, root) for path in tars)


Member = tuple[str, int, int]
"""Ending, offset and size of a member."""


def _samples(lister: Lister, file: Path, name: str) -> Iterator[tuple[str, list[Member]]]:
    """Yield the samples of a tar: members that follow each other and have one stem. A cut tar is noted."""
    key, members = "", list[Member]()
    known: dict[str, set[str]] = {}
    apart: dict[str, None] = {}
    try:
        with tarfile.open(file, "r:") as source:
            for one in source:
                folder, base = os.path.split(one.name)
                if not one.isfile() or is_passed_over(base):  # macOS writes ._0001.jpg before 0001.jpg
                    continue
                stem, _, ending = base.partition(".")
                sample, ending = os.path.join(folder, stem), f".{ending.lower()}"
                if sample != key and members:
                    yield key, members
                    members = []
                there = known.setdefault(sample, set())
                if sample != key and ending in there:
                    lister.problems.add(
                        f"{name}: sample {shown(sample)} stands twice. Remove one, or name it otherwise."
                    )
                elif sample != key and there:
                    apart[sample] = None
                there.add(ending)
                key = sample
                if one.offset_data + one.size > file.stat().st_size:
                    lister.leave_out(
                        "archive",
                        name,
                        f"{name} {one.name}",
                        "the tar is cut off here; what is before is used",
                    )
                    break
                members.append((ending, one.offset_data, one.size))
    except (tarfile.TarError, EOFError, OSError) as error:
        why = f"the tar cannot be read on after {key or 'its beginning'} ({shown(str(error), 80)}); the samples before are used"
        lister.leave_out("archive", name, name, why)
    if apart:
        lister.problems.add(
            f"{name}: the members of {len(apart):,} samples do not follow each other, such as those of {some(apart)}. Pack it "
            "again: tar --sort=name."
        )
    if members:
        yield key, members


def _take(lister: Lister, file: Path, name: str, members: list[Member], unread: Counter[str]) -> None:
    pictures = [one for one in members if one[0] in ENDINGS]
    texts: dict[str, tuple[int, int]] = {}
    for ending, offset, size in members:
        if ending in texts:
            lister.leave_out(
                "caption", name, f"{name}{ending}", "stands twice in its sample; the last one is read"
            )
        if ending in (TEXT, JSON):
            texts[ending] = offset, size
    unread.update(ending for ending, _, _ in members if ending not in (*ENDINGS, TEXT, JSON))
    if len(pictures) != 1:
        got = "no picture" if not pictures else f"{len(pictures)} pictures"
        lister.leave_out("picture", name, name, f"holds {got}; allowed: one a sample")
        return
    values: list[Any] = []
    if TEXT in texts:
        values = _of_text(lister, file, texts, name)
    elif JSON in texts:
        values = _of_json(lister, _read(file, *texts[JSON]), name)
    captions = lister.captions(values, name, f"{name} caption")
    _, offset, size = pictures[0]
    split = split_of(
        Path(os.path.relpath(file, lister.asked.root if lister.asked.root.is_dir() else file.parent))
    )
    lister.take(
        Item(name=name, split=split, place=name, file=str(file), offset=offset, size=size, captions=captions)
    )


def _of_text(lister: Lister, file: Path, texts: Mapping[str, tuple[int, int]], name: str) -> list[Any]:
    """Return the captions of `.txt`: one, or one a line."""
    text = _decoded(_read(file, *texts[TEXT]))
    lines = lines_of(text) if isinstance(text, str) else []
    if len(lines) < 2:
        return [text]
    told = _of_json(lister, _read(file, *texts[JSON]), name) if JSON in texts else []
    same = isinstance(text, str) and any(isinstance(one, str) and one.strip() == text.strip() for one in told)
    return [text] if same else lines


def _of_json(lister: Lister, content: bytes, name: str) -> list[Any]:
    try:
        told = json.loads(content)
    except (ValueError, RecursionError) as error:
        lister.leave_out("caption", name, f"{name}.json", f"is no JSON ({shown(str(error), 60)})")
        return []
    return [*many(told.get("caption")), *many(told.get("captions"))] if isinstance(told, dict) else []


def _read(file: Path, offset: int, size: int) -> bytes:
    with file.open("rb") as source:
        source.seek(offset)
        return source.read(min(size, LARGEST_TEXT))


def _decoded(content: bytes) -> str | bytes:
    """Return a text; bytes that are no UTF-8 as they are, which is told as no text."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content
