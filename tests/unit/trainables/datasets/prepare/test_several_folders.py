"""Several prepared folders as one training set: COCO with its splits, and what is only trained on beside it."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spaces.errors import DatasetError, PluginError
from tests.unit.trainables.datasets.formats.made_data import read
from tests.unit.trainables.datasets.prepare import public
from trainables.datasets.base import Dataset
from trainables.signals import CAPTION
from trainables.training.build import make_dataset


def mixed(*folders: Path, **options: Any) -> Dataset:
    return make_dataset({"kind": "prepared", "root": [str(one) for one in folders], **options})


def table(root: Path, first: int, count: int) -> Path:
    """Write a TSV of pictures, each of a number that no other has."""
    rows = [f"words of {n}\t{n}.jpg\n" for n in range(first, first + count)]
    for n in range(first, first + count):
        public.put(root / f"{n}.jpg", n)
    (root / "train.tsv").write_text("".join(rows))
    return root


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    assert public.prepare("coco", public.karpathy(tmp_path / "coco"), tmp_path / "out-coco") == 0
    return tmp_path / "out-coco"


@pytest.fixture
def cc(tmp_path: Path) -> Path:
    root = table(tmp_path / "cc", 20, 6)
    flags = ("--val-ratio", "0.2", "--test-ratio", "0")
    assert public.prepare("tsv", root, tmp_path / "out-cc", *flags) == 0
    return tmp_path / "out-cc"


@pytest.fixture
def sbu(tmp_path: Path) -> Path:
    root = table(tmp_path / "sbu", 40, 4)
    flags = ("--val-ratio", "0.25", "--test-ratio", "0")
    assert public.prepare("tsv", root, tmp_path / "out-sbu", *flags) == 0
    return tmp_path / "out-sbu"


def test_all_are_trained_on_and_the_first_alone_is_held_out(coco: Path, cc: Path, sbu: Path) -> None:
    alone = {
        path: read(make_dataset({"kind": "prepared", "root": str(path)}), "train") for path in (coco, cc, sbu)
    }
    data = mixed(coco, cc, sbu)
    train = read(data, "train")
    assert train.captions == [text for one in alone.values() for text in one.captions]
    assert np.array_equal(train.pixels, np.concatenate([one.pixels for one in alone.values()]))
    before = 0
    for one in alone.values():
        rows = slice(before, before + len(one.captions))
        images = train.caption_images[rows]
        told = [train.pixels[image] for image in images]
        assert np.array_equal(told, [one.pixels[image] for image in one.caption_images])
        before += len(one.captions)
    for name in ("val", "test"):
        own = read(make_dataset({"kind": "prepared", "root": str(coco)}), name)
        assert read(data, name).captions == own.captions
        assert np.array_equal(read(data, name).pixels, own.pixels)
    assert data.kinds == {"picture", CAPTION}
    assert data.num_images == sum(len(read(data, name).pixels) for name in ("train", "val", "test"))


def test_counts_of_each_source_are_told_and_what_is_not_used(coco: Path, cc: Path, sbu: Path) -> None:
    data = mixed(coco, cc, sbu)
    line = data.describe()
    assert (
        "out-coco (coco; 4 images, 21 captions) + out-cc (tsv; 5 images, 5 captions) + out-sbu (tsv; 3"
        in line
    )
    assert "12 images with 29 captions to train on; 2 to validate on, 2 to test on" in line
    told = "\n".join(data.remarks())
    assert "out-cc: of its pictures 1 to validate on are not used: out-coco alone is held out" in told
    assert "out-sbu: of its pictures 1 to validate on are not used" in told


def test_the_fingerprint_hangs_on_all_of_them_and_on_their_order(coco: Path, cc: Path, sbu: Path) -> None:
    one = make_dataset({"kind": "prepared", "root": str(coco)})
    listed = mixed(coco)
    assert listed.fingerprint == one.fingerprint, "a list of one is that one"
    found = {
        mixed(*some).fingerprint
        for some in ((coco,), (coco, cc), (coco, sbu), (coco, cc, sbu), (coco, sbu, cc))
    }
    assert len(found) == 5
    moved = cc.rename(cc.with_name("elsewhere"))
    assert mixed(coco, moved).fingerprint in found


def test_pictures_decoded_at_each_look_are_the_same(coco: Path, cc: Path) -> None:
    mapped, live = mixed(coco, cc), mixed(coco, cc, pixels="live", workers=0)
    rows = np.array([8, 0, 5])
    assert np.array_equal(read(live, "train").pixels[rows], read(mapped, "train").pixels[rows])


def test_a_held_out_picture_that_another_source_trains_on_is_told(coco: Path, tmp_path: Path) -> None:
    """Visual Genome has pictures of COCO: number 4 is one to validate."""
    root = table(tmp_path / "vg", 4, 8)
    assert public.prepare("tsv", root, tmp_path / "out-vg", "--val-ratio", "0.2", "--test-ratio", "0") == 0
    told = "\n".join(mixed(coco, tmp_path / "out-vg").remarks())
    assert "byte for byte in an earlier split" in told


def test_statements_keep_their_pictures(tmp_path: Path, cc: Path) -> None:
    rows = [
        {"sentence": f"said {n}", "label": "True", "identifier": f"train-{n}-0-0", "directory": 1}
        for n in range(2)
    ]
    for split, told in (("train", rows), ("dev", [{**rows[0], "identifier": "dev-7-0-0"}])):
        path = tmp_path / "nlvr2" / "data" / f"{split}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(one) + "\n" for one in told))
        for one in told:
            stem = one["identifier"].rpartition("-")[0]
            folder = tmp_path / "nlvr2" / "images" / ("train/1" if split == "train" else "dev")
            for side in (0, 1):
                public.put(
                    folder / f"{stem}-img{side}.png",
                    100 + 10 * len(stem) + 2 * int(stem.split("-")[1]) + side,
                )
    assert public.prepare("nlvr2", tmp_path / "nlvr2", tmp_path / "out-nlvr2") == 0
    one = read(make_dataset({"kind": "prepared", "root": str(tmp_path / "out-nlvr2")}), "train")
    both = read(mixed(tmp_path / "out-nlvr2", cc), "train")
    other = read(mixed(cc, tmp_path / "out-nlvr2"), "train")
    assert both.statements.texts == one.statements.texts == other.statements.texts
    shown = one.pixels[one.statements.images]
    assert np.array_equal(both.pixels[both.statements.images], shown)
    assert np.array_equal(other.pixels[other.statements.images], shown)


@pytest.mark.parametrize(
    ("root", "message"),
    [
        ([], r"dataset.root: got \[\]; allowed: a folder, or a list of them"),
        ([3], r"dataset.root: got \[3\]; allowed: a folder, or a list of them"),
        (7, r"dataset.root: got 7; allowed: a folder, or a list of them"),
        ("", r"dataset.root: got ''; allowed: a folder"),
        ([" "], r"dataset.root: got ' '; allowed: a folder"),
    ],
)
def test_what_is_no_list_of_folders_is_refused(root: Any, message: str) -> None:
    with pytest.raises((DatasetError, PluginError), match=message):
        make_dataset({"kind": "prepared", "root": root})


def test_a_folder_twice_and_one_that_is_none_are_refused_by_name(coco: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(coco, tmp_path / "copy"))
    for again in (coco, coco / ".." / coco.name, copy):
        with pytest.raises(DatasetError, match=f"got {coco} and {again}, which hold the same"):
            mixed(coco, again)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match=rf"{tmp_path / 'empty'}: holds no prepared.json"):
        mixed(coco, tmp_path / "empty")


def test_what_is_only_trained_on_goes_behind_what_is_held_out(coco: Path, tmp_path: Path) -> None:
    root, out = table(tmp_path / "cc", 20, 6), tmp_path / "out-cc"
    assert public.prepare("tsv", root, out, "--val-ratio", "0", "--test-ratio", "0") == 0
    assert len(read(mixed(coco, out), "train").pixels) == 4 + 6
    with pytest.raises(DatasetError, match=r"no pictures to validate on.*name another folder first"):
        assert mixed(out).kinds
