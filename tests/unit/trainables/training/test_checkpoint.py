"""One checkpoint file, replaced whole or not at all."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from spaces.errors import CheckpointError, StorageError, StudentSearchError
from tests.unit.trainables.small import lively, small_config
from trainables.families.base import Blueprint
from trainables.signals import Want
from trainables.training import checkpoint


def state(model: torch.nn.Module | None = None) -> dict[str, Any]:
    made = lively(small_config()) if model is None else model
    weights = {f"student.{name}": value for name, value in made.state_dict().items()}
    extra = {"losses.image_hidden.weight": torch.ones(3)}
    return {
        "candidate_id": "0123abcd",
        "config": {},
        "progress": {},
        "random": checkpoint.random_state(),
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


@pytest.mark.parametrize("wrapped", [False, True])  # torch makes a RuntimeError of it
def test_a_failed_write_keeps_the_predecessor_and_leaves_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrapped: bool
) -> None:
    before = checkpoint.save(tmp_path, state()).read_bytes()

    def fail(content: object, sink: Any) -> None:
        with Path("/dev/full").open("wb", buffering=0) as full:
            sink._sink = full
            try:
                sink.write(b"half")
            except OSError as error:
                raise RuntimeError("file write failed") if wrapped else error from error

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(
        StorageError, match=r"cannot be written: .* is full .*The checkpoint before it is kept"
    ):
        checkpoint.save(tmp_path, state())
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]
    assert (tmp_path / "checkpoint.pt").read_bytes() == before


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be made"):
        checkpoint.save(tmp_path / "file" / "folder", state())


class Payload:
    """Runs code when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("place", ["version", "random", "config", "trainer"])
def test_a_checkpoint_that_would_run_code_is_not_opened(tmp_path: Path, place: str) -> None:
    torch.save({"version": 2, **state(), place: Payload(tmp_path / "ran")}, tmp_path / "checkpoint.pt")
    for read in (checkpoint.load, checkpoint.load_model):
        with pytest.raises(
            CheckpointError, match=r"checkpoint.pt: holds more than .* could run code; it is not opened"
        ):
            read(tmp_path)
    assert not (tmp_path / "ran").exists()


def test_a_checkpoint_from_before_numbers_were_tensors_is_still_read(tmp_path: Path) -> None:
    before = {**checkpoint.random_state(), "numpy": np.random.get_state()}
    first = draw()
    torch.save({"version": 2, **state(), "random": before}, tmp_path / "checkpoint.pt")
    found = checkpoint.load(tmp_path)
    assert found is not None
    checkpoint.set_random_state(found["random"])
    assert draw() == first


def test_what_is_saved_now_needs_no_exceptions(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path, state())
    assert torch.serialization.get_unsafe_globals_in_checkpoint(path) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"trainer": {}},
        {"trainer": {"step": []}},
        {"model": {}},
        {"model": {"family": "nobody"}},
        {"model": {**state()["model"], "embedding": 10**12}},  # would take a terabyte
        {"model": {**state()["model"], "image": {"width": 8, "depth": 10**7, "heads": 2}}},
        {"model": {**state()["model"], "embedding": "8"}},
    ],
    ids=str,
)
def test_contents_that_do_not_fit_are_told(tmp_path: Path, wrong: dict[str, Any]) -> None:
    checkpoint.save(tmp_path, {**state(), **wrong})
    with pytest.raises(StudentSearchError):
        checkpoint.load_model(tmp_path)


@pytest.mark.parametrize("content", [[], 7, {"version": 2}, {"version": 2, **state(), "progress": 3}])
def test_another_form_is_told(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "checkpoint.pt")
    with pytest.raises(CheckpointError, match=r"checkpoint.pt: damaged .*Delete its folder"):
        checkpoint.load(tmp_path)


def draw() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), float(torch.rand(()))


def test_a_state_of_more_gpus_than_are_here_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[Any] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "set_rng_state_all", taken.extend)
    monkeypatch.setattr(torch.cuda, "get_rng_state_all", lambda: ["first", "second"])
    checkpoint.set_random_state(checkpoint.random_state())
    assert taken == ["first"]


def test_random_state_brings_all_generators_back() -> None:
    before = checkpoint.random_state()
    first = draw()
    assert draw() != first
    checkpoint.set_random_state(before)
    assert draw() == first
