"""Size on disk of everything that is needed from raw input to answer."""

from pathlib import Path

from trainables.costs.params import params
from trainables.costs.subject import Subject
from trainables.tokenizer_files import FILES

BYTES_PER_WEIGHT = 4  # float32, as exported
MIB = 2**20


def size_mib(subject: Subject) -> float:
    """Return weights in float32 and, where texts are read, tokenizer files together, in MiB (2^20 bytes)."""
    files = sum(part.files_bytes for part in subject.parts.values())
    return (params(subject) * BYTES_PER_WEIGHT + files) / MIB


def tokenizer_bytes(folder: Path) -> int:
    """Return the size of the tokenizer's files in a model folder, in bytes."""
    return sum((folder / name).stat().st_size for name in FILES if (folder / name).is_file())
