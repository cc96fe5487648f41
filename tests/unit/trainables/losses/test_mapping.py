import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainables.losses.base import Ends, Needs
from trainables.losses.features.mapping import LAYER_CHOICES, Layers, layer_needs, layer_pairs
from trainables.signals import NOTHING, Offer, Want


def ends(student: range | tuple[int, ...], source: range | tuple[int, ...]) -> Ends:
    """Return two models with these layers of one mode, and a state of another mode, which is not looked at."""
    offers = [
        {Want("text", "hidden", index): Offer() for index in (*layers,)}
        | {Want("image", "hidden", 9): Offer(), Want("text", "attention", 9): Offer()}
        for layers in (student, source)
    ]
    return Ends(name="text_hidden", student=offers[0], source=offers[1])


def pairs(
    choice: Layers, student: range | tuple[int, ...], source: range | tuple[int, ...]
) -> tuple[tuple[int | None, int | None], ...]:
    found = layer_pairs(choice, ends(student, source), "text", "hidden")
    assert all((want.mode, want.what) == ("text", "hidden") for pair in found for want in pair)
    return tuple((pair.student.layer, pair.source.layer) for pair in found)


def test_half_as_many_layers_meet_every_other_one() -> None:
    assert pairs("all", range(3), range(6)) == ((0, 1), (1, 3), (2, 5))


def test_last_layers_meet() -> None:
    assert pairs("last", range(3), range(6)) == ((2, 5),)


def test_even_takes_every_other_student_layer_from_the_last() -> None:
    assert pairs("even", range(3), range(6)) == ((0, 1), (2, 5))
    assert pairs("even", range(4), range(12)) == ((1, 5), (3, 11))


def test_indices_of_subsets_are_absolute() -> None:
    assert pairs("all", (0, 2), (3, 4, 5)) == ((0, 4), (2, 5))


def test_deeper_student_repeats_teacher_layers() -> None:
    assert [source for _, source in pairs("all", range(6), range(2))] == [0, 0, 0, 0, 1, 1]


@given(st.sampled_from(LAYER_CHOICES), st.integers(1, 24), st.integers(1, 24))
def test_pairs_exist_ascend_and_end_at_the_last(choice: Layers, num_student: int, num_source: int) -> None:
    found = pairs(choice, range(num_student), range(num_source))
    assert found[-1] == (num_student - 1, num_source - 1)
    assert all(a in range(num_student) and b in range(num_source) for a, b in found)
    assert list(found) == sorted(found)


@pytest.mark.parametrize("depth", [1, 2, 5, 12])
def test_equal_depths_map_one_to_one(depth: int) -> None:
    assert pairs("all", range(depth), range(depth)) == tuple((index, index) for index in range(depth))


@pytest.mark.parametrize(("student", "source"), [((), range(3)), (range(3), ()), ((), ())])
def test_nothing_is_mapped_where_one_of_the_two_has_no_such_layer(
    student: range | tuple[int, ...], source: range | tuple[int, ...]
) -> None:
    assert pairs("all", student, source) == ()


def test_a_loss_needs_the_layers_of_its_pairs() -> None:
    needs = layer_needs("even", ends(range(3), range(6)), "text", "hidden")
    assert needs == Needs(
        student=frozenset({Want("text", "hidden", 0), Want("text", "hidden", 2)}),
        source=frozenset({Want("text", "hidden", 1), Want("text", "hidden", 5)}),
    )


def test_who_has_no_such_layer_is_asked_for_one_that_nobody_has_and_the_other_for_nothing() -> None:
    nobody = frozenset({Want("text", "hidden")})
    assert layer_needs("last", ends((), range(6)), "text", "hidden") == Needs(student=nobody, source=NOTHING)
    assert layer_needs("last", ends(range(3), ()), "text", "hidden") == Needs(student=NOTHING, source=nobody)
