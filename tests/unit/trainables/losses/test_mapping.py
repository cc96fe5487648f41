import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spaces.errors import PluginError
from trainables.losses.base import Ends, Needs
from trainables.losses.features.mapping import (
    LAYER_CHOICES,
    LayerMap,
    layer_needs,
    layer_pairs,
    require_layers,
)
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
    choice: str,
    student: range | tuple[int, ...],
    source: range | tuple[int, ...],
    rule: LayerMap = "uniform",
) -> tuple[tuple[int | None, int | None], ...]:
    found = layer_pairs(choice, ends(student, source), "text", "hidden", rule=rule)
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


def test_the_last_layers_of_the_teacher_are_met_in_their_order_where_that_is_asked() -> None:
    assert pairs("all", range(3), range(6), "last") == ((0, 3), (1, 4), (2, 5))
    assert pairs("even", range(4), range(12), "last") == ((1, 9), (3, 11))
    assert pairs("all", range(3), range(2), "last") == ((0, 0), (1, 0), (2, 1))  # of a deeper student


def test_pairs_are_taken_as_they_are_named() -> None:
    assert pairs("0>1, 2>5", range(3), range(6)) == ((0, 1), (2, 5))
    assert pairs("-1>-1,-2 > 0", range(3), range(6)) == ((2, 5), (1, 0))
    assert pairs("-1>-2", (0, 2), (3, 4, 5)) == ((2, 4),)  # the last of those that offer it
    assert pairs("0>1, -1>1", range(1), range(6)) == ((0, 1),)  # two names of one layer


def test_a_pair_that_is_not_there_is_asked_for_all_the_same_so_that_whoever_lacks_it_is_told() -> None:
    needs = layer_needs("7>1", ends(range(3), range(6)), "text", "hidden")
    assert needs.student == {Want("text", "hidden", 7)}
    assert layer_needs("0>-9", ends(range(3), range(6)), "text", "hidden").source == {
        Want("text", "hidden", -9)
    }


@pytest.mark.parametrize(
    ("layers", "rule", "said"),
    [
        ("first", "uniform", "layers: got 'first'; allowed: last, even, all, or pairs"),
        ("0>1, 0>2", "uniform", "layers: got '0>1, 0>2'"),
        ("0>1,", "uniform", "layers: got '0>1,'"),
        (3, "uniform", "layers: got 3; allowed: a text"),
        ("all", "first", "map: got 'first'; allowed: uniform, last"),
        ("0>1", "last", "map: got 'last' beside layers named one by one"),
    ],
)
def test_other_layers_and_maps_are_refused(layers: object, rule: str, said: str) -> None:
    with pytest.raises(PluginError, match=re.escape(said)):
        require_layers(layers, rule)


@given(st.sampled_from(LAYER_CHOICES), st.integers(1, 24), st.integers(1, 24))
def test_pairs_exist_ascend_and_end_at_the_last(choice: str, num_student: int, num_source: int) -> None:
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
