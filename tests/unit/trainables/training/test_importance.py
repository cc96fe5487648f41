"""What matters of a teacher is measured once, kept with a checksum, and read by all who ask."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from spaces.errors import TeacherError
from tests.unit.trainables.small import SCENES, candidate_config, changed, encoded, make_job
from trainables.datasets.cache_folder import stored_in
from trainables.datasets.encoded import EncodedSplit
from trainables.families.blip.model import Blip
from trainables.teachers.teacher import Teacher
from trainables.training import importance
from trainables.training.build import build_student, make_dataset
from trainables.training.control import PlainControl
from trainables.training.importance import FILE, kept_importance
from trainables.training.loop import BEGUN, train

DATA = make_dataset(SCENES).fingerprint


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    folder = tmp_path / "storage"
    folder.mkdir()
    return folder


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importance, "PAIRS", 32)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that fills with the pairs of each measurement."""
    found: list[int] = []
    original = Blip.importances

    def counting(model: Blip, batches: Callable[[], object]) -> dict[str, Tensor]:
        taken = list(batches)  # type: ignore[call-overload]
        found.append(sum(len(batch.rows["picture"]) for batch in taken))
        return dict(original(model, taken))

    monkeypatch.setattr(Blip, "importances", counting)
    return found


def test_it_is_measured_on_1024_pairs_once_and_read_from_then_on(
    teacher: Teacher, train_split: EncodedSplit, storage: Path, looks: list[int]
) -> None:
    said: list[str] = []
    with stored_in(str(storage)):
        first = kept_importance(teacher, train_split, DATA, say=said.append)
        again = kept_importance(teacher, train_split, DATA, say=said.append)
    assert looks == [1024]
    assert [line for line in said if "1,024 pairs go through it, once" in line] == said
    assert first.keys() == again.keys()
    assert all(torch.equal(first[name], again[name]) for name in first)


@pytest.mark.usefixtures("few")
def test_other_data_is_another_importance_and_a_damaged_file_is_measured_again(
    teacher: Teacher, train_split: EncodedSplit, storage: Path, looks: list[int]
) -> None:
    said: list[str] = []
    with stored_in(str(storage)):
        first = kept_importance(teacher, train_split, DATA, say=said.append)
        kept_importance(teacher, train_split, "other data", say=said.append)
        assert len(looks) == 2
        paths = sorted(storage.rglob(FILE))
        assert len(paths) == 2
        for damage in (b"", b"no file of ours"):
            for path in paths:
                path.write_bytes(damage)
            kept_importance(teacher, train_split, DATA, say=said.append)
        whole = bytearray(next(path for path in paths if len(path.read_bytes()) > 100).read_bytes())
        whole[-2] ^= 255  # of a number
        for path in paths:
            path.write_bytes(bytes(whole))
        again = kept_importance(teacher, train_split, DATA, say=said.append)
    assert len(looks) == 5
    assert sum("damaged" in line and "it is measured again" in line for line in said) == 3
    assert any("its checksum is another" in line for line in said)
    assert all(torch.equal(first[name], again[name]) for name in first)


@pytest.mark.usefixtures("few")
def test_a_file_that_may_not_be_read_is_told(
    teacher: Teacher, train_split: EncodedSplit, storage: Path
) -> None:
    with stored_in(str(storage)):
        kept_importance(teacher, train_split, DATA, say=print)
        (path,) = storage.rglob(FILE)
        path.unlink()
        path.mkdir()
        with pytest.raises(TeacherError, match=r"importance\.safetensors: cannot be read .*delete it"):
            kept_importance(teacher, train_split, DATA, say=print)


@pytest.mark.usefixtures("few")
def test_a_student_takes_it_and_is_the_same_each_time(teacher: Teacher, storage: Path) -> None:
    config = changed(
        changed(candidate_config(), "student.image.init", "importance"), "student.text.init", "importance"
    )
    with stored_in(str(storage)):
        split = encoded(teacher, "train")
        made = [
            build_student(
                config, teacher, 1, importance=lambda: kept_importance(teacher, split, DATA, say=print)
            )[0]
            for _ in range(2)
        ]
    plain, _ = build_student(candidate_config(), teacher, 1)
    first, second = (one.state_dict() for one in made)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(
        first["text_network.words.weight"], plain.state_dict()["text_network.words.weight"]
    )
    assert "image_encoder.vit.blocks.0.attn.qkv.weight" in made[0].begun.loaded
    assert made[0].begun.fresh == ()
    assert plain.begun.loaded == ()
    assert plain.begun.lines() == []


@pytest.mark.usefixtures("few")
def test_the_log_and_the_record_of_a_trial_tell_what_it_began_with(
    teacher_folder: Path, storage: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = changed(candidate_config(), "student.text.init", "importance")
    job = make_job(teacher_folder, tmp_path / "trial", config=config, storage=str(storage))
    train(job, PlainControl())
    said = capsys.readouterr().err
    assert "text side: begins with the most important entries of the teacher's layers" in said
    assert "tensors are loaded; fresh: image_encoder.vit.cls_token" in said
    record = json.loads((tmp_path / "trial" / BEGUN).read_text())
    assert any(name.startswith("text_network.layers.0.") for name in record["loaded"])
    assert all(name.startswith("image_") for name in record["fresh"])
