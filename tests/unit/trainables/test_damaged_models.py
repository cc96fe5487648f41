"""Checkpoints, orders and model folders may come from anywhere: a result, or one message with the file's name."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spaces.errors import InputsChanged, RunError, StudentSearchError, TeacherError
from spaces.files import atomic_path
from tests.damage import damaged
from tests.unit.trainables.small import lively, make_job, small_config, write_teacher
from trainables.export import load
from trainables.families.base import Blueprint
from trainables.model_folder import read_model_folder
from trainables.signals import Batch, Offer, Want
from trainables.teachers.cache.contents import Contents, WantSet
from trainables.teachers.cache.part_file import Form, PartWriter
from trainables.teachers.cache.read import TeacherCache
from trainables.training import checkpoint
from trainables.training.job import Job


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_teacher(tmp_path_factory.mktemp("whole") / "model")
    model = lively(small_config())
    state = {
        "candidate_id": "0123abcd",
        "config": {},
        "progress": {"epochs_done": 1},
        "random": checkpoint.random_state(),
        "model": Blueprint("blip", small_config()).to_dict(),
        "trainer": {"step": {f"student.{name}": value for name, value in model.state_dict().items()}},
    }
    checkpoint.save(folder, state)
    make_job(folder, folder).write(folder / "candidate.json")
    return folder


def told(read: Any, file: Path) -> None:
    """Read a damaged file: there is a result, or the message names the file."""
    said = ""
    try:
        read()
    except StudentSearchError as error:
        said = str(error)
    assert not said or (file.name in said and len(said) < 2000)


@pytest.fixture
def place(tmp_path_factory: pytest.TempPathFactory, whole: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path_factory.mktemp("copy") / "model"))


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory, whole: Path) -> Path:
    """Return a folder whose files are damaged again and again; each test puts its own file back."""
    return Path(shutil.copytree(whole, tmp_path_factory.mktemp("copy") / "model"))


@pytest.mark.properties
@given(data=st.data())
def test_any_bytes_as_a_checkpoint(whole: Path, copy: Path, data: st.DataObject) -> None:
    file = copy / "checkpoint.pt"
    file.write_bytes(data.draw(damaged((whole / file.name).read_bytes())))
    told(lambda: checkpoint.load(copy), file)
    told(lambda: checkpoint.load_model(copy), file)


@pytest.mark.properties
@given(data=st.data())
def test_any_bytes_as_an_order(whole: Path, copy: Path, data: st.DataObject) -> None:
    file = copy / "candidate.json"
    file.write_bytes(data.draw(damaged((whole / file.name).read_bytes())))
    told(lambda: Job.read(file, copy), file)


@pytest.mark.properties
@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
@given(data=st.data())
def test_any_bytes_as_a_model(whole: Path, copy: Path, name: str, data: st.DataObject) -> None:
    file = copy / name
    try:
        file.write_bytes(data.draw(damaged((whole / name).read_bytes())))
        said = ""
        try:
            read_model_folder(copy)
        except StudentSearchError as error:
            said = str(error)
        assert not said or str(copy) in said
    finally:
        shutil.copyfile(whole / name, file)


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("model", None),
        ("model", []),
        ("model", {"family": 3}),
        ("preprocess", {"image_size": "large"}),
        ("preprocess", None),
        ("tokenizer", 3),
        ("tokenizer", {"vocabulary": []}),
        ("measured", [1]),
    ],
)
def test_a_config_of_another_form_is_told(place: Path, part: str, value: Any) -> None:
    config = json.loads((place / "config.json").read_text())
    (place / "config.json").write_text(json.dumps(config | {part: value}))
    with pytest.raises(StudentSearchError, match=r"config.json"):
        load(place)


@pytest.mark.parametrize(
    "change", [{"embedding": 10**12}, {"image": {"width": 2**40, "depth": 1, "heads": 1}}]
)
def test_sizes_that_no_memory_holds_are_told_before_they_are_taken(
    place: Path, change: dict[str, Any]
) -> None:
    config = json.loads((place / "config.json").read_text())
    config["model"] |= change
    (place / "config.json").write_text(json.dumps(config))
    with pytest.raises(TeacherError, match=r"config.json: not a model config .*allowed by the weights"):
        read_model_folder(place)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"candidate_id": "../../../x"},
            "candidate_id: got '../../../x'; allowed: 16 hex digits, or the 8 of an earlier version",
        ),
        (
            {"candidate_id": "0123ABCD"},
            "candidate_id: got '0123ABCD'; allowed: 16 hex digits, or the 8 of an earlier version",
        ),
        ({"seed": True}, "seed: got true; allowed: a whole number"),
        ({"tasks": {"vqa": 3}}, "tasks.vqa: got 3; allowed is a mapping"),
        ({"costs": {"params": "x"}}, "costs.params: got 'x'; allowed is a number"),
        ({"evaluate_at": 3}, "evaluate_at: got 3; allowed is a list"),
        ({"evaluate_at": ["1"]}, "evaluate_at: got "),
    ],
    ids=str,
)
def test_an_order_that_no_run_writes_is_told(place: Path, change: dict[str, Any], said: str) -> None:
    file = place / "candidate.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(RunError, match=rf"candidate.json: candidate file: {said}"):
        Job.read(file, place)


WANT = Want("image", "embedding")
OFFERS = {WANT: Offer(axes=("E",), sizes=(8,), rows="picture")}


def cached(folder: Path, array: np.ndarray, *, rows: np.ndarray | None = None) -> Path:
    """Write a cache of one part with one signal; return the part's file."""
    one = WantSet(name="0123abcd", wants=(WANT,), count=1, complete=True)
    Contents(parts={"teacher": "x"}, sets=(one,)).write(folder)
    (path,) = one.paths(folder)
    forms = {"rows.picture": Form("int64", array.shape[:1]), str(WANT): Form(str(array.dtype), array.shape)}
    with atomic_path(path) as draft, PartWriter(draft, forms, {}) as writer:
        writer.number("picture", 0, np.arange(len(array)) if rows is None else rows)
        writer.write(str(WANT), 0, array)
    return path


