"""The prepared form on disk: shards of Arrow rows, each of one split, and a manifest that names them all.

OUT/prepared.json            version, kind, fingerprint, counts, the shards with the hash of their bytes
OUT/shards/train-00000.arrow rows: name, image as it was encoded, texts; record batches of some megabytes
OUT/quarantine.jsonl         what was left out, with place and reason
OUT/progress/                what is prepared in which shard: how a run that was killed goes on
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from spaces.errors import DatasetError
from trainables.datasets.cache_folder import DAMAGED
from trainables.datasets.jsonl_files import shown
from trainables.datasets.prepare.items import Item

VERSION = 1  # raise it whenever what stands in shards means something else
MANIFEST, QUARANTINE, SHARDS, PROGRESS = "prepared.json", "quarantine.jsonl", "shards", "progress"
BATCH_ROWS, BATCH_BYTES = 64, 16 << 20
DIGEST_BYTES = 16

SCHEMA = pa.schema(
    [
        ("name", pa.string()),
        ("image", pa.binary()),
        ("image_digest", pa.binary(DIGEST_BYTES)),
        ("row_digest", pa.binary(DIGEST_BYTES)),
        ("captions", pa.list_(pa.string())),
        (
            "questions",
            pa.list_(
                pa.struct(
                    [
                        ("id", pa.string()),
                        ("text", pa.string()),
                        ("answers", pa.list_(pa.string())),
                        ("source", pa.string()),
                    ]
                )
            ),
        ),
        (
            "statements",
            pa.list_(
                pa.struct(
                    [
                        ("id", pa.string()),
                        ("text", pa.string()),
                        ("other", pa.string()),
                        ("holds", pa.bool_()),
                    ]
                )
            ),
        ),
    ]
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Shard:
    """One file of rows.

    Attributes:
        file: its name in the folder of shards.
        split: of all its rows.
        pictures, captions, questions, statements: how many it has.
        bytes: of the file.
        digest: of the file's bytes, as `Contents` makes it.
    """

    file: str
    split: str
    pictures: int
    captions: int
    questions: int
    statements: int
    bytes: int
    digest: str


def write_shard(draft: Path, rows: Iterable[tuple[Item, bytes]]) -> None:
    """Write rows into a draft, some megabytes in memory at a time."""
    with pa.OSFile(str(draft), "wb") as sink, pa.ipc.new_file(sink, SCHEMA) as writer:
        pending: list[dict[str, Any]] = []
        held = 0
        for item, content in rows:
            pending.append(_row(item, content))
            held += len(content)
            if len(pending) >= BATCH_ROWS or held >= BATCH_BYTES:
                writer.write_batch(pa.RecordBatch.from_pylist(pending, SCHEMA))
                pending, held = [], 0
        if pending:
            writer.write_batch(pa.RecordBatch.from_pylist(pending, SCHEMA))


def _row(item: Item, content: bytes) -> dict[str, Any]:
    image = hashlib.blake2b(content, digest_size=DIGEST_BYTES)
    questions = [asdict(one) | {"answers": list(one.answers)} for one in item.questions]
    statements = [asdict(one) for one in item.statements]
    told = json.dumps([item.split, image.hexdigest(), item.captions, questions, statements])
    return {
        "name": item.name,
        "image": content,
        "image_digest": image.digest(),
        "row_digest": hashlib.blake2b(told.encode(), digest_size=DIGEST_BYTES).digest(),
        "captions": item.captions,
        "questions": questions,
        "statements": statements,
    }


def file_digest(path: Path) -> str:
    """Return the hash of a file's bytes, as `Contents` makes it."""
    with path.open("rb") as source:
        return hashlib.file_digest(source, lambda: hashlib.blake2b(digest_size=DIGEST_BYTES)).hexdigest()


def batches(path: Path) -> Iterator[tuple[pa.RecordBatch, int]]:
    """Yield the record batches of a shard, and where in the file the bytes of their pictures begin.

    The file is mapped; of its pictures nothing is read.

    Raises:
        DatasetError: it is no shard, or a damaged one.
    """
    try:
        with pa.memory_map(str(path)) as source:
            whole = source.read_buffer()
            with pa.ipc.open_file(pa.BufferReader(whole)) as reader:
                if not reader.schema.equals(SCHEMA):
                    raise pa.ArrowInvalid("its columns are others than this version writes")
                for number in range(reader.num_record_batches):
                    batch = reader.get_batch(number)
                    batch.validate(full=True)
                    data = batch.column("image").buffers()[2]
                    yield batch, (data.address if data is not None else whole.address) - whole.address
    except DAMAGED as error:
        raise DatasetError(f"{shown(str(path))}: damaged ({shown(str(error))}). {AGAIN}") from error


AGAIN = "Run its preparation again, which makes this shard anew: python -m trainables.datasets.prepare ..."


def combined(folder: Path, shards: Iterable[Shard]) -> str:
    """Return the fingerprint of all rows in their order, however they are spread over shards."""
    found = hashlib.sha256(f"prepared|{VERSION}".encode())
    for shard in shards:
        for batch, _ in batches(folder / SHARDS / shard.file):
            digests = batch.column("row_digest").buffers()[1].to_pybytes()
            found.update(digests[: batch.num_rows * DIGEST_BYTES])
    return found.hexdigest()[:16]
