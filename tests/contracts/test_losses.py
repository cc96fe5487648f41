"""What every row of `LOSSES` promises, between a student and a teacher that can feed it."""

import math
from dataclasses import fields
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from spaces.errors import PluginError, ShapeError, TeacherError
from tests.unit.trainables.losses.factory import (
    STUDENT,
    TEACHER,
    build,
    loss_class,
    make_batch,
    make_signals,
    mapped,
    needs_of,
    offers_of,
    student_architecture,
    teacher_architecture,
    with_gradient,
    with_padding_changed,
)
from trainables.losses import LOSSES
from trainables.losses.base import data_lack, source_lack, student_lack
from trainables.losses.logits.itm import LABELS
from trainables.signals import Batch, Offers, Signals
from trainables.training.build import build_losses


def both(
    batch: Batch, student: Offers = STUDENT, source: Offers = TEACHER, *, negatives: bool = True
) -> tuple[Signals, Signals]:
    """Return what student and source say about a batch."""
    return (
        make_signals(student, batch, seed=1, negatives=negatives),
        make_signals(source, batch, seed=2),
    )


def test_table_is_sorted() -> None:
    assert list(LOSSES) == sorted(LOSSES)


@pytest.mark.parametrize("name", LOSSES)
class TestEveryLoss:
    def test_is_a_finite_float32_scalar_that_reads_only_what_it_needs(self, name: str) -> None:
        batch, loss = make_batch(), build(name)
        mine, theirs = both(batch)
        value = loss(mine, theirs, batch)
        assert value.shape == ()
        assert value.dtype == torch.float32
        assert value.isfinite()
        assert value > 0
        # keys and masks are there wherever there are rows; all else has to be told beforehand
        kept = {f for f in batch.fields if f in loss.needs.fields or f.endswith(".mask")}
        bare = Batch(fields={f: batch[f] for f in kept or {"caption.mask"}}, rows=batch.rows)
        sparse = loss(mine.only(loss.needs.student), theirs.only(loss.needs.source), bare)
        assert torch.equal(sparse, value)

    def test_needs_only_what_full_models_offer_and_its_class_says_so_beforehand(self, name: str) -> None:
        loss = build(name)
        needs, ends = needs_of(name)
        assert loss.needs == needs
        assert loss.name == name
        assert needs.student
        assert needs.student <= set(STUDENT)
        assert needs.source <= set(TEACHER)
        assert needs.fields <= set(make_batch().fields)
        assert student_lack(needs, ends) is source_lack(needs, ends) is None
        assert data_lack(needs, make_batch().fields) is None

    def test_sends_gradient_to_all_of_the_student_and_to_nothing_of_the_source(self, name: str) -> None:
        short = offers_of(student_architecture(embedding=12))
        batch, loss = make_batch(), build(name, short)
        mine, theirs = both(batch, short)
        loss(mine, theirs, batch).backward()
        assert with_gradient(mine) == loss.needs.student - {LABELS}
        assert with_gradient(theirs) == set()
        assert all(p.grad is not None and p.grad.any() for p in loss.parameters())

    def test_computes_in_float32_under_autocast(self, name: str) -> None:
        batch, loss = make_batch(), build(name)
        mine, theirs = both(batch, negatives=False)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            value = loss(mine, theirs, batch)
        assert torch.equal(value, loss(mine, theirs, batch))

    def test_does_not_see_padding(self, name: str) -> None:
        batch, loss = make_batch(), build(name)
        mine, theirs = both(batch)
        expected = loss(mine, theirs, batch)
        for junk in (9.0, float("nan")):
            changed = (
                with_padding_changed(mine, STUDENT, batch, junk),
                with_padding_changed(theirs, TEACHER, batch, junk),
            )
            torch.testing.assert_close(loss(*changed, batch), expected)

    def test_follows_the_batch_to_other_lengths_image_sizes_and_numbers_of_pairs(self, name: str) -> None:
        sizes = {"image_size": 40, "patch_size": 8}
        student = offers_of(student_architecture(**sizes))
        teacher, batch = offers_of(teacher_architecture(**sizes)), make_batch(3, tokens=11)
        mine, theirs = both(batch, student, teacher, negatives=False)
        assert build(name, student, teacher)(mine, theirs, batch).isfinite()

    def test_a_student_that_offers_nothing_is_told(self, name: str) -> None:
        needs, ends = needs_of(name, student={})
        reason = student_lack(needs, ends)
        assert reason is not None
        assert reason.endswith("which this student does not have; left out for it.")
        assert source_lack(needs, ends) is None
        with pytest.raises(ShapeError, match=rf"losses\.{name}: needs .*, which this student does not have"):
            build(name, {})

    def test_a_source_that_offers_nothing_is_told_exactly_where_it_is_needed(self, name: str) -> None:
        needs, ends = needs_of(name, source={})
        assert student_lack(needs, ends) is None
        assert (source_lack(needs, ends) is None) == (not build(name).needs.source)
        if source_lack(needs, ends) is None:
            build(name, source={})
        else:
            with pytest.raises(TeacherError, match=rf"losses\.{name}: needs .* of the teacher"):
                build(name, source={})

    def test_weight_zero_switches_it_off_and_any_other_is_told(self, name: str) -> None:
        def made(weight: float) -> tuple[set[str], dict[str, float]]:
            others = {"itc" if name != "itc" else "itm": {"weight": 1.0}}
            losses, weights = build_losses({"losses": {name: {"weight": weight}} | others}, STUDENT, TEACHER)
            return set(losses), weights

        assert name not in made(0.0)[0] | set(made(0.0)[1])
        assert made(0.5)[1][name] == 0.5
        assert name in made(0.5)[0]

    def test_its_value_does_not_hang_on_its_weight(self, name: str) -> None:
        batch = make_batch()
        mine, theirs = both(batch)
        light, heavy = build(name, weight=0.25), build(name, weight=8.0)
        assert torch.equal(light(mine, theirs, batch), heavy(mine, theirs, batch))

    def test_a_student_of_fewer_rows_than_its_source_is_refused(self, name: str) -> None:
        batch, loss = make_batch(), build(name)
        mine, theirs = both(batch, negatives=False)
        fewer = mapped(mine, lambda _, value: value[:-1] if value.ndim else value)
        if loss.needs.source:
            with pytest.raises(ShapeError, match="both must agree"):
                loss(fewer, theirs, batch)

    def test_says_what_is_missing(self, name: str) -> None:
        batch, loss = make_batch(), build(name)
        with pytest.raises(ValueError, match="is not filled"):
            loss(Signals(), make_signals(TEACHER, batch), batch)
        if loss.needs.source:
            with pytest.raises(ValueError, match="is not filled"):
                loss(make_signals(STUDENT, batch), Signals(), batch)

    def test_options_are_checked(self, name: str) -> None:
        config: Any = loss_class(name).Config
        assert {f.name for f in fields(config)} >= {"weight"}
        assert config().weight > 0
        for weight in (-1.0, math.nan, math.inf):
            with pytest.raises(PluginError, match="weight: got"):
                config(weight=weight)
        assert TypeAdapter(config).validate_python({"weight": 2}) == config(weight=2.0)
        with pytest.raises(ValidationError):
            TypeAdapter(config).validate_python({"weight": "much"})

    def test_docstring_names_its_source(self, name: str) -> None:
        assert any(str(year) in (loss_class(name).__doc__ or "") for year in range(2015, 2027))

    def test_is_final(self, name: str) -> None:
        assert getattr(loss_class(name), "__final__", False)