def said_of(folder: Path, number: int) -> torch.Tensor:
    """Return what a cache says of a picture."""
    batch = Batch(fields={}, rows={"picture": torch.tensor([number])})
    return TeacherCache(folder, OFFERS).signals(batch, frozenset({WANT}))[WANT][0]


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((3, 9), "float16"),
        np.zeros((3, 8), "int32"),
        np.zeros((3, 8, 1), "float16"),
        np.zeros(3, "float16"),
    ],
    ids=str,
)
def test_a_cached_signal_of_another_form_is_told(tmp_path: Path, array: np.ndarray) -> None:
    cached(tmp_path, array)
    with pytest.raises(InputsChanged, match=r"safetensors: damaged .*Run the command again"):
        said_of(tmp_path, 0)


@pytest.mark.parametrize("rows", [[0, 1, 3], [0, 1, -1], [0, 1, 1]], ids=str)
def test_a_part_that_does_not_say_where_each_row_lies_is_told(tmp_path: Path, rows: list[int]) -> None:
    cached(tmp_path, np.zeros((3, 8), "float16"), rows=np.array(rows))
    with pytest.raises(
        InputsChanged, match=r"safetensors: damaged \((numbers of rows beyond 3|no row 2 of picture)\)"
    ):
        said_of(tmp_path, 0)


@pytest.mark.properties
@given(data=st.data())
def test_a_damaged_part_is_told_or_says_what_was_written(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("cache")
    array = np.random.default_rng(0).normal(size=(3, 8)).astype("float16")
    path = cached(folder, array)
    path.write_bytes(data.draw(damaged(path.read_bytes())))
    told: list[str] = []
    for number in range(3):
        try:
            found = said_of(folder, number)
        except InputsChanged as error:
            told.append(str(error))
        else:
            assert torch.equal(found, torch.from_numpy(array[number]).float())
    assert all(str(path) in line for line in told)


@pytest.mark.parametrize(
    "meta", ["{}", "[]", "", "[" * 100_000, '{"teacher": 3}', '{"key": 3, "of": {}, "sets": {}}']
)
def test_a_cache_of_unknown_origin_is_told(tmp_path: Path, meta: str) -> None:
    (tmp_path / "meta.json").write_text(meta)
    with pytest.raises(TeacherError, match="Delete it; it is computed again"):
        TeacherCache(tmp_path, OFFERS, "0123")
