"""`python -m trainables.worker` in a process of its own: without ray and pydantic, and on a full disk."""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from spaces.owner import owned
from tests.house.tree import ROOT
from tests.unit.trainables.small import candidate_config, make_job
from trainables.training import checkpoint
from trainables.training.control import PlainControl, Row
from trainables.training.health import Diverged
from trainables.training.loop import train
from trainables.training.trainer import Trainer
from trainables.worker import main, out_place

WITHOUT_RAY = """
import runpy, sys
for name in ("ray", "pydantic"):
    sys.modules[name] = None  # importing it now fails
sys.argv = ["worker", *sys.argv[1:]]
runpy.run_module("trainables.worker", run_name="__main__")
"""


@contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    """Make this process's disk look full beyond `size` bytes a file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_trains_and_measures_where_ray_and_pydantic_cannot_be_imported(
    teacher_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out" / "deep"
    make_job(teacher_folder, tmp_path / "never", config=candidate_config(epochs=2)).write(
        tmp_path / "candidate.json"
    )
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_RAY, str(tmp_path / "candidate.json"), "--out", str(out)],
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert (done.returncode, done.stderr) == (0, "")
    printed = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(row["epoch"], row["status"]) for row in printed] == [(1, "running"), (2, "finished")]
    written = [json.loads(line) for line in (out / "rows.jsonl").read_text().splitlines()]
    assert written[1]["mean_recall"] == pytest.approx(printed[1]["mean_recall"], abs=1e-4)
    _, blueprint = checkpoint.load_model(out)
    assert blueprint.architecture.image.width == 16
    assert not (tmp_path / "never").exists(), "the folder of the reader counts"


class Stopped(BaseException):
    """Ends a training after its first epoch."""


class OneEpoch(PlainControl):
    """Takes one row and no more."""

    def report(self, row: Row) -> None:
        """End the training."""
        raise Stopped


def test_a_full_disk_keeps_the_previous_checkpoint_and_is_told_once(
    teacher_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = make_job(teacher_folder, tmp_path)
    with pytest.raises(Stopped):
        train(job, OneEpoch(quiet=True))
    job.write(tmp_path / "candidate.json")
    order = [str(tmp_path / "candidate.json"), "--out", str(tmp_path)]
    before, rows = (tmp_path / "checkpoint.pt").read_bytes(), (tmp_path / "rows.jsonl").read_text()
    for room in (len(before) // 2, 100_000, len(rows) + 500):
        with files_no_larger_than(room):
            assert main(order) == 2
        (message,) = capsys.readouterr().err.splitlines()
        assert message.startswith(
            f"error: {tmp_path / 'checkpoint.pt'}: cannot be written: a file may not grow"
        )
        assert message.endswith("The checkpoint before it is kept: the same candidate goes on from there.")
        assert (tmp_path / "checkpoint.pt").read_bytes() == before
        assert (tmp_path / "rows.jsonl").read_text() == rows
        files = {"best.pt", "candidate.json", "checkpoint.pt", "rows.jsonl"}
        assert {path.name for path in tmp_path.iterdir()} == files
    assert main(order) == 0, "with room again it goes on"


def test_rows_that_cannot_be_written_are_told(
    teacher_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_job(teacher_folder, tmp_path).write(tmp_path / "candidate.json")
    (tmp_path / "out" / "rows.jsonl").mkdir(parents=True)
    assert main([str(tmp_path / "candidate.json"), "--out", str(tmp_path / "out")]) == 2
    (message,) = capsys.readouterr().err.splitlines()
    assert "rows.jsonl: cannot be written: there is a folder of this name" in message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file"),
        ("", "no JSON"),
        ('{"candidate_id": "x"}', "missing fields"),
    ],
)
def test_a_bad_order_is_one_message_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None, message: str
) -> None:
    path = tmp_path / "candidate.json"
    if content is not None:
        path.write_text(content)
    assert main([str(path), "--out", str(tmp_path / "out")]) == 2
    output = capsys.readouterr()
    (line,) = output.err.splitlines()
    assert line.startswith("error: ")
    assert message in line
    assert output.out == ""
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"teacher": "nobody"}, "no plug-in is called 'nobody'"),
        ({"dataset": {"kind": "scenes", "train_images": 1}}, "dataset.train_images: got 1"),
        ({"config": candidate_config(epochs=2, colour=1)}, "training.colour: got an unknown option"),
        ({"config": candidate_config(epochs=2, batch_size=0)}, "training.batch_size: got 0; allowed"),
        ({"config": candidate_config(epochs=2, itm_negatives="studnet")}, "itm_negatives: got 'studnet'"),
        ({"config": candidate_config(epochs=0)}, "training.epochs: got 0; allowed"),
        ({"config": candidate_config(epochs=2) | {"losses": ["itc"]}}, "config.losses: got ['itc']"),
        (
            {"config": candidate_config(epochs=2) | {"losses": {"itc": {"weight": "a"}}}},
            "losses.itc.weight: got 'a'; allowed: a number",
        ),
        ({"evaluation": {"images": 0}}, "evaluation.images: got 0; allowed"),
        ({"teacher": None}, "teacher: got null; allowed is a text"),
        ({"seed": "1"}, "seed: got '1'; allowed: a whole number"),
        ({"seed": -1}, "seed: got -1; allowed"),
        ({"seed": 2**70}, "seed: got 1180591620717411303424; allowed"),
        ({"threads": 0}, "threads: got 0; allowed"),
        ({"threads": 10**9}, "Lower it: no machine has as many cores"),
        ({"patience": float("nan")}, "patience: got nan; allowed"),
        ({"teacher_metrics": {"mean_recall": "a"}}, "teacher_metrics.mean_recall: got 'a'"),
        ({"evaluation": {"images": True}}, "evaluation.images: got true; allowed is an integer"),
        ({"dataset": {"kind": None}}, "dataset.kind: got null; allowed is a text"),
        ({"dataset": {"kind": "scenes", "seed": "a"}}, "dataset.seed: got 'a'; allowed: a whole number"),
        ({"dataset": {"kind": "jsonl", "file": 5}}, "dataset.file: got 5; allowed: a text"),
        ({"config": candidate_config(epochs=2, lr="a")}, "training.lr: got 'a'; allowed: a number"),
        ({"config": candidate_config(epochs=2, lr=-1)}, "training.lr: got -1; allowed: a number above 0"),
        ({"config": candidate_config(epochs=2, warmup_steps=1.5)}, "training.warmup_steps: got 1.5; allowed"),
        ({"config": candidate_config(epochs=2) | {"blind": "no"}}, "config.blind: got 'no'; allowed is true"),
        ({"config": candidate_config(epochs=2) | {"losses": {"itc": None}}}, "config.losses.itc: got null"),
        ({"device": "abacus"}, "device: got 'abacus'"),
    ],
)
def test_an_order_that_cannot_be_carried_out_is_one_message_and_exit_code_2(
    teacher_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, object],
    message: str,
) -> None:
    replace(make_job(teacher_folder, tmp_path), **changes).write(tmp_path / "candidate.json")  # type: ignore[arg-type]
    assert main([str(tmp_path / "candidate.json"), "--out", str(tmp_path / "out")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert message in line


def test_a_training_goes_on_from_an_epoch_that_was_kept(
    teacher_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    order = [str(tmp_path / "candidate.json"), "--out", str(tmp_path / "out")]
    make_job(teacher_folder, tmp_path, checkpoints={"every_epoch": True}).write(tmp_path / "candidate.json")
    assert main(order) == 0
    first = [json.loads(line)["loss"] for line in (tmp_path / "out" / "rows.jsonl").read_text().splitlines()]
    (tmp_path / "out" / "checkpoint.pt").write_bytes(b"lost")
    assert main([*order, "--from-epoch", "2"]) == 0
    again = [json.loads(line)["loss"] for line in (tmp_path / "out" / "rows.jsonl").read_text().splitlines()]
    assert again == first
    assert main(order) == 0, "and the last one is there again"
    capsys.readouterr()
    assert main([*order, "--from-epoch", "9"]) == 2
    assert "keeps no checkpoint of epoch 9; kept: 1, 2, 3." in capsys.readouterr().err


@pytest.mark.parametrize("epoch", ["0", "-1", "1.5", "two", "", "\u00b2", "9" * 30])
def test_what_is_no_epoch_is_one_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], epoch: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([str(tmp_path / "candidate.json"), "--out", str(tmp_path), f"--from-epoch={epoch}"])
    assert ended.value.code == 2
    assert "allowed: the number of an epoch, 1 or more" in capsys.readouterr().err


def test_a_folder_that_cannot_be_made_is_one_message(
    teacher_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_job(teacher_folder, tmp_path).write(tmp_path / "candidate.json")
    assert main([str(tmp_path / "candidate.json"), "--out", str(tmp_path / "candidate.json")]) == 2
    assert "Give a folder that can be made" in capsys.readouterr().err


def test_a_run_whose_checkpoints_lie_on_another_disk_is_owned_as_any_other(tmp_path: Path) -> None:
    run, disk = tmp_path / "run", tmp_path / "disk"
    (disk / "0badcafe").mkdir(parents=True)
    run.mkdir()
    (run / "run.json").write_text("{}")
    (run / "checkpoints").symlink_to(disk)
    (tmp_path / "shortcut").symlink_to(run)
    assert out_place(run / "checkpoints/0badcafe").mark == run / "owner.json"
    assert out_place(tmp_path / "shortcut/new").mark.resolve() == run / "owner.json"
    assert out_place(disk).mark == disk / "owner.json"


@pytest.mark.parametrize("inside", [True, False], ids=["run", "out"])
def test_a_folder_in_which_another_process_works_is_refused_and_left_as_it_is(
    inside: bool, teacher_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_job(teacher_folder, tmp_path).write(tmp_path / "candidate.json")
    run = tmp_path / "run"
    out = run / "checkpoints" / "0badcafe"
    out.mkdir(parents=True)
    if inside:
        (run / "run.json").write_text("{}")
    with owned(out_place(out), say=print):
        assert main([str(tmp_path / "candidate.json"), "--out", str(out)]) == 2
        owner = run if inside else out
        assert (owner / "owner.json").exists()
        assert [one.name for one in out.iterdir()] == ([] if inside else ["owner.json"])
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        f"error: {'run folder' if inside else '--out'} {owner}: this process works in it already;"
    )


def test_a_training_that_ends_early_is_exit_code_1(
    teacher_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(self: object, epoch: int) -> dict[str, float]:
        raise Diverged("step 1: loss 'itc' is nan (no other loss); lr 1.0e-03")

    monkeypatch.setattr(Trainer, "run_epoch", broken)
    make_job(teacher_folder, tmp_path).write(tmp_path / "candidate.json")
    assert main([str(tmp_path / "candidate.json"), "--out", str(tmp_path / "out")]) == 1
    assert json.loads(capsys.readouterr().out)["status"] == "diverged"
