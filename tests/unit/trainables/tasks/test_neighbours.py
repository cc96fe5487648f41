"""Agreement with the teacher, by hand: who is near whom for the one, and for the other."""

from pathlib import Path

import pytest
import torch
from torch.nn import functional

from spaces.errors import PluginError
from tests.unit.trainables.small import CPU, encoded, silent
from tests.unit.trainables.tasks.told import EMBEDDING, Told, pictures
from trainables.tasks.evaluation import evaluate
from trainables.tasks.neighbours import Neighbours, common_neighbours
from trainables.tasks.pool import EvaluationSize, Pool, PoolRows
from trainables.teachers.cache.fill import build_cache
from trainables.teachers.teacher import Teacher
from trainables.training.sources import Sources, opened_cache

ALL = EvaluationSize(images=10**6)


def circle(*degrees: float) -> torch.Tensor:
    """Unit vectors in a plane: the nearer two angles, the nearer the pictures."""
    angles = torch.tensor(degrees) * torch.pi / 180
    return torch.stack([angles.cos(), angles.sin()], dim=1)


def test_the_nearest_of_each_are_compared_and_no_picture_is_its_own() -> None:
    ours, theirs = circle(0, 10, 25, 90), circle(0, 10, 95, 90)
    # nearest: ours 1, 0, 1, 2; theirs 1, 0, 3, 2
    assert common_neighbours(ours, theirs, 1) == 3 / 4
    # two nearest: ours {1,2}, {0,2}, {1,0}, {2,1}; theirs {1,3}, {0,3}, {3,1}, {2,1}
    assert common_neighbours(ours, theirs, 2) == (1 + 1 + 1 + 2) / 8


def test_equal_models_agree_whatever_the_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainables.tasks.neighbours.CHUNK", 3)
    some = functional.normalize(torch.randn(10, 5, generator=torch.Generator().manual_seed(0)), dim=1)
    assert common_neighbours(some, some, 4) == 1.0


def test_what_is_not_finite_is_near_nobody() -> None:
    broken = circle(0, 10, 25, 90)
    broken[1] = float("nan")
    assert common_neighbours(broken, circle(0, 10, 25, 90), 1) == 0.25  # the last one's: the third


def test_random_embeddings_agree_as_chance_says() -> None:
    source = torch.Generator().manual_seed(1)
    one, other = (functional.normalize(torch.randn(400, 8, generator=source), dim=1) for _ in range(2))
    share, found = 10 / 399, common_neighbours(one, other, 10)
    assert abs(found - share) < 3 * (share * (1 - share) / 4000) ** 0.5


def test_a_number_of_neighbours_below_one_is_refused() -> None:
    with pytest.raises(PluginError, match="k: got 0"):
        Neighbours.Config(k=0)


def test_a_student_is_compared_with_its_teacher_be_it_live_or_cached(
    teacher: Teacher, tmp_path: Path
) -> None:
    split, task = encoded(teacher, "val"), Neighbours(Neighbours.Config(k=3))
    random = torch.randn(split.num_images, 5, generator=torch.Generator().manual_seed(2))
    student = Told({"val": {EMBEDDING: functional.normalize(random, dim=1)}})
    theirs = Pool(teacher.model, split, CPU, size=ALL).of_pictures(EMBEDDING)
    expected = {"neighbours": 100.0 * common_neighbours(student.said["val"][EMBEDDING], theirs, 3)}
    assert 0.0 < expected["neighbours"] < 100.0
    build_cache(tmp_path, teacher, split, task.taught, precision="float32", progress=silent)
    live, cached = Sources(teacher, {}), Sources(teacher, {"val": opened_cache(str(tmp_path), teacher)})
    for source in (live, cached):
        assert evaluate(student, split, tasks=[task], size=ALL, source=source) == expected
    assert evaluate(teacher.model, split, tasks=[task], size=ALL) == {"neighbours": 100.0}
    blind = evaluate(teacher.model, split, tasks=[task], size=ALL, source=live, blind=True)
    assert blind["neighbours"] < 100.0, "what it is compared with still sees"


@pytest.mark.parametrize(
    ("count", "level"), [(3, 100 / 2), (6, 100 * 2 / 5), (21, 100 * 10 / 20), (100, 100 * 10 / 99)]
)
def test_of_a_small_pool_guessing_finds_half_at_most(count: int, level: float) -> None:
    task, split = Neighbours(Neighbours.Config()), pictures([0] * count)
    chance = task.chance(PoolRows(split, ALL))
    assert chance is not None
    assert (chance.level, chance.count) == (pytest.approx(level), count)
    said = Told({"val": {EMBEDDING: circle(*range(count))}})
    assert evaluate(said, split, tasks=[task], size=ALL) == {"neighbours": 100.0}


def test_two_pictures_have_no_neighbours_to_choose_among() -> None:
    task, split = Neighbours(Neighbours.Config()), pictures([0, 0])
    assert task.chance(PoolRows(split, ALL)) is None
    assert evaluate(Told({"val": {EMBEDDING: circle(0, 1)}}), split, tasks=[task], size=ALL) == {}
