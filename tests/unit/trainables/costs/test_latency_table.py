"""The table of block times: measured once for all students and processes, kept per target, made again where it is damaged."""

import json
import multiprocessing
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.unit.trainables.costs.subjects import ALL, SMALL, subject_of
from trainables.costs import latency as latencies
from trainables.costs import samples as samples_module
from trainables.costs import table as tables
from trainables.costs.blocks import TimedPass, blocks_of, different
from trainables.costs.latency import FEWEST, LOW
from trainables.costs.samples import KEPT, SampleStore
from trainables.costs.table import LatencyTable
from trainables.costs.target import Target

SUBJECT = subject_of(SMALL, "retrieval")
BLOCKS = different(blocks_of(SUBJECT))
DEEPER = subject_of(replace(SMALL, image=replace(SMALL.image, depth=5)), "retrieval")


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The blocks of each measurement; a time is its place in the order of the measurements, in ms."""
    found: list[list[str]] = []

    def timed(passes: list[TimedPass], target: Target, *, rounds: int) -> dict[str, list[float]]:
        found.append([one.mode for one in passes])
        return {one.digest: [float(len(found))] * rounds for one in passes}

    monkeypatch.setattr(tables, "timed", timed)
    return found


@pytest.fixture
def said() -> list[str]:
    return []


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("latency-*/*.json") if path.name != "target.json")


def test_a_block_is_measured_once_for_all_students_and_processes(
    tmp_path: Path, measured: list[list[str]]
) -> None:
    table = LatencyTable(tmp_path, Target())
    assert table.known(SUBJECT) is None
    first = table.latency(SUBJECT)
    assert measured == [["image.ends", "image.layer", "text.ends", "text.layer"]]
    assert first.composed
    assert first.samples == latencies.ROUNDS
    assert LatencyTable(tmp_path, Target()).known(SUBJECT) == first
    deeper = LatencyTable(tmp_path, Target()).known(DEEPER)
    assert deeper is not None
    assert deeper.latency_ms - first.latency_ms == pytest.approx(4 * 1.0)
    other = subject_of(replace(SMALL, embedding=8), "retrieval")
    table.measure([SUBJECT, other, DEEPER])
    assert measured[1:] == [["image.ends", "text.ends"]]  # what of it nobody has measured yet
    table.measure([SUBJECT, other, DEEPER])
    assert len(measured) == 2


def test_more_rounds_add_samples_of_every_block_and_move_the_value(
    tmp_path: Path, measured: list[list[str]]
) -> None:
    table = LatencyTable(tmp_path, Target())
    table.measure([SUBJECT], rounds=10)
    assert table.known(SUBJECT) is None  # too few
    table.measure([SUBJECT], rounds=30)
    table.measure([DEEPER, SUBJECT], rounds=20)
    assert [len(blocks) for blocks in measured] == [4, 4, 4]
    found = table.known(SUBJECT)
    assert found is not None
    assert found.samples == 60
    times = [1.0] * 10 + [2.0] * 30 + [3.0] * 20
    assert found.latency_ms == pytest.approx((1 + 1 + 1 + 2) * np.percentile(times, LOW))


def test_another_target_machine_or_version_is_another_table(
    tmp_path: Path, measured: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    LatencyTable(tmp_path, Target()).latency(SUBJECT)
    assert LatencyTable(tmp_path, Target(batch=2)).known(SUBJECT) is None
    assert LatencyTable(tmp_path, Target(dtype="bfloat16")).known(SUBJECT) is None
    with monkeypatch.context() as patch:
        patch.setattr(tables, "device_name", lambda device: "another machine")
        assert LatencyTable(tmp_path, Target()).known(SUBJECT) is None
    with monkeypatch.context() as patch:
        patch.setattr(torch, "__version__", "99.0")
        assert LatencyTable(tmp_path, Target()).known(SUBJECT) is None
    with monkeypatch.context() as patch:
        patch.setattr(samples_module, "VERSION", samples_module.VERSION + 1)
        assert LatencyTable(tmp_path, Target()).known(SUBJECT) is None
    assert LatencyTable(tmp_path, Target()).known(SUBJECT) is not None


def test_a_folder_tells_its_target_and_a_file_its_block(tmp_path: Path, measured: list[list[str]]) -> None:
    LatencyTable(tmp_path, Target()).latency(SUBJECT)
    (folder,) = tmp_path.iterdir()
    told = json.loads((folder / "target.json").read_text())
    assert told.items() >= Target().to_dict().items()
    assert told["hardware"]
    blocks = [json.loads(path.read_text())["block"] for path in files(tmp_path)]
    assert sorted(one["mode"] for one in blocks) == ["image.ends", "image.layer", "text.ends", "text.layer"]
    assert all(one["model"]["family"] == "blip" for one in blocks)


@pytest.mark.parametrize(
    "damage",
    [
        "",
        "{",
        "[]",
        "torn",
        "bits",
        '{"block": {}, "ms": [1.0]}',
        "nan",
        "negative",
        "words",
        "empty",
        "deep",
    ],
)
def test_a_damaged_file_is_told_taken_away_and_measured_again(
    tmp_path: Path, measured: list[list[str]], said: list[str], damage: str
) -> None:
    LatencyTable(tmp_path, Target()).latency(SUBJECT)
    path = next(one for one in files(tmp_path) if "image.layer" in one.read_text())
    whole = path.read_text()
    fields = json.loads(whole)
    values = {"nan": [1.0, float("nan")], "negative": [-1.0], "words": ["1.0"], "empty": []}
    if damage in values:
        path.write_text(json.dumps({**fields, "ms": values[damage]}))
    elif damage == "bits":
        path.write_bytes(b"\xff\xfe" + whole.encode()[2:])
    else:
        path.write_text({"torn": whole[:-20], "deep": "[" * 10**5}.get(damage, damage))
    table = LatencyTable(tmp_path, Target(), said.append)  # of another process
    again = table.latency(SUBJECT)
    assert table.latency(SUBJECT) == again == LatencyTable(tmp_path, Target()).latency(SUBJECT)
    assert measured[1:] == [["image.layer"]]
    assert again.modes == {"image": 1.0 + 2.0, "text": 3.0}
    (line,) = said
    assert str(path) in line
    assert line.startswith("latency: ")
    assert line.endswith("Measured again.")
    assert not path.exists()


def test_times_that_cannot_be_kept_are_said_once_and_used(
    tmp_path: Path, measured: list[list[str]], said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("spaces.files.os.open", refuse)
    table = LatencyTable(tmp_path, Target(), said.append)
    first = table.latency(SUBJECT)
    assert table.latency(DEEPER).latency_ms > first.latency_ms
    assert len(measured) == 1
    (line,) = said
    assert line.startswith("latency: measured, but not kept for the next time: ")
    assert "read-only file system" in line
    assert not files(tmp_path)


def test_a_folder_that_may_not_be_read_is_said_once_and_what_was_measured_is_used(
    tmp_path: Path, measured: list[list[str]], said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    table = LatencyTable(tmp_path, Target(), said.append)
    monkeypatch.setattr(samples_module.os, "scandir", refuse)
    assert table.latency(SUBJECT) == table.latency(SUBJECT)
    assert len(measured) == 1
    (line,) = said
    assert line.startswith(f"latency: {table._samples.folder}: cannot be read: ")


def test_a_block_keeps_a_bounded_number_of_files_the_newest(tmp_path: Path) -> None:
    store, other = SampleStore(tmp_path, {}, print), SampleStore(tmp_path, {}, print)
    for number in range(KEPT + 5):
        store.add(BLOCKS[0], [float(number + 1)])
        for age, path in enumerate(reversed(store._paths(BLOCKS[0]))):  # the clock of files may be coarse
            stamp = 10**18 - age * 10**9
            os.utime(path, ns=(stamp, stamp))
    assert other.read(BLOCKS[0]) == [float(number + 1) for number in range(5, KEPT + 5)]
    assert other.read(BLOCKS[1]) == []


def add_often(folder: Path, time: float) -> None:
    """Add times of all blocks, block by block."""
    store = SampleStore(folder, {}, print)
    for _ in range(3):
        for block in BLOCKS:
            store.add(block, [time] * 10)


def test_several_processes_may_add_at_once(tmp_path: Path) -> None:
    fork = multiprocessing.get_context(
        "fork"
    )  # what it does is files alone; another start imports torch, for a minute
    others = [fork.Process(target=add_often, args=(tmp_path, time)) for time in (1.0, 2.0)]
    for one in others:
        one.start()
    for one in others:
        one.join(300)
    assert [one.exitcode for one in others] == [0, 0]
    store = SampleStore(tmp_path, {}, print)
    for block in BLOCKS:
        assert sorted(store.read(block)) == [1.0] * 30 + [2.0] * 30


def test_a_real_measurement_fills_the_table_and_a_deeper_student_takes_longer(tmp_path: Path) -> None:
    table = LatencyTable(tmp_path, Target())
    subject = subject_of(SMALL, *ALL)
    table.measure([subject], rounds=FEWEST)
    found = table.known(subject)
    assert found is not None
    assert found.samples == FEWEST
    assert set(found.modes) == {"answer", "decoder", "fused", "image", "text"}
    deeper = table.known(subject_of(replace(SMALL, image=replace(SMALL.image, depth=9)), *ALL))
    assert deeper is not None
    assert deeper.modes["image"] > 2 * found.modes["image"]
    assert deeper.modes["text"] == found.modes["text"]
