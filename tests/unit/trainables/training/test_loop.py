"""One candidate's training: resumed bit for bit, told row by row, ended early for stated reasons."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from spaces.errors import CheckpointError, InputsChanged, PluginError, ResourceError, TeacherError
from tests.unit.trainables.small import candidate_config, changed, encoded, make_job, measured, silent
from trainables.datasets.encoded import EncodedSplit
from trainables.signals import Want
from trainables.tasks.pool import EvaluationSize
from trainables.teachers.cache.fill import build_cache
from trainables.teachers.teacher import Teacher
from trainables.training import checkpoint
from trainables.training.control import PlainControl, Row
from trainables.training.device import pick_device
from trainables.training.job import Job
from trainables.training.loop import TrialLoop, train
from trainables.training.trainer import Trainer

TIMES = ("wall_s", "cpu_s", "peak_mib", "epoch_s", "time")


class Killed(BaseException):
    """Ends a training as a signal would: nothing catches it."""


class KilledAfter(PlainControl):
    """Takes the rows of some epochs and then dies."""

    def __init__(self, epoch: int) -> None:
        super().__init__(quiet=True)
        self.epoch = epoch

    def report(self, row: Row) -> None:
        """Keep the row, or die of it."""
        super().report(row)
        if row["epoch"] == self.epoch:
            raise Killed


def run(job: Job) -> list[Row]:
    control = PlainControl(quiet=True)
    train(job, control)
    return control.rows


def timeless(rows: list[Row]) -> list[Row]:
    return [{name: value for name, value in row.items() if name not in TIMES} for row in rows]


def saved(folder: Path) -> dict[str, Any]:
    state = checkpoint.load(folder)
    assert state is not None
    state["progress"] = (
        state["progress"] | {"rows": timeless(state["progress"]["rows"])} | dict.fromkeys(TIMES[:3])
    )
    return state


def assert_equal(mine: Any, theirs: Any, path: str = "") -> None:
    """Compare nested states bit for bit."""
    if isinstance(mine, torch.Tensor):
        assert torch.equal(mine, theirs), path
    elif isinstance(mine, dict):
        assert set(mine) == set(theirs), path
        for key, value in mine.items():
            assert_equal(value, theirs[key], f"{path}.{key}")
    elif isinstance(mine, list | tuple):
        assert len(mine) == len(theirs), path
        for number, (a, b) in enumerate(zip(mine, theirs, strict=True)):
            assert_equal(a, b, f"{path}[{number}]")
    elif hasattr(mine, "tolist"):
        assert mine.tolist() == theirs.tolist(), path
    else:
        assert mine == theirs, path


@pytest.fixture(scope="module")
def straight(teacher_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a candidate was trained to its end without interruption."""
    folder = tmp_path_factory.mktemp("straight")
    run(make_job(teacher_folder, folder))
    return folder


