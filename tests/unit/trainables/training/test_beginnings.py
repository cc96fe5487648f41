"""A training that begins with the weights of another one's checkpoint."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from spaces.errors import CheckpointError
from tests.unit.trainables.small import candidate_config, changed, make_job, write_teacher
from trainables.training import checkpoint
from trainables.training.control import PlainControl, Row
from trainables.training.job import Job
from trainables.training.loop import TrialLoop


class Broken(PlainControl):
    """Ends a training after its first epoch."""

    def report(self, row: Row) -> None:
        """Take one row."""
        raise KeyboardInterrupt


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Job]:
    """Return a place with a trained candidate, and its order."""
    place = tmp_path_factory.mktemp("begun")
    write_teacher(place / "teacher")
    job = make_job(place / "teacher", place / "first", evaluate_at=())
    job = replace(job, config=changed(dict(job.config), "training.epochs", 1))
    TrialLoop(job, PlainControl(quiet=True)).run()
    return place, job


def test_the_student_has_all_weights_of_the_checkpoint_and_its_training_begins_anew(
    begun: tuple[Path, Job],
) -> None:
    place, job = begun
    config = changed(dict(job.config), "losses.image_hidden", {"weight": 1.0})
    loop = TrialLoop(
        replace(job, config=config, start=job.folder, folder=str(place / "on")), PlainControl(quiet=True)
    )
    first, _ = checkpoint.load_model(Path(job.folder))
    for name, value in first.state_dict().items():
        assert torch.equal(loop.trainer.step.student.state_dict()[name], value), name
    assert loop.progress.epochs_done == 0
    assert not loop.trainer.optimizer.state
    assert loop.trainer.batches_done == 0


def test_the_record_tells_of_the_checkpoint_and_not_of_the_teacher_whose_weights_it_replaced(
    begun: tuple[Path, Job],
) -> None:
    place, job = begun
    inherits = changed(dict(job.config), "student.image.init", "inherit")
    told = replace(job, config=inherits, start=job.folder, folder=str(place / "told"))
    TrialLoop(told, PlainControl(quiet=True)).run()
    record = json.loads((place / "told" / "initialisation.json").read_text())
    assert record["notes"] == [f"begins with the weights of {Path(job.folder) / 'checkpoint.pt'}"]
    whole = checkpoint.load_model(Path(job.folder))[0].state_dict()
    assert set(record["loaded"]) == set(whole)
    assert record["fresh"] == []


def test_what_was_begun_goes_on_from_its_own_checkpoint(begun: tuple[Path, Job]) -> None:
    place, job = begun
    again = replace(
        job,
        config=changed(dict(job.config), "training.epochs", 2),
        start=job.folder,
        folder=str(place / "again"),
    )
    with pytest.raises(KeyboardInterrupt):
        TrialLoop(again, Broken(quiet=True)).run()
    control = PlainControl(quiet=True)
    loop = TrialLoop(again, control)
    loop.run()
    assert [row["epoch"] for row in control.rows] == [1, 2], "the first one is told again, not trained"
    straight = replace(again, folder=str(place / "straight"))
    whole = TrialLoop(straight, PlainControl(quiet=True))
    whole.run()
    for name, value in whole.trainer.step.state_dict().items():
        assert torch.equal(loop.trainer.step.state_dict()[name], value), name


def test_weights_of_another_student_or_of_none_are_refused(begun: tuple[Path, Job]) -> None:
    place, job = begun
    with pytest.raises(CheckpointError, match=r"nowhere/checkpoint\.pt: missing"):
        TrialLoop(
            replace(job, start=str(place / "nowhere"), folder=str(place / "x")), PlainControl(quiet=True)
        )
    wider = changed(candidate_config(epochs=1), "student.image.width", 24)
    with pytest.raises(CheckpointError, match="of a student of other sizes"):
        TrialLoop(
            replace(job, config=wider, start=job.folder, folder=str(place / "y")), PlainControl(quiet=True)
        )


def test_a_student_goes_on_with_pictures_of_another_size(begun: tuple[Path, Job]) -> None:
    place, job = begun
    first, plan = checkpoint.load_model(Path(job.folder))
    step = TrialLoop(replace(job, folder=str(place / "larger")), PlainControl(quiet=True)).trainer.step
    step.student = step.student.at_size(2 * plan.architecture.image_size)
    with torch.no_grad():
        for weight in step.student.parameters():
            weight.zero_()
    checkpoint.begin_with(step, job.folder)
    assert "of another size: image_encoder.vit.pos_embed" in step.student.begun.notes[0]
    table, before, found = "image_encoder.vit.pos_embed", first.state_dict(), step.student.state_dict()
    grid = plan.architecture.image_size // plan.architecture.patch_size
    square = before[table][0, 1:].T.reshape(1, -1, grid, grid)
    spread = torch.nn.functional.interpolate(square, scale_factor=2, mode="bicubic")[0].flatten(1).T
    torch.testing.assert_close(found[table][0, 1:], spread)
    assert torch.equal(found[table][0, 0], before[table][0, 0])
    assert all(torch.equal(found[name], value) for name, value in before.items() if name != table)
