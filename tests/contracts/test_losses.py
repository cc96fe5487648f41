"""What every row of `LOSSES` promises."""

import importlib
import math
import re
from dataclasses import fields
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from spaces.errors import PluginError, ShapeError, TeacherError
from tests.tolerance import close
from tests.unit.trainables.losses.factory import (
    make_batch,
    make_outputs,
    only,
    student_config,
    teacher_config,
    with_gradient,
    with_padding_changed,
)
from trainables.losses import LOSSES
from trainables.losses.base import Loss
from trainables.models.config import BlipConfig

NEEDS_STUDENT_FUSION = {
    "itm", "lm", "vqa", "fused_hidden", "decoder_hidden", "cross_attention", "decoder_attention", "lm_logit",
    "answer_logit",
}  # fmt: skip
NEEDS_TEACHER_DECODER = {"decoder_hidden", "decoder_attention", "lm_logit", "answer_logit"}
TASK = {"itc", "itm", "lm", "vqa"}


def loss_class(name: str) -> type[Loss]:
    module, _, attribute = LOSSES[name].partition(":")
    return getattr(importlib.import_module(module), attribute)


def build(name: str, student: BlipConfig, teacher: BlipConfig, **options: Any) -> Loss:
    torch.manual_seed(0)
    kind = loss_class(name)
    return kind(kind.Config(**options), student, teacher)


def test_table_is_sorted_and_names_each_file_as_its_row() -> None:
    assert list(LOSSES) == sorted(LOSSES)
    assert all(target.startswith(f"trainables.losses.{name}:") for name, target in LOSSES.items())


@pytest.mark.parametrize("name", LOSSES)
class TestEveryLoss:
    def test_is_a_finite_float32_scalar_that_reads_only_what_it_wants(self, name: str) -> None:
        student, teacher, batch = student_config(), teacher_config(), make_batch()
        loss = build(name, student, teacher)
        mine, theirs = make_outputs(student, batch, negatives=True), make_outputs(teacher, batch, seed=2)
        value = loss(mine, theirs, batch)
        assert value.shape == ()
        assert value.dtype == torch.float32
        assert value.isfinite()
        assert value > 0
        sparse = loss(only(mine, loss.student_wants), only(theirs, loss.teacher_wants), batch)
        assert torch.equal(sparse, value)

    def test_sends_gradient_to_the_student_and_none_to_the_teacher(self, name: str) -> None:
        student, teacher, batch = student_config(embedding=12), teacher_config(), make_batch()
        loss = build(name, student, teacher)
        mine, theirs = make_outputs(student, batch, negatives=True), make_outputs(teacher, batch, seed=2)
        loss(mine, theirs, batch).backward()
        wanted = {(want.mode, want.what) for want in loss.student_wants}
        reached = {tuple(path.split(".")[:2]) for path in with_gradient(mine) - {"temperature"}}
        assert {(mode, re.sub("_(BE|N2|BTV)$", "", what)) for mode, what in reached} == wanted
        assert with_gradient(theirs) == set()
        assert all(p.grad is not None and p.grad.any() for p in loss.parameters())

    def test_computes_in_float32_under_autocast(self, name: str) -> None:
        student, teacher, batch = student_config(), teacher_config(), make_batch()
        loss = build(name, student, teacher)
        mine, theirs = make_outputs(student, batch), make_outputs(teacher, batch, seed=2)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            value = loss(mine, theirs, batch)
        assert torch.equal(value, loss(mine, theirs, batch))

    def test_does_not_see_padding(self, name: str) -> None:
        student, teacher, batch = student_config(), teacher_config(), make_batch()
        loss = build(name, student, teacher)
        mine, theirs = make_outputs(student, batch, negatives=True), make_outputs(teacher, batch, seed=2)
        expected = loss(mine, theirs, batch)
        for junk in (9.0, float("nan")):
            changed = with_padding_changed(mine, batch, junk), with_padding_changed(theirs, batch, junk)
            close(loss(*changed, batch), expected, ops=3 * 128, size=10.0)  # logits and states lie within

    def test_follows_the_batch_to_other_lengths_image_sizes_and_numbers_of_pairs(self, name: str) -> None:
        sizes = {"image_size": 40, "patch_size": 8}
        student, teacher, batch = student_config(**sizes), teacher_config(**sizes), make_batch(3, tokens=11)
        value = build(name, student, teacher)(
            make_outputs(student, batch), make_outputs(teacher, batch), batch
        )
        assert value.isfinite()

    def test_leaves_a_dual_encoder_out_exactly_if_it_needs_fusion(self, name: str) -> None:
        kind, student, teacher = loss_class(name), student_config(fusion=()), teacher_config()
        reason = kind.feedable(kind.Config(), student, teacher)
        assert kind.unfeedable_by_teacher(kind.Config(), teacher) is None
        if name in NEEDS_STUDENT_FUSION:
            assert reason is not None
            assert "fusion layers" in reason
            with pytest.raises(ShapeError, match=rf"losses\.{name}: needs fusion layers"):
                kind(kind.Config(), student, teacher)
        else:
            assert reason is None
            kind(kind.Config(), student, teacher)

    def test_refuses_a_teacher_without_decoder_exactly_if_it_reads_it(self, name: str) -> None:
        kind, student, teacher = loss_class(name), student_config(), teacher_config(decoder=False)
        reason = kind.unfeedable_by_teacher(kind.Config(), teacher)
        assert kind.feedable(kind.Config(), student, teacher) == reason
        if name in NEEDS_TEACHER_DECODER:
            assert reason is not None
            assert "decoder" in reason
            with pytest.raises(TeacherError, match=rf"losses\.{name}: needs a teacher with a decoder"):
                kind(kind.Config(), student, teacher)
        else:
            assert reason is None

    def test_asks_nothing_of_the_teacher_if_it_is_a_task_loss(self, name: str) -> None:
        loss = build(name, student_config(), teacher_config())
        assert bool(loss.teacher_wants) == (name not in TASK)
        assert loss.student_wants

    def test_wants_only_layers_that_exist(self, name: str) -> None:
        student, teacher = student_config(), teacher_config()
        loss = build(name, student, teacher)
        for sizes, wants in ((student, loss.student_wants), (teacher, loss.teacher_wants)):
            for want in wants:
                depth = (sizes.image if want.mode == "image" else sizes.text).depth
                assert want.layer is None or 0 <= want.layer < depth
                assert (want.layer is None) == (want.what in ("embedding", "logits"))

    def test_says_what_is_missing(self, name: str) -> None:
        student, teacher, batch = student_config(), teacher_config(), make_batch()
        loss = build(name, student, teacher)
        with pytest.raises(ValueError, match="is not filled"):
            loss(only(make_outputs(student, batch), frozenset()), make_outputs(teacher, batch), batch)

    def test_options_are_checked(self, name: str) -> None:
        config = loss_class(name).Config
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
