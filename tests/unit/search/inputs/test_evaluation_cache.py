"""Students that read their teacher are evaluated from what was cached of it; of others nothing is cached for that."""

from pathlib import Path

import numpy as np
import pytest
import torch

from search.candidates.admissions import StudentAdmissions
from search.inputs.inputs import Inputs
from search.inputs.teacher_cache import (
    evaluated_wants,
    evaluation_source,
    fill_evaluation_caches,
    fill_teacher_caches,
)
from spaces.load import load_space
from tests.unit.search.earlier_run import ONE_WORKER, load_recorder
from tests.unit.trainables.small import CPU, silent, write_teacher
from tests.unit.trainables.training.head import IMAGE, TEXT
from trainables.families import FAMILIES
from trainables.signals import NOTHING
from trainables.teachers.cache.contents import read_contents
from trainables.teachers.cache.part_file import PartFile

COSTS = {"params": 1.0, "flops": 2.0, "latency_ms": 3.0, "size_mib": 4.0}
SPACE = """\
name: small
teacher: {teacher}
dataset: {{kind: scenes, train_images: 8, val_images: 8, test_images: 8}}
student: {{kind: {kind}}}
tasks: [retrieval]
losses: {{{losses}: {{weight: 1}}}}
training: {{epochs: 2, pairs_per_epoch: 8, batch_size: 8, lr: 1e-3}}
objectives: {{retention: max, params: min}}
search: {{searcher: {{kind: random}}, scheduler: {{kind: moasha, rungs: [1]}}, trials: 4}}
teacher_cache: {{precision: float16}}
"""


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_teacher(tmp_path_factory.mktemp("teacher"), seed=3)


@pytest.fixture
def heads(teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Inputs:
    monkeypatch.setitem(FAMILIES._own, "head", "tests.unit.trainables.training.head:Head")  # type: ignore[arg-type]
    file = tmp_path / "heads.yaml"
    file.write_text(SPACE.format(teacher=teacher, kind="head", losses="image_embedding"))
    return Inputs(load_space(file, []), say=silent)


def test_what_heads_read_is_cached_of_the_validation_split_in_full_precision(heads: Inputs) -> None:
    (name,) = heads.teachers
    assert evaluated_wants(heads, name) == {IMAGE, TEXT}
    (folder,) = fill_evaluation_caches(heads).values()
    assert folder not in fill_teacher_caches(heads).values()
    (file,) = Path(folder).glob("*.safetensors")
    arrays = PartFile(file).arrays
    assert sorted(arrays) == ["image.embedding", "text.embedding"]
    assert {array.dtype for array in arrays.values()} == {np.dtype("float32")}


def test_a_split_is_read_from_its_cache_and_said_live_where_there_is_none(heads: Inputs) -> None:
    (name,) = heads.teachers
    source = evaluation_source(heads, name, "test")
    assert source.fields("test", frozenset({IMAGE})) == NOTHING
    batch = heads.split("test", name).batch({"picture": np.array([5, 2])}, CPU)
    live = heads.teachers[name].signals(batch, frozenset({IMAGE}))[IMAGE]
    torch.testing.assert_close(source.signals(batch, frozenset({IMAGE}))[IMAGE], live)
    assert "picture.pixels" in source.fields("val", frozenset({IMAGE}))


def test_students_that_look_themselves_need_no_such_cache(teacher: Path, tmp_path: Path) -> None:
    file = tmp_path / "alone.yaml"
    kind = "blip, image: {width: 16, depth: 1}, text: {width: 16, depth: 1}, fusion: {layers: 0}"
    file.write_text(SPACE.format(teacher=teacher, kind=kind, losses="itc"))
    inputs = Inputs(load_space(file, []), say=silent)
    (name,) = inputs.teachers
    assert fill_evaluation_caches(inputs) == {}
    assert evaluation_source(inputs, name, "test").caches == {}


def test_what_a_task_compares_with_is_cached_for_students_that_look_themselves(
    teacher: Path, tmp_path: Path
) -> None:
    file = tmp_path / "alone.yaml"
    kind = "blip, image: {width: 16, depth: 1}, text: {width: 16, depth: 1}, fusion: {layers: 0}"
    file.write_text(SPACE.format(teacher=teacher, kind=kind, losses="itc"))
    inputs = Inputs(load_space(file, ["tasks=[neighbours]"]), say=silent)
    (name,) = inputs.teachers
    assert evaluated_wants(inputs, name) == {IMAGE}
    (folder,) = fill_evaluation_caches(inputs).values()
    assert IMAGE in read_contents(Path(folder)).wants  # another test may have filled it with more
    for split in ("val", "test"):
        assert evaluation_source(inputs, name, split).fields(split, frozenset({IMAGE})) == NOTHING


def test_a_live_teacher_is_asked_live(heads: Inputs, tmp_path: Path) -> None:
    live = Inputs(load_space(tmp_path / "heads.yaml", ["teacher_cache.kind=live"]), say=silent)
    (name,) = live.teachers
    assert fill_evaluation_caches(live) == {}
    assert evaluation_source(live, name, "val").caches == {}


def test_a_job_names_the_cache_and_the_checkpoints_of_its_space(heads: Inputs, tmp_path: Path) -> None:
    admissions = StudentAdmissions(heads, load_recorder(tmp_path, heads), folder=tmp_path, rungs=(1,))
    admissions.open(caches={}, launch=ONE_WORKER)
    candidate = admissions.build({}, 0).candidate
    assert admissions.job(candidate, COSTS).evaluation_cache == ""
    admissions.held_out = fill_evaluation_caches(heads)
    job = admissions.job(candidate, COSTS)
    assert read_contents(Path(job.evaluation_cache)).wants == {IMAGE, TEXT}
    assert job.checkpoints == {"every_epoch": False, "keep_best": True}
