"""What every row of `FAMILIES` promises: of its small student, and of each part of it that a task deploys."""

import dataclasses
import inspect
import json
import re
import typing
from functools import cache

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from spaces.plugins import resolve
from tests.contracts import models
from trainables.costs.flops import flops_by_mode
from trainables.costs.subject import Subject
from trainables.families import FAMILIES, FIRST
from trainables.families.base import Blueprint, Family
from trainables.signals import PIXELS, Batch, Signals, Want, modes
from trainables.tasks.base import servings_of


@cache
def parts(kind: str) -> dict[str, Blueprint]:
    return models.parts(kind)


def cases() -> list[tuple[str, str]]:
    """Return each family with its small student, and with what of it a task deploys; once what several tasks deploy alike."""
    found: dict[str, list[tuple[str, Blueprint]]] = {kind: [] for kind in FAMILIES}
    for kind, known in found.items():
        for name, plan in parts(kind).items():
            if plan not in [other for _, other in known]:
                known.append((name, plan))
    return [(kind, name) for kind, known in found.items() for name, _ in known]


@pytest.fixture
def plan(kind: str, part: str) -> Blueprint:
    """The small student, or what of it a task deploys."""
    return parts(kind)[part]


@pytest.fixture
def model(plan: Blueprint) -> Family:
    return models.built(plan)


def class_of(kind: str) -> type[Family]:
    family: type[Family] = resolve(FAMILIES, kind, "families")
    return family


def equal(one: Signals, other: Signals) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[want], other[want]) for want in one)


def _flops(model: Family, mode: str, tokens: int) -> int:
    inputs = model.pass_inputs(mode, tokens)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.run_pass(mode, inputs)
    return int(counter.get_total_flops())


def floats(found: Signals) -> dict[Want, Tensor]:
    return {want: value for want, value in found.items() if value.is_floating_point()}


def test_table_is_sorted_and_holds_the_first() -> None:
    assert list(FAMILIES) == sorted(FAMILIES)
    assert FIRST in FAMILIES


@pytest.mark.parametrize("kind", FAMILIES)
class TestEveryFamily:
    def test_is_a_final_family_with_frozen_documented_options_and_a_frozen_architecture(
        self, kind: str
    ) -> None:
        family = class_of(kind)
        assert issubclass(family, Family)
        assert not inspect.isabstract(family)
        assert getattr(family, "__final__", False)
        assert family.Architecture.__dataclass_params__.frozen  # type: ignore[attr-defined]
        classes = [family.Config]
        for config in classes:  # grows: nested options are options, too
            assert config.__dataclass_params__.frozen  # type: ignore[attr-defined]
            for field in dataclasses.fields(config):
                assert field.kw_only
                told = " ".join(
                    base.__doc__ or "" for base in config.__mro__
                )  # options of a base are told there
                assert re.search(rf"\b{field.name}\b", told), f"{config.__name__}.{field.name}"
                kind_of = typing.get_type_hints(config)[field.name]
                if dataclasses.is_dataclass(kind_of):
                    classes.append(typing.cast(type, kind_of))

    def test_resolving_absolute_options_changes_nothing_more(self, kind: str) -> None:
        family = class_of(kind)
        once = family.resolve(models.example(kind), models.AROUND.sizes)
        again = family.resolve(once.options, models.AROUND.sizes)
        assert again.options == once.options
        assert not again.roundings
        assert json.loads(json.dumps(once.options)) == once.options

    def test_a_student_of_the_same_family_that_takes_all_of_its_teacher_has_its_sizes(
        self, kind: str
    ) -> None:
        teacher = models.blueprint(kind)
        assert all(isinstance(size, int) and size >= 0 for size in teacher.sizes.values())
        if teacher.sizes:  # else none of its options is relative
            around = dataclasses.replace(models.AROUND, sizes=teacher.sizes, teacher=teacher.architecture)
            assert models.blueprint(kind, around, "1x").sizes == teacher.sizes


