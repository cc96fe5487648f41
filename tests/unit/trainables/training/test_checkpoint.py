"""One checkpoint file, replaced whole or not at all."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from spaces.errors import CheckpointError
from tests.unit.trainables.small import lively, small_config
from trainables.families.base import Blueprint
from trainables.signals import Want
from trainables.training import checkpoint


def state(model: torch.nn.Module | None = None) -> dict[str, Any]:
    made = lively(small_config()) if model is None else model
    weights = {f"student.{name}": value for name, value in made.state_dict().items()}
    extra = {"losses.image_hidden.weight": torch.ones(3)}
    return {
        "model": Blueprint("blip", small_config()).to_dict(),
        "trainer": {"step": weights | extra},
        "number": 1,
    }


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    assert checkpoint.load(folder) is None
    path = checkpoint.save(folder, state())
    assert [p.name for p in folder.iterdir()] == [path.name] == ["checkpoint.pt"]
    found = checkpoint.load(folder)
    assert found is not None
    assert found["number"] == 1


def test_student_is_loaded_without_the_projections_of_its_losses(tmp_path: Path) -> None:
    model = lively(small_config())
    checkpoint.save(tmp_path, state(model))
    found, blueprint = checkpoint.load_model(tmp_path)
    assert blueprint == Blueprint("blip", small_config())
    assert not found.training
    assert set(found.state_dict()) == set(model.state_dict())
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in found.state_dict().items())


def test_of_a_student_the_part_is_loaded_that_answers_what_is_wanted(tmp_path: Path) -> None:
    model, wants = lively(small_config()), frozenset({Want("image", "embedding"), Want("text", "embedding")})
    checkpoint.save(tmp_path, state(model))
    found, blueprint = checkpoint.load_model(tmp_path, wants)
    assert blueprint == Blueprint("blip", small_config(fusion=(), decoder=False, matching=False))
    assert found.architecture == blueprint.architecture
    assert len(found.state_dict()) < len(model.state_dict())
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in found.state_dict().items())


def test_a_missing_student_is_told(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"checkpoint.pt: missing"):
        checkpoint.load_model(tmp_path)


@pytest.mark.parametrize("damage", ["cut", "empty", "garbage"])
def test_a_damaged_file_is_refused_with_its_path(tmp_path: Path, damage: str) -> None:
    path = checkpoint.save(tmp_path, state())
    whole = path.read_bytes()
    path.write_bytes({"cut": whole[: len(whole) // 2], "empty": b"", "garbage": b"x" * 999}[damage])
    with pytest.raises(CheckpointError, match=r"checkpoint.pt: damaged .*Delete its folder"):
        checkpoint.load(tmp_path)


def test_another_version_is_refused(tmp_path: Path) -> None:
    torch.save({"version": 99}, tmp_path / "checkpoint.pt")
    with pytest.raises(CheckpointError, match="has version 99, this program reads 2"):
        checkpoint.load(tmp_path)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("file write failed")])
def test_a_failed_write_keeps_the_predecessor_and_leaves_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    before = checkpoint.save(tmp_path, state()).read_bytes()

    def fail(content: object, sink: Any) -> None:
        sink.write(b"half")
        raise error

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(
        CheckpointError, match=r"could not be written .*The previous one is kept. Free disk space"
    ):
        checkpoint.save(tmp_path, state())
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]
    assert (tmp_path / "checkpoint.pt").read_bytes() == before


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="could not be written"):
        checkpoint.save(tmp_path / "file" / "folder", state())


def draw() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), float(torch.rand(()))


def test_random_state_brings_all_generators_back() -> None:
    before = checkpoint.random_state()
    first = draw()
    assert draw() != first
    checkpoint.set_random_state(before)
    assert draw() == first
