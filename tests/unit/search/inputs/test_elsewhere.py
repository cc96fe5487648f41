"""Inputs whose long work is done by a cluster: the same results as in this process, and of copies that nodes see."""

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from search.inputs.inputs import Inputs
from search.inputs.teacher_cache import fill_teacher_caches
from spaces.load import load_space
from tests.unit.trainables.small import silent, write_teacher
from trainables.datasets.cache_folder import STORAGE

SPACE = """\
name: small
teacher: {teacher}
dataset: {{kind: scenes, train_images: 16, val_images: 16, test_images: 16}}
student: {{kind: blip, image: {{width: 16, depth: 1}}, text: {{width: 16, depth: 1}}, fusion: {{layers: 0}}}}
tasks: [retrieval]
losses: {{itc: {{weight: 1}}, image_embedding: {{weight: 1}}}}
training: {{epochs: 2, pairs_per_epoch: 8, batch_size: 8, lr: 1e-3}}
objectives: {{retention: max, params: min}}
search: {{searcher: {{kind: random}}, scheduler: {{kind: moasha, rungs: [1]}}, trials: 4}}
"""


class Somewhere:
    """A cluster of this process: what is handed over has to be plain, and is kept."""

    gpus = 0.0

    def __init__(self) -> None:
        self.handed: list[tuple[str, Any]] = []

    def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        self.handed.append((function.__name__, arguments))
        return function(*arguments)

    def run_all(
        self, function: Callable[..., Any], orders: Sequence[tuple[Any, ...]], *, single: bool = False
    ) -> Iterator[Any]:
        assert single
        for index in reversed(range(len(orders))):  # in whatever order they end
            value = self.run(function, *json.loads(json.dumps(orders[index])))
            yield SimpleNamespace(index=index, result=lambda value=value: value)


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Inputs]:
    """Return what gives the inputs of a storage of its own."""
    write_teacher(tmp_path / "teacher", seed=3)
    (tmp_path / "small.yaml").write_text(SPACE.format(teacher=tmp_path / "teacher"))

    def made(name: str) -> Inputs:
        monkeypatch.setenv(STORAGE, str(tmp_path / name))
        return Inputs(load_space(tmp_path / "small.yaml", []), say=silent)

    return made


def test_a_cluster_measures_and_fills_what_this_process_would(
    make: Callable[[str], Inputs], tmp_path: Path
) -> None:
    here = make("here")
    metrics, (folder,) = here.metrics_of_teachers, fill_teacher_caches(here).values()
    there = make("there")
    there.elsewhere = work = Somewhere()
    shutil.copytree(tmp_path / "teacher", tmp_path / "copy")
    (name,) = there.teachers
    there.copies[name] = str(tmp_path / "copy")
    shutil.move(tmp_path / "teacher", tmp_path / "unseen")  # by the nodes
    assert there.metrics_of_teachers == metrics
    (other,) = fill_teacher_caches(there).values()
    assert other != folder
    files = sorted(path.name for path in Path(folder).glob("*.safetensors"))
    assert files
    assert all((Path(folder) / one).read_bytes() == (Path(other) / one).read_bytes() for one in files)
    names = [function for function, _ in work.handed]
    assert names == ["measure_model", *["fill_ordered"] * len(files)]
    (_, (order,)), *_ = work.handed
    assert json.loads(json.dumps(asdict(order)))["teacher"] == str(tmp_path / "copy")
    fill_teacher_caches(there)
    assert len(work.handed) == 1 + len(files), "what is there is not computed again"