@pytest.mark.parametrize(("kind", "part"), cases())
class TestEveryModel:
    def test_says_exactly_what_is_wanted_in_the_shapes_that_it_offers(
        self, kind: str, part: str, plan: Blueprint, model: Family
    ) -> None:
        for wants in models.single(plan.offers):
            (want,) = wants
            offer, batch = plan.offers[want], models.batch_for(model, wants)
            assert len(offer.axes) == len(offer.sizes)
            found = models.said(model, wants)
            assert set(found) == wants
            assert bool(found[want].isfinite().all()), want
            shape = tuple(found[want].shape)
            if not offer.rows:
                assert shape == offer.sizes, want
                continue
            assert shape[1:] == models.shape_of(offer, batch), want
            if offer.rows in batch.rows:
                assert shape[0] == models.ROWS, want
            assert not offer.mask or offer.mask in batch, want
            assert "T" not in offer.axes or shape[1 + offer.axes.index("T")] <= offer.size("T"), want

    def test_says_all_at_once_what_it_says_one_by_one(
        self, kind: str, part: str, plan: Blueprint, model: Family
    ) -> None:
        together = models.said(model, frozenset(plan.offers))
        assert set(together) == set(plan.offers)
        for wants in models.single(plan.offers):
            (want,) = wants
            alone = models.said(model, wants)[want]
            # rows that only other wants bring (negatives) come last
            rows = together[want][: len(alone)] if plan.offers[want].rows else together[want]
            models.close(rows, alone, want)

    def test_says_the_same_every_time_and_of_each_row_whatever_stands_beside_it(
        self, kind: str, part: str, plan: Blueprint, model: Family
    ) -> None:
        wants = frozenset(want for want, offer in plan.offers.items() if offer.rows != "pair")
        expected, batch = models.said(model, wants), models.batch_for(model, wants)
        assert equal(models.said(model, wants), expected)
        given = models.given_for(model, wants, batch)
        for row in range(models.ROWS):
            alone = Batch(
                fields={name: value[[row]] for name, value in batch.fields.items()},
                rows={name: value[[row]] for name, value in batch.rows.items()},
            )
            taught = Signals({want: value[[row]] if value.ndim else value for want, value in given.items()})
            with torch.no_grad():
                for want, value in model(alone, wants, taught).items():
                    if plan.offers[want].rows:
                        models.close(expected[want][[row]], value, want)

    def test_embeddings_have_unit_norm(self, kind: str, part: str, plan: Blueprint, model: Family) -> None:
        wants = frozenset(want for want in plan.offers if want.what == "embedding")
        assert wants or (kind, part) != (FIRST, "whole"), "nothing was looked at"
        for value in models.said(model, wants).values():
            torch.testing.assert_close(value.norm(dim=-1), torch.ones(len(value)))

    def test_attention_maps_are_probabilities(
        self, kind: str, part: str, plan: Blueprint, model: Family
    ) -> None:
        wants = frozenset(want for want in plan.offers if want.what.endswith("attention"))
        assert wants or (kind, part) != (FIRST, "whole"), "nothing was looked at"
        for value in models.said(model, wants).values():
            assert bool((value >= 0).all())
            torch.testing.assert_close(value.sum(-1), torch.ones(value.shape[:-1]))

    def test_weights_survive_a_state_dict(self, kind: str, part: str, plan: Blueprint, model: Family) -> None:
        wants, other = frozenset(plan.offers), models.built(plan, seed=1)
        before = floats(models.said(other, wants))
        expected = models.said(model, wants)
        assert all(not torch.equal(value, before[want]) for want, value in floats(expected).items()), plan
        other.load_state_dict(model.state_dict())
        assert equal(models.said(other, wants), expected)

    def test_is_built_on_the_meta_device_with_the_same_parameters_and_no_random_number(
        self, kind: str, part: str, plan: Blueprint, model: Family
    ) -> None:
        before = torch.get_rng_state()
        bare = plan.on_meta()
        assert torch.equal(torch.get_rng_state(), before)
        assert not bare.training
        assert all(parameter.is_meta for parameter in bare.parameters())
        assert {name: value.shape for name, value in bare.state_dict().items()} == {
            name: value.shape for name, value in model.state_dict().items()
        }

    def test_every_signal_trains(self, kind: str, part: str, plan: Blueprint, model: Family) -> None:
        for want in plan.offers:
            wants = frozenset({want})
            batch = models.batch_for(model, wants)
            looks = PIXELS in batch and want.layer is None  # a layer may stand before the first that sees
            if looks:
                batch.fields[PIXELS].requires_grad_()
            value = model(batch, wants, models.given_for(model, wants, batch))[want]
            if not value.is_floating_point():
                continue
            model.zero_grad()
            value.float().sin().sum().backward()
            assert any(p.grad is not None and bool(p.grad.any()) for p in model.parameters()), want
            if looks:
                seen = batch[PIXELS].grad
                assert seen is not None, want
                assert bool(seen.any()), want

    def test_every_weight_is_used_by_some_signal(
        self, kind: str, part: str, plan: Blueprint, model: Family
    ) -> None:
        wants = frozenset(plan.offers)
        batch = models.batch_for(model, wants)
        found = floats(model(batch, wants, models.given_for(model, wants, batch)))
        torch.stack([value.float().sin().sum() for value in found.values()]).sum().backward()
        idle = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
        assert not idle, idle

    def test_pictures_that_it_has_seen_need_not_be_shown_again(
        self, kind: str, part: str, plan: Blueprint, model: Family
    ) -> None:
        reusable = model.reusable
        assert reusable <= set(plan.offers)
        known = models.said(model, reusable) if reusable else Signals()
        for wants in models.single(plan.offers) if reusable else ():
            batch = models.batch_for(model, wants)
            if PIXELS not in batch or modes(wants) & modes(reusable):
                continue
            given = models.given_for(model, wants, batch)
            blind = {name: value for name, value in batch.fields.items() if name != PIXELS}
            found = model(dataclasses.replace(batch, fields=blind), wants, given, known)
            assert equal(found, model(batch, wants, given)), wants

    def test_what_is_deployed_says_the_same_with_a_part_of_the_weights(
        self, kind: str, part: str, plan: Blueprint, model: Family
    ) -> None:
        whole, trained = plan.offers, model.state_dict()
        # some tasks can do with a part of what they want
        tasks = [task.wants & frozenset(whole) for task in models.tasks(whole).values()]
        asked = [*models.single(whole), *tasks]
        for wants in asked:
            small = plan.deployed(wants)
            assert small.kind == plan.kind
            assert small.deployed(wants) == small
            assert wants <= set(small.offers) <= set(whole)
            assert all(small.offers[want] == whole[want] for want in wants)
            served = small.build().eval()
            assert all(trained[name].shape == value.shape for name, value in served.state_dict().items())
            served.load_state_dict({name: trained[name] for name in served.state_dict()})
            assert equal(models.said(served, wants), models.said(model, wants)), wants

    def test_every_pass_that_a_task_serves_runs_here_and_on_the_meta_device(
        self, kind: str, part: str, plan: Blueprint, model: Family
    ) -> None:
        tasks = models.tasks(plan.offers)
        assert tasks, "a student that can do nothing"
        bare = plan.on_meta()
        for one in servings_of(tasks.values(), plan.offers):
            assert one.repeats >= 1
            first, again = (model.pass_inputs(one.mode, one.tokens) for _ in range(2))
            assert all(torch.equal(first[name], again[name]) for name in again)
            shapes = {name: (value.shape, value.dtype) for name, value in first.items()}
            empty = bare.pass_inputs(one.mode, one.tokens)
            assert {name: (value.shape, value.dtype) for name, value in empty.items()} == shapes
            assert all(value.is_meta for value in empty.values())
            with torch.no_grad():
                model.run_pass(one.mode, first)
                bare.run_pass(one.mode, empty)

    def test_flops_from_its_sample_are_those_of_the_whole_model(
        self, kind: str, part: str, plan: Blueprint
    ) -> None:
        servings = servings_of(models.tasks(plan.offers).values(), plan.offers)
        expected: dict[str, int] = {}
        bare = plan.on_meta()
        for one in servings:
            with torch.no_grad(), FlopCounterMode(display=False) as counter:
                bare.run_pass(one.mode, bare.pass_inputs(one.mode, one.tokens))
            spent = one.repeats * counter.get_total_flops()
            expected[one.mode] = expected.get(one.mode, 0) + spent
        assert flops_by_mode(Subject(blueprint=plan, servings=servings)) == expected
        assert all(count > 0 for count in expected.values())

    def test_blocks_of_a_pass_cost_together_what_it_costs(
        self, kind: str, part: str, plan: Blueprint
    ) -> None:
        bare = plan.on_meta()
        for one in servings_of(models.tasks(plan.offers).values(), plan.offers):
            whole = _flops(bare, one.mode, one.tokens)
            blocks = plan.family.blocks(plan.architecture, one.mode)
            small = [Blueprint(kind, block.architecture) for block in blocks]
            counted = [
                block.repeats * _flops(own.on_meta(), block.mode, one.tokens)
                for block, own in zip(blocks, small, strict=True)
            ]
            assert sum(counted) == whole, (one.mode, [block.mode for block in blocks], counted)
            for block, own in zip(blocks, small, strict=True):
                json.dumps(own.to_dict())
                built = models.built(own)
                with torch.no_grad():
                    built.run_pass(block.mode, built.pass_inputs(block.mode, one.tokens))

    def test_blueprint_goes_through_json(self, kind: str, part: str, plan: Blueprint) -> None:
        fields = plan.to_dict()
        assert fields["family"] == kind
        assert Blueprint.from_dict(json.loads(json.dumps(fields))) == plan

    def test_a_step_of_the_optimiser_leaves_it_finite(
        self, kind: str, part: str, plan: Blueprint, model: Family
    ) -> None:
        model.prepare_training({})
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.ones_like(parameter))
        model.after_step()
        found = models.said(model.eval(), frozenset(plan.offers))
        assert all(bool(value.isfinite().all()) for value in floats(found).values())
