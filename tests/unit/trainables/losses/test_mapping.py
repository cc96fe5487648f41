import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainables.losses.mapping import LAYER_CHOICES, Layers, layer_pairs


def test_half_as_many_layers_meet_every_other_one() -> None:
    assert layer_pairs("all", range(3), range(6)) == ((0, 1), (1, 3), (2, 5))


def test_last_layers_meet() -> None:
    assert layer_pairs("last", range(3), range(6)) == ((2, 5),)


def test_even_takes_every_other_student_layer_from_the_last() -> None:
    assert layer_pairs("even", range(3), range(6)) == ((0, 1), (2, 5))
    assert layer_pairs("even", range(4), range(12)) == ((1, 5), (3, 11))


def test_indices_of_subsets_are_absolute() -> None:
    assert layer_pairs("all", (0, 2), (3, 4, 5)) == ((0, 4), (2, 5))


def test_deeper_student_repeats_teacher_layers() -> None:
    assert [pair.teacher for pair in layer_pairs("all", range(6), range(2))] == [0, 0, 0, 0, 1, 1]


@given(st.sampled_from(LAYER_CHOICES), st.integers(1, 24), st.integers(1, 24))
def test_pairs_exist_ascend_and_end_at_the_last(choice: Layers, num_student: int, num_teacher: int) -> None:
    pairs = layer_pairs(choice, range(num_student), range(num_teacher))
    assert pairs[-1] == (num_student - 1, num_teacher - 1)
    assert all(0 <= p.student < num_student and 0 <= p.teacher < num_teacher for p in pairs)
    assert list(pairs) == sorted(pairs)


@pytest.mark.parametrize("depth", [1, 2, 5, 12])
def test_equal_depths_map_one_to_one(depth: int) -> None:
    assert all(pair.student == pair.teacher for pair in layer_pairs("all", range(depth), range(depth)))
