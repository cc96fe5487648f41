"""What is kept beside the last checkpoint: the best weights, every epoch's state; and what a row tells of its training."""

import gc
import json
import math
import mmap
from pathlib import Path
from typing import Any

import pytest
import torch

from spaces.errors import CheckpointError, PluginError, RunError
from tests.unit.trainables.small import candidate_config, encoded, make_job, measured
from tests.unit.trainables.training.test_loop import assert_equal, run, saved, timeless
from trainables.tasks.pool import EvaluationSize
from trainables.teachers.teacher import Teacher
from trainables.training import checkpoint
from trainables.training.control import PlainControl, Row
from trainables.training.health import flat_metrics
from trainables.training.job import Job
from trainables.training.loop import TrialLoop, train
from trainables.training.memory import PeakMemory, keep_freed_memory
from trainables.training.trainer import Trainer

EVERY = {"every_epoch": True}
SIZE = EvaluationSize(images=16, captions_per_image=1, questions_per_image=2)


@pytest.fixture(scope="module")
def kept(teacher_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A candidate of three epochs, all measured and all kept."""
    folder = tmp_path_factory.mktemp("kept")
    run(make_job(teacher_folder, folder, checkpoints=EVERY, evaluate_at=(1, 2, 3)))
    return folder


def rows_of(folder: Path) -> list[Row]:
    return [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]


def copied(kept: Path, folder: Path) -> Path:
    for file in kept.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_a_training_goes_on_from_any_kept_epoch_bit_for_bit(
    teacher_folder: Path, kept: Path, tmp_path: Path, epoch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, trained, original = copied(kept, tmp_path), list[int](), Trainer.run_epoch

    def noted(self: Trainer, number: int) -> dict[str, float]:
        trained.append(number + 1)
        return original(self, number)

    monkeypatch.setattr(Trainer, "run_epoch", noted)
    control = PlainControl(quiet=True)
    job = make_job(teacher_folder, folder, checkpoints=EVERY, evaluate_at=(1, 2, 3))
    train(job, control, from_epoch=epoch)
    assert trained == list(range(epoch + 1, 4))
    assert timeless(control.rows) == timeless(rows_of(kept)) == timeless(rows_of(folder))
    assert_equal(saved(folder), saved(kept))
    mine, theirs = (checkpoint.load_epoch(one, 3) for one in (folder, kept))
    for part in ("trainer", "random"):  # optimiser and generators, too, which the finished one lacks
        assert_equal(mine[part], theirs[part])
    assert checkpoint.kept_epochs(folder) == [1, 2, 3]


def test_a_finished_training_keeps_weights_alone_and_tells_its_rows_again(
    teacher_folder: Path, kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copied(kept, tmp_path)
    state = checkpoint.load(folder)
    assert state is not None
    assert checkpoint.is_weights_alone(state)
    monkeypatch.setattr(Trainer, "run_epoch", lambda *_: pytest.fail("it was through"))
    control = PlainControl(quiet=True)
    train(make_job(teacher_folder, folder, checkpoints=EVERY, evaluate_at=(1, 2, 3)), control)
    assert control.rows == rows_of(kept) == rows_of(folder)


def test_nobody_goes_on_from_weights_alone(teacher_folder: Path, kept: Path, tmp_path: Path) -> None:
    folder = copied(kept, tmp_path)
    checkpoint.save(folder, checkpoint.load_epoch(kept, 2))  # where the search stopped it
    checkpoint.keep_weights_alone(folder)
    job = make_job(teacher_folder, folder, checkpoints=EVERY, evaluate_at=(1, 2, 3))
    with pytest.raises(
        CheckpointError,
        match=r"holds weights after epoch 2 alone: .* --out NEW; or go on after .* \(1, 2, 3\) with --from-epoch",
    ):
        train(job, PlainControl(quiet=True))
    (folder / checkpoint.epoch_file(3)).unlink()
    train(job, PlainControl(quiet=True), from_epoch=2)
    assert_equal(saved(folder), saved(kept))


def test_a_candidate_whose_weights_went_is_had_again_in_its_own_folder(
    teacher_folder: Path, kept: Path, tmp_path: Path
) -> None:
    folder = copied(kept, tmp_path)
    checkpoint.remove(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["rows.jsonl"]
    job = make_job(teacher_folder, folder, evaluate_at=(1, 2, 3))
    with pytest.raises(CheckpointError, match="keeps no checkpoint of epoch 2; kept: none"):
        train(job, PlainControl(quiet=True), from_epoch=2)
    train(job, PlainControl(quiet=True))
    assert timeless(rows_of(folder)) == timeless(rows_of(kept))
    assert_equal(saved(folder), saved(kept))


def test_an_epoch_that_is_not_kept_is_told_with_those_that_are(
    teacher_folder: Path, kept: Path, tmp_path: Path
) -> None:
    job = make_job(teacher_folder, kept, checkpoints=EVERY)
    with pytest.raises(
        CheckpointError, match=r"keeps no checkpoint of epoch 7; kept: 1, 2, 3\. Go on from one"
    ):
        train(job, PlainControl(quiet=True), from_epoch=7)
    with pytest.raises(CheckpointError, match=r"epoch 1; kept: none.*every_epoch: true keeps all"):
        train(make_job(teacher_folder, tmp_path), PlainControl(quiet=True), from_epoch=1)
    other = make_job(teacher_folder, kept, candidate_id="11111111")
    with pytest.raises(
        CheckpointError, match=r"epoch-00002\.pt: belongs to candidate 0badcafe, this is 11111111"
    ):
        train(other, PlainControl(quiet=True), from_epoch=2)
    (tmp_path / "epoch-00001.pt").write_bytes(b"half")
    with pytest.raises(CheckpointError, match=r"epoch-00001\.pt: damaged"):
        train(make_job(teacher_folder, tmp_path), PlainControl(quiet=True), from_epoch=1)


def test_the_best_weights_are_those_of_the_epoch_that_the_row_names(teacher: Teacher, kept: Path) -> None:
    rows = rows_of(kept)
    for row, before in zip(rows, ([], rows[:1], rows[:2]), strict=True):
        best = max([*before, row], key=lambda one: one["retention"])["epoch"]
        assert row["best_epoch"] == best
    student, _ = checkpoint.load_model(kept, name=checkpoint.BEST)
    found = measured(student, encoded(teacher, "val"), SIZE)
    best_row = rows[rows[-1]["best_epoch"] - 1]
    assert {name: best_row[name] for name in found} == found
    whole = (kept / checkpoint.epoch_file(rows[-1]["epoch"])).stat().st_size
    assert (kept / checkpoint.BEST).stat().st_size < 0.6 * whole
    assert (kept / checkpoint.FILE).stat().st_size < 0.6 * whole, "nobody goes on from the last epoch"


@pytest.mark.parametrize(
    ("values", "best"), [((3.0, 7.0, 5.0), 2), ((7.0, 7.0, 7.0), 1), ((math.nan, 0.0, 1.0), 3)]
)
def test_a_worse_epoch_leaves_the_best_one_alone(
    teacher_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    values: tuple[float, ...],
    best: int,
) -> None:
    told = iter(values)
    monkeypatch.setattr(TrialLoop, "_metrics", lambda self: {"retention": next(told)})
    rows = run(make_job(teacher_folder, tmp_path, evaluate_at=(1, 2, 3), checkpoints=EVERY))
    assert rows[-1]["best_epoch"] == best
    mine = checkpoint.load(tmp_path, checkpoint.BEST)
    assert mine is not None
    assert_equal(mine["trainer"]["step"], checkpoint.load_epoch(tmp_path, best)["trainer"]["step"])


def test_nothing_but_the_last_one_is_kept_where_a_job_says_so(teacher_folder: Path, tmp_path: Path) -> None:
    run(
        make_job(
            teacher_folder, tmp_path, config=candidate_config(epochs=1), checkpoints={"keep_best": False}
        )
    )
    assert {file.name for file in tmp_path.glob("*.pt")} == {checkpoint.FILE}


def test_a_job_may_say_nothing_else_of_checkpoints(teacher_folder: Path, tmp_path: Path) -> None:
    fields: dict[str, Any] = make_job(teacher_folder, tmp_path).to_dict()
    with pytest.raises(RunError, match=r"checkpoints\.every_epoch: got 1; allowed is true or false"):
        Job.from_dict(fields | {"checkpoints": {"every_epoch": 1}})
    with pytest.raises(
        PluginError, match=r"checkpoints\.each: got an unknown option; allowed: every_epoch, keep_best"
    ):
        run(make_job(teacher_folder, tmp_path, checkpoints={"each": True}))


def test_rows_tell_the_time_of_an_epoch_without_its_evaluation_and_the_peak_of_memory(kept: Path) -> None:
    rows = rows_of(kept)
    assert sum(row["epoch_s"] for row in rows) < rows[-1]["wall_s"]
    peaks = [row["peak_mib"] for row in rows]
    assert peaks == sorted(peaks)
    assert 50 < peaks[0] < 1e6


def test_what_a_trial_before_has_freed_is_no_memory_of_the_next_one() -> None:
    keep_freed_memory()
    gc.collect()
    held = [torch.ones(2**18) for _ in range(192)]  # 1 MiB each, less than stays with the process
    most = PeakMemory(torch.device("cpu")).mib()
    held.clear()
    assert PeakMemory(torch.device("cpu")).mib() < most - 96


def test_memory_is_counted_from_where_a_trial_begins() -> None:
    gc.collect()  # what other tests have left, and may be given back between two looks
    memory = PeakMemory(torch.device("cpu"))
    before = memory.mib()
    with mmap.mmap(-1, 256 * 2**20) as held:  # of the kernel, as what is freed may stay with the process
        for page in range(0, len(held), mmap.PAGESIZE):
            held[page] = 1
        grown = memory.mib()
    assert grown > before
    assert PeakMemory(torch.device("cpu")).mib() <= grown + 1


def test_a_training_that_moves_nothing_is_told(teacher_folder: Path, tmp_path: Path) -> None:
    config = candidate_config(lr=1e-30, weight_decay=0.0)
    row = run(
        make_job(
            teacher_folder, tmp_path, config=config, evaluate_at=(1, 2), tasks={"vqa": {}, "retrieval": {}}
        )
    )[-1]
    assert row["status"] == "finished"
    assert (
        f"metric mean_recall was {row['mean_recall']:.2f} in all of its 3 measurements: nothing was learned"
        in row["reason"]
    )
    assert rows_of(tmp_path)[-1]["reason"] == row["reason"]


TOP = [("top1", ("top1", "top5"))]


@pytest.mark.parametrize(
    ("top1", "top5", "flat"),
    [
        ([20.04, 20.04], [51.0, 51.0], True),  # as a published row
        ([20.04, 20.04], [51.0, 52.0], False),  # two equal figures may be chance
        ([20.04, 20.04, 20.04], [51.0, 52.0, 51.0], True),
        ([20.04, 20.04, 20.05], [51.0, 51.0, 51.0], False),
        ([20.04], [51.0], False),
        ([100.0, 100.0], [100.0, 100.0], False),
        ([0.0, 0.0], [0.0, 0.0], True),
    ],
)
def test_a_metric_is_flat_where_it_never_moves(top1: list[float], top5: list[float], flat: bool) -> None:
    rows = [{"loss": 1.0}, *({"top1": a, "top5": b} for a, b in zip(top1, top5, strict=True))]
    found = flat_metrics(rows, TOP)
    assert bool(found) == flat
    if flat:
        assert found == [
            f"metric top1 was {top1[0]:.2f} in all of its {len(top1)} measurements: nothing was learned"
        ]
    assert flat_metrics(rows, [("mean_recall", ("mean_recall",))]) == []
    assert not math.isnan(top1[0])
