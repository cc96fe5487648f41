"""Checkpoints, orders and model folders may come from anywhere: a result, or one message with the file's name."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spaces.errors import RunError, StudentSearchError, TeacherError
from tests.damage import damaged
from tests.unit.trainables.small import lively, make_job, small_config, write_teacher
from trainables.export import load
from trainables.families.base import Blueprint
from trainables.model_folder import read_model_folder
from trainables.signals import Offer, Want
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
        ({"candidate_id": "../../../x"}, "candidate_id: got '../../../x'; allowed are 8 hex digits"),
        ({"candidate_id": "0123ABCD"}, "candidate_id: got '0123ABCD'; allowed are 8 hex digits"),
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
    (tmp_path / "meta.json").write_text('{"teacher": "x"}')
    np.save(tmp_path / f"{WANT}.npy", array)
    with pytest.raises(TeacherError, match=r"embedding.npy: damaged .*Delete it; it is computed again"):
        TeacherCache(tmp_path, OFFERS)._array(WANT)


@pytest.mark.parametrize("rows", [b"1152921504606846976", b"-3", b"3,", b"(" * 50, b"1e3"])
def test_a_header_that_claims_what_is_not_there_is_told(tmp_path: Path, rows: bytes) -> None:
    (tmp_path / "meta.json").write_text('{"teacher": "x"}')
    path = tmp_path / f"{WANT}.npy"
    header = b"{'descr': '<f2', 'fortran_order': False, 'shape': (" + rows + b", 8), }"
    header = header.ljust(117) + b"\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(48))
    with pytest.raises(TeacherError, match=r"embedding.npy: damaged "):
        TeacherCache(tmp_path, OFFERS)._array(WANT)


@pytest.mark.parametrize("meta", ["{}", "[]", "", "[" * 100_000, '{"teacher": 3}'])
def test_a_cache_of_unknown_origin_is_told(tmp_path: Path, meta: str) -> None:
    (tmp_path / "meta.json").write_text(meta)
    with pytest.raises(TeacherError, match="Delete it; it is computed again"):
        TeacherCache(tmp_path, OFFERS, "0123")
