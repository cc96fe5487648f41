"""A preparation that was killed goes on; its result is that of one that was not, for any number of workers and shards."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.house.tree import ROOT
from tests.unit.trainables.datasets.formats.made_data import read
from tests.unit.trainables.datasets.prepare import public
from trainables.datasets.prepare import work
from trainables.datasets.prepare.form import SHARDS
from trainables.datasets.prepare.making import Order, make_shard

PATIENCE_S = 240.0


def many(root: Path, count: int = 40) -> Path:
    root.mkdir(parents=True)
    lines = []
    for number in range(count):
        (root / f"{number}.jpg").write_bytes(b"" if number == 5 else public.jpeg(number))
        lines.append(f"picture {number}\t{number}.jpg\n")
    (root / "pairs.tsv").write_text("".join(lines))
    return root / "pairs.tsv"


def bytes_of(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((out / SHARDS).iterdir())}


def test_the_fingerprint_hangs_on_neither_workers_nor_shards(tmp_path: Path) -> None:
    root = many(tmp_path / "own")
    assert public.prepare("tsv", root, tmp_path / "one") == 0
    assert public.prepare("tsv", root, tmp_path / "two", "--workers", "2", "--shard-pictures", "7") == 0
    one, two = public.manifest(tmp_path / "one"), public.manifest(tmp_path / "two")
    assert len(one["shards"]) == 3
    assert len(two["shards"]) == 7  # 32 pictures to train on in 5 shards, 4 to validate, 4 to test
    assert {name: one[name] for name in one if name != "shards"} == {
        name: two[name] for name in two if name != "shards"
    }
    assert public.opened(tmp_path / "one").fingerprint == public.opened(tmp_path / "two").fingerprint
    for name in ("train", "val", "test"):
        ours, theirs = (read(public.opened(tmp_path / place), name) for place in ("one", "two"))
        assert ours.captions == theirs.captions
        assert (ours.pixels == theirs.pixels).all()


def test_the_fingerprint_hangs_on_pictures_texts_and_how_texts_are_read(tmp_path: Path) -> None:
    found = []
    for number in range(3):
        root = many(tmp_path / f"own{number}")
        if number == 1:
            (root.parent / "3.jpg").write_bytes(public.jpeg(77))
        if number == 2:
            root.write_text(root.read_text().replace("picture 3", "picture 03"))
        assert public.prepare("tsv", root, tmp_path / f"out{number}") == 0
        found.append(public.opened(tmp_path / f"out{number}").fingerprint)
    found.append(public.opened(tmp_path / "out0", text="plain").fingerprint)
    assert len(set(found)) == 4


def test_what_is_done_is_not_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, made = many(tmp_path / "own"), list[str]()

    def stopped(order: Order) -> object:
        if len(made) == 3:
            raise KeyboardInterrupt
        made.append(order.name)
        return make_shard(order)

    monkeypatch.setattr(work, "make_shard", stopped)
    flags = ("--shard-pictures", "7")
    assert public.prepare("tsv", root, tmp_path / "out", *flags) == 130
    first, made[:] = list(made), []
    monkeypatch.setattr(work, "make_shard", lambda order: (made.append(order.name), make_shard(order))[1])
    assert public.prepare("tsv", root, tmp_path / "out", *flags) == 0
    assert (len(first), len(made), set(first) & set(made)) == (3, 4, set())
    made[:] = []
    assert public.prepare("tsv", root, tmp_path / "out", *flags) == 0
    assert made == []


STUCK = """
import pathlib, sys, time
from trainables.datasets.prepare import __main__ as command, making
sound, seen = making.checked, []
def checked(content, longest_side):
    seen.append(content)
    if len(seen) == 10:  # the second picture of the fourth shard, since an empty file is not looked at
        pathlib.Path(sys.argv[1]).touch()
        time.sleep(3600)
    return sound(content, longest_side)
making.checked = checked
command.main(sys.argv[2:])
"""


def test_killed_in_the_middle_of_a_shard_it_goes_on_to_the_same_result(tmp_path: Path) -> None:
    root, out, stuck = many(tmp_path / "own", 30), tmp_path / "out", tmp_path / "stuck"
    words = f"--kind tsv --root {root} --shard-pictures 3 --workers 1 --out {out}".split()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    killed = subprocess.Popen([sys.executable, "-c", STUCK, str(stuck), *words], cwd=ROOT, env=environment)
    deadline = time.monotonic() + PATIENCE_S
    while not stuck.exists():
        assert killed.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    done = {path.name: path.stat().st_mtime_ns for path in (out / SHARDS).glob("t*.arrow")}
    assert sorted(done) == [f"train-0000{number}.arrow" for number in range(3)]
    assert public.prepare("tsv", root, out, "--shard-pictures", "3") == 0
    assert public.prepare("tsv", root, tmp_path / "whole", "--shard-pictures", "3") == 0
    assert public.manifest(out) == public.manifest(tmp_path / "whole")
    assert public.quarantine(out) == public.quarantine(tmp_path / "whole")
    assert bytes_of(out) == bytes_of(tmp_path / "whole"), "and the draft of the killed process is gone"
    now = {path.name: path.stat().st_mtime_ns for path in (out / SHARDS).glob("*.arrow")}
    assert all(now[name] == when for name, when in done.items())


def test_another_preparation_into_the_same_folder_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = many(tmp_path / "own")
    assert public.prepare("tsv", root, tmp_path / "out") == 0
    assert public.prepare("tsv", root, tmp_path / "out", "--seed", "4") == 2
    assert "holds another preparation (seed: None, now 4)" in capsys.readouterr().err
    root.write_text(root.read_text() + "one more\t1.jpg\n")
    assert public.prepare("tsv", root, tmp_path / "out") == 2
    assert "was begun with another" in capsys.readouterr().err
