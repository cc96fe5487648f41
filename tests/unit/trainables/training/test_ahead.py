"""Examples made ahead by a thread: the same ones in the same order, one at a time, and its errors are told."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.unit.trainables.small import CPU, candidate_config, encoded, silent
from trainables.datasets.encoded import EncodedSplit
from trainables.signals import NoSource
from trainables.teachers.cache.fill import build_cache
from trainables.teachers.cache.read import TeacherCache
from trainables.teachers.teacher import Teacher
from trainables.training import ahead, trainer
from trainables.training.ahead import made_ahead
from trainables.training.build import build_step
from trainables.training.config import TrainingConfig
from trainables.training.sources import Sources, read_on_host
from trainables.training.trainer import Placement, Trainer

GPU = torch.device("cuda")


@pytest.fixture(autouse=True)
def taken(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the GPUs that threads have taken; the process is on the fourth."""
    found: list[int] = []
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 3)
    monkeypatch.setattr(torch.cuda, "set_device", found.append)
    return found


def test_a_thread_is_one_ahead_on_the_gpu_of_its_process(taken: list[int]) -> None:
    made: list[int] = []
    threads = set[int]()

    def items() -> Iterator[int]:
        for number in range(5):
            made.append(number)
            threads.add(threading.get_ident())
            yield number

    seen = []
    for number in made_ahead(items(), GPU):
        seen.append(number)
        deadline = time.monotonic() + 60
        while len(made) < min(number + 2, 5) and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(0.01)
        assert len(made) == min(number + 2, 5)
    assert seen == made == list(range(5))
    assert taken == [3]
    assert threads != {threading.get_ident()}


def test_on_a_cpu_nothing_is_made_ahead(taken: list[int]) -> None:
    items = made_ahead(iter([threading.get_ident] * 2), CPU)
    assert [one() for one in items] == [threading.get_ident()] * 2
    assert not taken


def test_an_error_comes_where_its_item_would_and_whoever_stops_leaves_no_thread() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise torch.OutOfMemoryError("full")

    before = threading.active_count()
    found = made_ahead(items(), GPU)
    assert next(found) == 1
    with pytest.raises(torch.OutOfMemoryError, match="full"):
        next(found)
    endless = made_ahead(iter(int, 1), GPU)
    next(endless)
    endless.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


def test_only_what_is_read_from_files_is_asked_for_in_a_thread(teacher: Teacher, tmp_path: Path) -> None:
    """A model may be changing meanwhile."""
    step, _ = build_step(candidate_config(), teacher, seed=0)
    build_cache(
        tmp_path, teacher, encoded(teacher, "train"), step.source_wants, precision="float32", progress=silent
    )
    cache = TeacherCache(tmp_path, teacher.offers)
    assert read_on_host(cache, "train")
    assert read_on_host(Sources(teacher, {"train": cache}), "train")
    assert not read_on_host(Sources(teacher, {"train": cache}), "val")
    assert not read_on_host(teacher, "train")
    assert not read_on_host(NoSource(), "train")


@pytest.mark.parametrize("cached", [False, True])
def test_a_training_whose_examples_are_made_ahead_is_the_same_to_the_bit(
    teacher: Teacher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, cached: bool
) -> None:
    split, source = encoded(teacher, "train"), teacher
    if cached:
        step, _ = build_step(candidate_config(), teacher, seed=0)
        build_cache(tmp_path, teacher, split, step.source_wants, precision="float16", progress=silent)
        source = TeacherCache(tmp_path, teacher.offers)  # type: ignore[assignment]

    def trained() -> list[dict[str, float]]:
        step, _ = build_step(candidate_config(), teacher, seed=0)
        options = TrainingConfig(epochs=2, pairs_per_epoch=24, batch_size=8, lr=1e-3)
        made = Trainer(step, split, source, options, seed=1, placement=Placement(device=CPU))
        return [made.run_epoch(epoch) for epoch in range(2)]

    alone = trained()
    monkeypatch.setattr(trainer, "made_ahead", lambda items, device: ahead.made_ahead(items, GPU))
    assert trained() == alone


def test_pictures_are_gathered_as_numpy_indexes_them(teacher: Teacher, train_split: EncodedSplit) -> None:
    import numpy as np

    rows = np.array([3, 0, 3, 7])
    assert torch.equal(train_split._pixels(rows, CPU), torch.from_numpy(train_split.pixels[rows]))