@pytest.fixture(scope="module")
def finished(straight: Path) -> list[Row]:
    return [json.loads(line) for line in (straight / "rows.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("epoch", [1, 2])
def test_killed_and_resumed_equals_uninterrupted(
    teacher_folder: Path, straight: Path, finished: list[Row], tmp_path: Path, epoch: int
) -> None:
    job = make_job(teacher_folder, tmp_path)
    with pytest.raises(Killed):
        train(job, KilledAfter(epoch))
    torch.manual_seed(999)  # whatever happens between the two
    rows = run(job)
    assert timeless(rows) == timeless(finished)
    assert_equal(saved(tmp_path), saved(straight))
    assert timeless(
        [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    ) == timeless(rows)


@pytest.mark.parametrize("batch", [0, 4])
def test_killed_inside_an_epoch_repeats_that_epoch_alone(
    teacher_folder: Path, straight: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    original = Trainer._backward

    def dying(self: Trainer, *args: Any, **options: Any) -> Any:
        if self.batches_done == batch:
            raise Killed
        return original(self, *args, **options)

    job = make_job(teacher_folder, tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "_backward", dying)
        with pytest.raises(Killed):
            train(job, PlainControl(quiet=True))
    run(job)
    assert_equal(saved(tmp_path), saved(straight))


def test_killed_while_a_checkpoint_is_written_goes_on_from_the_one_before(
    teacher_folder: Path, straight: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job(teacher_folder, tmp_path)
    with pytest.raises(Killed):
        train(job, KilledAfter(1))
    (tmp_path / ".draft-01234567-4711-00000000-checkpoint.pt").write_bytes(b"half a checkpoint")

    def dying(*args: Any) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr("spaces.files.os.replace", dying)
        with pytest.raises(Killed):
            run(job)
    run(job)
    assert_equal(saved(tmp_path), saved(straight))


def test_a_stopped_trial_is_a_prefix_of_the_finished_one(
    teacher_folder: Path, finished: list[Row], tmp_path: Path
) -> None:
    control = KilledAfter(2)
    with pytest.raises(Killed):
        train(make_job(teacher_folder, tmp_path), control)
    assert timeless(control.rows) == timeless(finished[:2])


def test_a_finished_trial_is_told_again_and_not_trained_again(
    teacher_folder: Path, straight: Path, finished: list[Row]
) -> None:
    before = (straight / "checkpoint.pt").read_bytes()
    assert run(make_job(teacher_folder, straight)) == finished
    assert (straight / "checkpoint.pt").read_bytes() == before


def test_rows_carry_losses_each_epoch_and_metrics_at_rungs_and_the_end(finished: list[Row]) -> None:
    assert [row["epoch"] for row in finished] == [1, 2, 3]
    assert [row["status"] for row in finished] == ["running", "running", "finished"]
    for row in finished:
        assert {f"loss_{name}" for name in candidate_config()["losses"]} < set(row)
        assert {"loss", "lr", "wall_s", "cpu_s", "time"} < set(row)
        assert (row["candidate_id"], row["params"], row["flops"]) == ("0badcafe", 1234, 5678)
    assert ["mean_recall" in row for row in finished] == [True, False, True]
    assert finished[0]["lr"] == pytest.approx(0.5 * 3e-3), "what the first step was taken with"


def test_metrics_are_those_of_the_saved_student(
    straight: Path, finished: list[Row], val_split: EncodedSplit
) -> None:
    student, _ = checkpoint.load_model(straight)
    size = EvaluationSize(images=16, captions_per_image=1, questions_per_image=2)
    metrics = measured(student, val_split, size)
    assert {name: finished[-1][name] for name in metrics} == metrics
    parts = [
        metrics["mean_recall"] / 50,
        metrics["vqa_accuracy"] / 40,
        metrics["caption_token_accuracy"] / 20,
    ]
    assert finished[-1]["retention"] == pytest.approx(100 * sum(parts) / 3)


def test_a_cached_teacher_trains_like_the_live_one(
    teacher: Teacher, teacher_folder: Path, finished: list[Row], tmp_path: Path
) -> None:
    job = make_job(teacher_folder, tmp_path / "trial", cache=str(tmp_path / "cache"))
    wants = TrialLoop(make_job(teacher_folder, tmp_path / "x"), PlainControl()).trainer.step.source_wants
    build_cache(
        tmp_path / "cache", teacher, encoded(teacher, "train"), wants, precision="float32", progress=silent
    )
    losses = [[row["loss"] for row in rows] for rows in (run(job), finished)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_a_cache_of_another_teacher_is_refused(teacher_folder: Path, tmp_path: Path) -> None:
    order = make_job(teacher_folder, tmp_path / "trial", cache=str(tmp_path))
    (tmp_path / "meta.json").write_text('{"key": {"teacher": "beef"}, "of": {}, "sets": {}}')
    with pytest.raises(TeacherError, match=r"is of another teacher \(got beef, wanted "):
        run(order)
    (tmp_path / "meta.json").write_text('{"teacher": "beef"}')
    with pytest.raises(TeacherError, match="an earlier version of this code made it"):
        run(order)


def test_another_teacher_than_planned_is_refused(
    teacher: Teacher, teacher_folder: Path, tmp_path: Path
) -> None:
    job = make_job(teacher_folder, tmp_path, teacher_fingerprint="beef")
    with pytest.raises(
        InputsChanged,
        match=rf"has fingerprint {teacher.files.fingerprint}; this candidate was planned with beef",
    ):
        run(job)
    TrialLoop(
        make_job(teacher_folder, tmp_path, teacher_fingerprint=teacher.files.fingerprint), PlainControl()
    )


def test_a_blind_student_is_measured_blind(teacher_folder: Path, tmp_path: Path) -> None:
    config = changed(candidate_config(epochs=1), "blind", True)
    row = run(make_job(teacher_folder, tmp_path, config=config))[-1]
    assert row["status"] == "finished"
    assert row["ir_at_1"] == row["ir_at_10"] == 0.0
    known = {"mean_recall": 0.0, "vqa_accuracy": 0.0, "caption_token_accuracy": 0.0}
    job = make_job(teacher_folder, tmp_path / "b", config=candidate_config(epochs=1), blind_metrics=known)
    seeing = run(job)[-1]
    assert seeing["retention_above_blind"] == pytest.approx(seeing["retention"])


def test_a_dual_encoder_is_trained_with_what_it_can_feed(teacher_folder: Path, tmp_path: Path) -> None:
    config = changed(candidate_config(epochs=1), "student.fusion", {"layers": 0})
    row = run(make_job(teacher_folder, tmp_path, config=config))[-1]
    assert {name for name in row if name.startswith("loss_")} == {
        "loss_itc", "loss_image_embedding", "loss_text_embedding",
    }  # fmt: skip
    assert "vqa_accuracy" not in row
    assert row["retention"] == pytest.approx(100 * row["mean_recall"] / 50 / 3), "what it cannot do counts 0"


def test_only_the_tasks_of_the_order_are_measured_and_retained(teacher_folder: Path, tmp_path: Path) -> None:
    known = {"mean_recall": 50.0, "match_accuracy": 80.0, "vqa_accuracy": 40.0}
    job = make_job(
        teacher_folder, tmp_path, config=candidate_config(epochs=1),
        tasks={"matching": {}, "retrieval": {}}, teacher_metrics=known,
    )  # fmt: skip
    row = run(job)[-1]
    assert {"match_accuracy", "mean_recall"} < set(row)
    assert not {"vqa_accuracy", "caption_token_accuracy"} & set(row)
    assert row["retention"] == pytest.approx(100 * (row["match_accuracy"] / 80 + row["mean_recall"] / 50) / 2)
    _, whole = checkpoint.load_model(tmp_path)
    part, deployed = checkpoint.load_model(tmp_path, frozenset({Want("fused", "logits")}))
    assert (whole.architecture.has_decoder, deployed.architecture.has_decoder) == (True, False)
    assert part.itm_head is not None


def last(teacher_folder: Path, folder: Path, **changes: Any) -> Row:
    """Return the last row of a training that ends early, after checking that it was also written down."""
    row = run(make_job(teacher_folder, folder, **changes))[-1]
    assert json.loads((folder / "rows.jsonl").read_text().splitlines()[-1]) == row
    return row


def test_a_nan_ends_as_diverged(
    teacher_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Trainer.run_epoch

    def breaking(self: Trainer, epoch: int) -> dict[str, float]:
        if epoch == 1:
            with torch.no_grad():
                self.step.student.text_projection.weight.fill_(float("nan"))
        return original(self, epoch)

    monkeypatch.setattr(Trainer, "run_epoch", breaking)
    row = last(teacher_folder, tmp_path)
    assert (row["status"], row["epoch"]) == ("diverged", 1)
    assert row["reason"].startswith("trial 0badcafe, step 4: loss 'itc' is nan (")
    assert re.search(r"itm 0\.\d\d, .*\); lr 2\.[23]e-03$", row["reason"]), (
        "0.75 of the peak after 3 of 9 updates"
    )
    assert saved(tmp_path)["progress"]["epochs_done"] == 1, "what was good is kept"


def test_a_training_whose_steps_are_far_too_large_ends_as_collapsed(
    teacher_folder: Path, tmp_path: Path
) -> None:
    config = candidate_config(lr=1.0, epochs=8)  # 24 steps, of which the first two warm up
    row = last(teacher_folder, tmp_path, config=config, patience=12)
    assert (row["status"], row["epoch"]) == ("collapsed", 4)
    assert row["reason"].startswith(
        "trial 0badcafe, step 14: nothing was learned for 12 steps: the sum of losses averages "
    )
    assert "(guessing 2.0794)" in row["reason"]  # the logarithm of 8 pairs


def test_a_healthy_training_is_not_taken_for_one(teacher_folder: Path, tmp_path: Path) -> None:
    rows = run(make_job(teacher_folder, tmp_path, config=candidate_config(epochs=8, lr=1e-3), patience=12))
    assert [row["status"] for row in rows] == ["running"] * 7 + ["finished"]


@pytest.mark.parametrize("where", ["run_epoch", "_metrics"])
def test_out_of_memory_ends_as_oom(
    teacher_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def full(*args: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nSee the manual.")

    monkeypatch.setattr(Trainer if where == "run_epoch" else TrialLoop, where, full)
    row = last(teacher_folder, tmp_path)
    assert row["status"] == "oom"
    assert row["reason"] == "trial 0badcafe, epoch 1: CUDA out of memory. Tried to allocate 2 GiB."


def test_out_of_memory_of_one_of_several_workers_ends_them_all(
    teacher_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = TrialLoop(make_job(teacher_folder, tmp_path), PlainControl(quiet=True))
    trial.control.world = 2
    monkeypatch.setattr(trial.trainer, "run_epoch", _full)
    with pytest.raises(torch.OutOfMemoryError):
        trial.run()


def _full(epoch: int) -> None:
    raise torch.OutOfMemoryError("CUDA out of memory.")


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"device": "tpu"}, ResourceError, r"device: got 'tpu'; allowed here: auto, cpu"),
        ({"evaluation": {"pictures": 3}}, PluginError, r"evaluation\.pictures: got an unknown option"),
        ({"tasks": {"vqaa": {}}}, PluginError, "Did you mean 'vqa'"),
        (
            {"config": candidate_config(batchsize=3)},
            PluginError,
            r"training\.batchsize: got an unknown option",
        ),
    ],
)
def test_unusable_orders_are_refused_before_training(
    teacher_folder: Path, tmp_path: Path, changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        run(make_job(teacher_folder, tmp_path, **changes))


def test_cuda_is_refused_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device("auto") == torch.device("cpu")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    for version, cause in (
        ("13.0", "CUDA_VISIBLE_DEVICES=-1 leaves torch none"),
        (None, "built without CUDA"),
    ):
        monkeypatch.setattr(torch.version, "cuda", version)
        monkeypatch.setattr(torch.version, "hip", None)
        with pytest.raises(ResourceError, match="got 'cuda'; allowed here: auto, cpu") as caught:
            pick_device("cuda")
        assert cause in str(caught.value)
        assert "--set resources.gpus_per_worker=0" in str(caught.value)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    with pytest.raises(ResourceError, match=r"driver is too old for CUDA 13\.0"):
        pick_device("cuda")


def test_float32_is_float32_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    parts = torch.backends.cuda.matmul, torch.backends.cudnn.conv
    before = [part.fp32_precision for part in parts]
    try:
        for part in parts:
            part.fp32_precision = "tf32"
        assert pick_device("auto") == torch.device("cuda")
        assert [part.fp32_precision for part in parts] == ["ieee", "ieee"]
    finally:
        for part, one in zip(parts, before, strict=True):
            part.fp32_precision = one


@pytest.mark.parametrize("changes", [{"candidate_id": "11111111"}, {"config": candidate_config(lr=1.0)}])
def test_the_checkpoint_of_another_candidate_is_refused(
    teacher_folder: Path, straight: Path, changes: dict[str, Any]
) -> None:
    with pytest.raises(CheckpointError, match=r"belongs to candidate 0badcafe.*Give another folder"):
        run(make_job(teacher_folder, straight, **changes))
