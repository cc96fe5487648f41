"""From a candidate's config to the objects that train it."""

from typing import Any

import pytest
import torch

from spaces.errors import PluginError, ShapeError, TeacherError
from tests.unit.trainables.small import SCENES, candidate_config, changed, small_config
from trainables.build import build_losses, build_step, build_student, make_dataset, student_config
from trainables.teachers.teacher import Teacher

CONFIG = candidate_config()


def test_sizes_are_the_candidates_and_the_rest_the_teachers() -> None:
    config = changed(
        changed(CONFIG, "student.fusion", {"layers": 1, "placement": "first"}), "student.embedding", 9
    )
    made = student_config(config, small_config(decoder=False, text_norm_eps=1e-5))
    assert (made.image.width, made.image.depth, made.image.heads, made.image.mlp_ratio) == (16, 1, 1, 2.0)
    assert (made.text.width, made.text.depth) == (16, 2)
    assert made.fusion == (0,)
    assert made.embedding == 9
    assert (made.image_size, made.patch_size, made.max_tokens) == (64, 32, 24)
    assert made.vocabulary == small_config().vocabulary
    assert not made.decoder
    assert made.text_norm_eps == 1e-5


def test_placement_may_be_absent_where_nothing_is_placed() -> None:
    assert student_config(changed(CONFIG, "student.fusion", {"layers": 0}), small_config()).fusion == ()


@pytest.mark.parametrize(
    ("path", "value", "error", "message"),
    [
        ("student.kind", "blop", PluginError, "Did you mean 'blip'"),
        ("student.image.heads", 3, ShapeError, "got 3 with width 16"),
        ("student.fusion.layers", 3, ShapeError, "got 3 with text depth 2"),
        ("student.fusion.placement", "middle", ShapeError, "got 'middle'"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(
    path: str, value: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        student_config(changed(CONFIG, path, value), small_config())


def test_initial_weights_follow_the_seed_and_the_init_of_each_side(teacher: Teacher) -> None:
    fresh, again, other = (build_student(CONFIG, teacher, seed) for seed in (1, 1, 2))
    names = list(fresh.state_dict())
    assert all(torch.equal(fresh.state_dict()[n], again.state_dict()[n]) for n in names)
    assert not torch.equal(fresh.text_network.words.weight, other.text_network.words.weight)
    inherited = teacher.model.text_network.words.weight[:, :16]
    for side, words in (("image", False), ("text", True)):
        made = build_student(changed(CONFIG, f"student.{side}.init", "inherit"), teacher, 1)
        assert torch.equal(made.text_network.words.weight, inherited) is words
        patches = teacher.model.image_encoder.vit.patch_embed.proj.weight[:16]
        assert torch.equal(made.image_encoder.vit.patch_embed.proj.weight, patches) is not words


def test_losses_of_weight_0_are_not_built() -> None:
    config = changed(CONFIG, "losses", {"itc": {"weight": 0.5}, "lm": {"weight": 0.0}})
    losses, weights = build_losses(config, student_config(config, small_config()), small_config())
    assert list(losses) == ["itc"]
    assert weights == {"itc": 0.5}


def test_a_dual_encoder_leaves_out_what_it_cannot_feed() -> None:
    config = changed(CONFIG, "student.fusion", {"layers": 0})
    losses, _ = build_losses(config, student_config(config, small_config()), small_config())
    assert set(losses) == {"itc", "image_embedding", "text_embedding"}
    config["losses"] = {"itm": {"weight": 1.0}, "lm": {"weight": 1.0}}
    with pytest.raises(ShapeError, match=r"this student can feed none of itm, lm"):
        build_losses(config, student_config(config, small_config()), small_config())


def test_a_loss_that_the_teacher_can_feed_for_nobody_is_refused() -> None:
    config, poor = changed(CONFIG, "losses", {"lm_logit": {"weight": 1.0}}), small_config(decoder=False)
    with pytest.raises(TeacherError, match=r"losses.lm_logit: .*decoder"):
        build_losses(config, student_config(config, small_config()), poor)


@pytest.mark.parametrize(
    ("losses", "message"),
    [
        ({"itcc": {}}, "no plug-in is called 'itcc'"),
        ({"itc": {"wait": 1.0}}, r"losses.itc: .*'wait'"),
        ({"itc": {"weight": -1.0}}, "losses.itc: .*weight"),
    ],
)
def test_unknown_losses_and_options_are_refused(losses: dict[str, Any], message: str) -> None:
    config = changed(CONFIG, "losses", losses)
    with pytest.raises(PluginError, match=message):
        build_losses(config, student_config(config, small_config()), small_config())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (SCENES | {"kind": "scene"}, "Did you mean 'scenes'"),
        (SCENES | {"colour": 1}, "dataset scenes: .*'colour'"),
        ({"train_images": 40}, "no plug-in is called ''"),
    ],
)
def test_unknown_datasets_and_options_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(PluginError, match=message):
        make_dataset(settings)


def test_a_step_knows_whose_negatives_and_whether_it_is_blind(teacher: Teacher) -> None:
    step = build_step(CONFIG, teacher, seed=0)
    assert (step.negatives, step.blind) == ("teacher", False)
    other = changed(changed(CONFIG, "blind", True), "training.itm_negatives", "student")
    step = build_step(other, teacher, seed=0)
    assert (step.negatives, step.blind) == ("student", True)
