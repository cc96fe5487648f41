"""Weights of every published form come out as the same float32 tensors; what is damaged is told by its file."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from spaces.errors import TeacherError
from trainables.teachers.weights import read_weights

WEIGHTS = {
    "a.weight": torch.arange(6.0).view(2, 3),
    "b.bias": torch.tensor([0.5, -1.25]),
    "c": torch.tensor(2.0),
}
COUNT = {"seen": torch.tensor(7)}
STALE = {"text.embeddings.position_ids": torch.arange(4)}


def save_shards(folder: Path, name: str, save: Callable[[dict[str, Tensor], Path], None]) -> None:
    """Save the weights in two shards with their index."""
    stem, ending = name.rsplit(".", 1)
    parts = [{"a.weight": WEIGHTS["a.weight"]}, {"b.bias": WEIGHTS["b.bias"], "c": WEIGHTS["c"], **COUNT}]
    places = {}
    for number, part in enumerate(parts, start=1):
        shard = f"{stem}-{number:05}-of-00002.{ending}"
        save(part, folder / shard)
        places |= dict.fromkeys(part, shard)
    (folder / f"{name}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))


def pickled(weights: dict[str, Tensor], path: Path) -> None:
    torch.save(weights, path)


def safe(weights: dict[str, Tensor], path: Path) -> None:
    save_file(weights, path)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize(("name", "save"), [("model.safetensors", safe), ("pytorch_model.bin", pickled)])
def test_one_file_of_any_precision(
    tmp_path: Path, name: str, save: Callable[[dict[str, Tensor], Path], None], dtype: torch.dtype
) -> None:
    save({**{key: one.to(dtype) for key, one in WEIGHTS.items()}, **COUNT, **STALE}, tmp_path / name)
    path, found = read_weights(tmp_path)
    assert path == tmp_path / name
    assert set(found) == {*WEIGHTS, *COUNT}
    assert all(
        torch.equal(found[key], one) and found[key].dtype == torch.float32 for key, one in WEIGHTS.items()
    )
    assert found["seen"].dtype == torch.int64


@pytest.mark.parametrize(("name", "save"), [("model.safetensors", safe), ("pytorch_model.bin", pickled)])
def test_shards(tmp_path: Path, name: str, save: Callable[[dict[str, Tensor], Path], None]) -> None:
    save_shards(tmp_path, name, save)
    path, found = read_weights(tmp_path)
    assert path == tmp_path / f"{name}.index.json"
    assert set(found) == {*WEIGHTS, *COUNT}
    assert all(torch.equal(found[key], one) for key, one in WEIGHTS.items())


def test_the_order_is_that_of_the_library(tmp_path: Path) -> None:
    pickled({"old": torch.zeros(1)}, tmp_path / "pytorch_model.bin")
    save_shards(tmp_path, "model.safetensors", safe)
    assert read_weights(tmp_path)[0].name == "model.safetensors.index.json"
    safe({"one": torch.zeros(1)}, tmp_path / "model.safetensors")
    assert set(read_weights(tmp_path)[1]) == {"one"}


FIRST, SECOND = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"


def index(folder: Path, content: str) -> None:
    (folder / "model.safetensors.index.json").write_text(content)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda folder: (folder / SECOND).unlink(), f"{SECOND}: is missing; model"),
        (lambda folder: (folder / FIRST).write_bytes(b"x" * 40), f"{FIRST}: cannot be read"),
        (lambda folder: safe({"c": torch.zeros(1)}, folder / SECOND), f"{SECOND}: lacks b.bias, seen; model"),
        (lambda folder: index(folder, '{"weight_map": {"a.w'), "index.json: cannot be read"),
        (lambda folder: index(folder, "[]"), "index.json: got a list, allowed is one JSON object"),
        (lambda folder: index(folder, '{"weight_map": {}}'), "index.json, weight_map: got {}; allowed: a mapping"),
        (lambda folder: index(folder, '{"weight_map": {"a": "../other"}}'), "got '../other'; allowed: names of files beside"),
        (lambda folder: index(folder, '{"weight_map": {"a": 3}}'), "got 3; allowed: names of files beside"),
        (lambda folder: index(folder, "[" * 100_000), "index.json: cannot be read"),
    ],
)  # fmt: skip
def test_damaged_shards_are_told_by_their_file(
    tmp_path: Path, spoil: Callable[[Path], None], told: str
) -> None:
    save_shards(tmp_path, "model.safetensors", safe)
    spoil(tmp_path)
    with pytest.raises(TeacherError) as caught:
        read_weights(tmp_path)
    assert told in str(caught.value)
    assert str(tmp_path) in str(caught.value)


class Evil:
    """What a pickle may hold, and what must never be made of it."""


@pytest.mark.parametrize("damage", [b"", b"no pickle", b"PK\x03\x04 half a zip", b"\x80\x02}q\x00."])
def test_damaged_pickles_are_told_by_their_file(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(damage)
    with pytest.raises(TeacherError, match=r"pytorch_model\.bin: cannot be read \(.+\)\. Save or download"):
        read_weights(tmp_path)


def test_what_is_pickled_runs_no_code_and_is_weights_alone(tmp_path: Path) -> None:
    torch.save({"a": Evil()}, tmp_path / "pytorch_model.bin")
    with pytest.raises(TeacherError, match=r"pytorch_model\.bin: cannot be read"):
        read_weights(tmp_path)
    torch.save({"model": {"a": torch.zeros(1)}, "epoch": 3}, tmp_path / "pytorch_model.bin")
    with pytest.raises(
        TeacherError,
        match=r"pytorch_model\.bin: holds a dict; allowed: a mapping of names to dense, real tensors",
    ):
        read_weights(tmp_path)


def test_a_folder_without_weights_is_told_what_may_be_there(tmp_path: Path) -> None:
    with pytest.raises(
        TeacherError,
        match=r"holds no weights; allowed: model.safetensors or pytorch_model.bin, in one piece or",
    ):
        read_weights(tmp_path)
