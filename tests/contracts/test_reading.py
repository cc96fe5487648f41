"""Whatever a student may read of a teacher of the table has a pass that can be served, counted, timed and exported."""

from functools import cache

import pytest
import torch

from spaces.plugins import resolve
from trainables.costs.flops import flops_by_mode
from trainables.costs.subject import Subject, reading
from trainables.families.base import Blueprint
from trainables.signals import TEXTS, Serving, Want
from trainables.teachers import TEACHERS
from trainables.teachers.teacher import Teacher

READ = tuple(
    Want(mode, what)
    for mode in ("image", "text")
    for what in ("pooled", "embedding", "tokens", "joint", "map")
)
"""What the shipped heads and text sides read."""


@cache
def teacher(name: str) -> Teacher:
    made: Teacher = resolve(TEACHERS, name, "teachers").load()
    return made


def subject(name: str, want: Want) -> Subject:
    """Return what a student that reads one signal would bring of its teacher."""
    whole = teacher(name).blueprint
    alone = Subject(blueprint=whole, servings=[Serving(mode=want.mode)])
    found = reading(alone, frozenset({want}), whole).reads
    assert found is not None
    return found


def said(name: str) -> list[Want]:
    """Return those of the signals that a teacher says."""
    found = [want for want in READ if want in teacher(name).offers]
    assert Want("image", "embedding") in found
    return found


@pytest.mark.parametrize("name", TEACHERS)
class TestEveryTeacher:
    def test_serves_what_is_read_by_a_pass_of_its_mode_that_costs_something(self, name: str) -> None:
        for want in said(name):
            found = subject(name, want)
            (serving,) = found.servings
            assert serving.mode == want.mode
            assert (serving.tokens > 0) is (teacher(name).offers[want].rows in TEXTS), want
            assert flops_by_mode(found)[want.mode] > 0
            torch.manual_seed(0)
            model = found.blueprint.build().eval()
            with torch.no_grad():  # as latency is measured: with weights, on the CPU
                model.run_pass(serving.mode, model.pass_inputs(serving.mode, serving.tokens))

    def test_says_what_is_read_by_a_part_that_needs_trained_weights_of_that_side_alone(
        self, name: str
    ) -> None:
        whole = teacher(name)
        trained = whole.model.state_dict()
        for want in said(name):
            part = subject(name, want).blueprint
            assert part.offers[want] == whole.offers[want]
            assert Blueprint.from_dict(part.to_dict()) == part
            needed = part.on_meta().state_dict()
            assert all(trained[key].shape == value.shape for key, value in needed.items())
            other = "text" if want.mode == "image" else "image"
            assert not [key for key in needed if key.startswith(other)], (
                "it is not read, and would be paid for"
            )
