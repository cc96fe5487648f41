"""Folders of shards that are links, as data lies that was put together from several disks."""

from collections.abc import Callable
from pathlib import Path

import pytest

from spaces.errors import DatasetError
from tests.unit.trainables.datasets.formats.made_data import (
    colour,
    colours,
    opened,
    read,
    structs,
    write_parquet,
)
from tests.unit.trainables.datasets.prepare import public
from trainables.datasets.formats.walk import files_below


def parquet(path: Path, number: int) -> Path:
    texts = [f"{number}", f"{number + 1}"]
    return write_parquet(
        path.with_suffix(".parquet"), {"image": structs([number, number + 1]), "caption": texts}
    )


def tar(path: Path, number: int) -> Path:
    samples = {f"{one}": {"jpg": public.jpeg(one), "txt": f"{one}".encode()} for one in (number, number + 1)}
    return public.tar(path.with_suffix(".tar"), samples)


def linked(tmp_path: Path, shard: Callable[[Path, int], Path]) -> Path:
    """Make two splits on other disks, one in the folder itself, a link back to it, and what macOS leaves beside a shard."""
    root, disks = tmp_path / "root", tmp_path / "disks"
    shard(root / "test" / "00000", 4)
    for number, split in ((0, "train"), (2, "val")):
        shard(disks / f"{split}-on-disk" / "deeper" / "00000", number)
        (root / split).symlink_to(disks / f"{split}-on-disk")
    (root / "test" / "again").symlink_to(root)
    (root / "test" / "newest").symlink_to(root / "test")
    for whole in [*root.rglob("00000.*"), *disks.rglob("00000.*")]:
        (whole.parent / f"._{whole.name}").write_bytes(b"of macOS")
    return root


def test_parquet_in_linked_folders_is_read_once(tmp_path: Path) -> None:
    data = opened("parquet", linked(tmp_path, parquet))
    for number, split in ((0, "train"), (2, "val"), (4, "test")):
        assert colours(read(data, split)) == [colour(number), colour(number + 1)]


@pytest.mark.parametrize(("kind", "shard"), [("parquet", parquet), ("webdataset", tar)])
def test_shards_in_linked_folders_are_prepared_once(
    tmp_path: Path, kind: str, shard: Callable[[Path, int], Path]
) -> None:
    assert public.prepare(kind, linked(tmp_path, shard), tmp_path / "out") == 0
    data = public.opened(tmp_path / "out")
    found = {split: read(data, split).captions for split in ("train", "val", "test")}
    assert found == {"train": ["0", "1"], "val": ["2", "3"], "test": ["4", "5"]}
    assert public.quarantine(tmp_path / "out") == []


def test_a_folder_is_read_under_its_own_name_where_a_link_leads_to_it_too(tmp_path: Path) -> None:
    (tmp_path / "zebra").mkdir()
    (tmp_path / "zebra" / "0.tar").touch()
    (tmp_path / "all").symlink_to(tmp_path / "zebra")
    (tmp_path / "beside").symlink_to(tmp_path / "zebra")
    assert files_below(tmp_path) == [tmp_path / "zebra" / "0.tar"]


def test_a_link_that_leads_nowhere_is_told(tmp_path: Path) -> None:
    (tmp_path / "train").symlink_to(tmp_path / "not mounted")
    with pytest.raises(DatasetError, match=r"train is a link that leads nowhere\. Mend or remove it\."):
        files_below(tmp_path)
