"""Prepared pictures that a training reads from a copy on its node; the cache has tests of its own."""

import os
from pathlib import Path

import numpy as np
import pytest

from trainables.datasets import node_copies
from trainables.datasets.node_copies import NODE_COPIES, heard_by, near_file
from trainables.datasets.prepared import Prepared, mapped
from trainables.preprocess import Framing


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Return a file on the storage."""
    (tmp_path / "storage" / "jsonl").mkdir(parents=True)
    path = tmp_path / "storage" / "jsonl" / "pictures.npy"
    path.write_bytes(os.urandom(1000))
    return path


@pytest.fixture(autouse=True)
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let copies be kept in a folder."""
    monkeypatch.setenv(NODE_COPIES, str(tmp_path / "node"))
    return tmp_path / "node"


def test_a_training_reads_a_copy_and_nobody_else_does(source: Path, node: Path) -> None:
    told: list[str] = []
    assert near_file(source) == source
    with heard_by(told.append):
        copy = near_file(source)
        assert near_file(source) == copy
    assert copy.is_relative_to(node)
    assert copy.read_bytes() == source.read_bytes()
    assert len(told) == 1
    assert near_file(source) == source


@pytest.mark.parametrize("harm", ["shorter", "gone", "source"])
def test_what_is_not_whole_or_of_another_source_is_copied_again(harm: str, source: Path) -> None:
    told: list[str] = []
    with heard_by(told.append):
        copy = near_file(source)
        if harm == "shorter":
            copy.write_bytes(b"x")
        elif harm == "gone":
            copy.unlink()
        else:
            source.write_bytes(os.urandom(1000))
            os.utime(source, ns=(1, 1))
        assert near_file(source) == copy
    assert copy.read_bytes() == source.read_bytes()
    assert len(told) == 2


def test_a_byte_that_flips_on_its_way_is_found(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checksum, told, calls = node_copies.zlib.crc32, list[str](), list[bytes]()

    def crc32(piece: bytes, before: int) -> int:
        calls.append(piece)
        return checksum(piece, before) ^ (len(calls) == 2)  # as the first copy is read back

    monkeypatch.setattr(node_copies.zlib, "crc32", crc32)
    with heard_by(told.append):
        assert near_file(source) != source
    assert "damaged on its way (checksum" in told[1]


def test_pictures_are_prepared_on_the_storage_and_mapped_from_the_copy(
    tmp_path: Path, node: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUDENT_SEARCH_STORAGE", str(tmp_path / "storage"))
    wanted = Prepared[int](
        kind="toy",
        fingerprint="f",
        count=3,
        items=lambda: range(3),
        decode=lambda number, how: np.full((2, 2, 3), number, dtype=np.uint8),
        refuse=lambda broken: None,
    )
    with heard_by(print):
        pixels = mapped(wanted, Framing(side=2), print)
    assert pixels[:, 0, 0, 0].tolist() == [0, 1, 2]
    assert str(getattr(pixels, "filename", "")).startswith(str(node))
    assert len(list((tmp_path / "storage" / "toy").glob("*.npy"))) == 1
