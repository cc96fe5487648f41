"""From a candidate's config to the objects that train it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from spaces.errors import PluginError, ShapeError, TeacherError
from tests.unit.trainables.small import (
    SCENES,
    around,
    candidate_config,
    changed,
    small_config,
    vocabulary,
)
from trainables.families.base import Surroundings
from trainables.families.blip.architecture import BlipArchitecture
from trainables.families.blip.model import Blip
from trainables.losses.base import Loss
from trainables.tasks.evaluation import make_tasks
from trainables.teachers.teacher import Teacher
from trainables.training.build import (
    build_losses,
    build_step,
    build_student,
    make_dataset,
    shared_dataset,
    student_plan,
    unfed_losses,
)

CONFIG = candidate_config()
TEACHER = small_config()


def architecture(config: dict[str, Any], teacher: BlipArchitecture = TEACHER) -> BlipArchitecture:
    """Return what is trained of a candidate."""
    made: BlipArchitecture = student_plan(config, around(teacher), ()).training.architecture
    return made


def losses_of(
    config: dict[str, Any], teacher: BlipArchitecture = TEACHER
) -> tuple[dict[str, Loss], dict[str, float]]:
    return build_losses(config, Blip.offers(architecture(config)), Blip.offers(teacher))


def test_sizes_are_the_candidates_and_the_rest_the_teachers() -> None:
    config = changed(
        changed(CONFIG, "student.fusion", {"layers": 1, "placement": "first"}), "student.embedding", 9
    )
    made = architecture(config, small_config(decoder=False, text_norm_eps=1e-5))
    assert (made.image.width, made.image.depth, made.image.heads, made.image.mlp_ratio) == (16, 1, 1, 2.0)
    assert (made.text.width, made.text.depth) == (16, 2)
    assert made.fusion == (0,)
    assert made.embedding == 9
    assert (made.image_size, made.patch_size, made.max_tokens) == (64, 32, 24)
    assert made.vocabulary == small_config().vocabulary
    assert not made.decoder
    assert made.text_norm_eps == 1e-5


def test_a_student_has_a_matching_head_though_its_deployed_teacher_left_it_behind() -> None:
    assert architecture(CONFIG, small_config(matching=False)).has_matching


def test_a_teacher_of_another_family_gives_pictures_and_texts() -> None:
    other = Surroundings(image_size=48, max_tokens=11, vocabulary=vocabulary(), teacher=object())
    made = student_plan(CONFIG, other, ()).training.architecture
    assert (made.image_size, made.patch_size, made.max_tokens) == (48, 16, 11)
    assert made.vocabulary == vocabulary()
    assert (made.image.width, made.fusion, made.decoder, made.matching) == (16, (1,), True, True)
    with pytest.raises(ShapeError, match="this teacher brings no tokenizer"):
        student_plan(CONFIG, Surroundings(image_size=48), ())
    for init in ("inherit", "importance"):
        with pytest.raises(
            ShapeError, match=rf"student\.text\.init: got {init} with a teacher of another family"
        ):
            student_plan(changed(CONFIG, "student.text.init", init), other, ())


def test_placement_may_be_absent_where_nothing_is_placed() -> None:
    assert architecture(changed(CONFIG, "student.fusion", {"layers": 0})).fusion == ()


def test_what_is_deployed_is_what_the_tasks_need() -> None:
    for names, changes in {
        ("retrieval",): {"fusion": (), "decoder": False, "matching": False},
        ("retrieval", "vqa"): {"matching": False},
        ("matching", "captioning"): {},
    }.items():
        plan = student_plan(CONFIG, around(TEACHER), make_tasks({name: {} for name in names}).values())
        assert plan.training.architecture == architecture(CONFIG)
        assert plan.deployed.architecture == replace(architecture(CONFIG), **changes)
        assert plan.training.kind == plan.deployed.kind == "blip"


@pytest.mark.parametrize(
    ("path", "value", "error", "message"),
    [
        ("student.kind", "blop", PluginError, "Did you mean 'blip'"),
        ("student.image.heads", 3, ShapeError, "got 3 with width 16"),
        ("student.fusion.layers", 3, ShapeError, "got 3 with text depth 2"),
        ("student.image.width", "0.5x", ShapeError, "student.image.width: got '0.5x'"),
        ("student.image.init", "inherrit", PluginError, "student.image.init: got 'inherrit'"),
        ("student.fusion.placement", "middle", PluginError, "student.fusion.placement: got 'middle'"),
        ("student.colour", 1, PluginError, "student.colour: got an unknown option"),
        ("student.image", {"depth": 1}, PluginError, r"student\.image\.width: the option is missing"),
        ("student.image", 3, PluginError, "student.image: got 3; allowed is a mapping"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(
    path: str, value: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        architecture(changed(CONFIG, path, value))


def test_initial_weights_follow_the_seed_and_the_init_of_each_side(teacher: Teacher) -> None:
    fresh, again, other = (build_student(CONFIG, teacher, seed)[0] for seed in (1, 1, 2))
    names = list(fresh.state_dict())
    assert all(torch.equal(fresh.state_dict()[n], again.state_dict()[n]) for n in names)
    assert not torch.equal(fresh.text_network.words.weight, other.text_network.words.weight)
    inherited = teacher.model.text_network.words.weight[:, :16]
    for side, words in (("image", False), ("text", True)):
        made, blueprint = build_student(changed(CONFIG, f"student.{side}.init", "inherit"), teacher, 1)
        assert blueprint.architecture == made.architecture == architecture(CONFIG)
        assert torch.equal(made.text_network.words.weight, inherited) is words
        patches = teacher.model.image_encoder.vit.patch_embed.proj.weight[:16]
        assert torch.equal(made.image_encoder.vit.patch_embed.proj.weight, patches) is not words


def test_losses_of_weight_0_are_not_built() -> None:
    config = changed(CONFIG, "losses", {"itc": {"weight": 0.5}, "lm": {"weight": 0.0}})
    losses, weights = losses_of(config)
    assert list(losses) == ["itc"]
    assert weights == {"itc": 0.5}


def test_a_dual_encoder_leaves_out_what_it_cannot_feed() -> None:
    config = changed(CONFIG, "student.fusion", {"layers": 0})
    losses, _ = losses_of(config)
    assert set(losses) == {"itc", "image_embedding", "text_embedding"}
    unfed = unfed_losses(config, Blip.offers(architecture(config)), Blip.offers(TEACHER))
    assert set(unfed) == {"itm", "lm", "vqa"}
    assert unfed["lm"] == "needs decoder.logits, which this student does not have; left out for it."
    config["losses"] = {"itm": {"weight": 1.0}, "lm": {"weight": 1.0}}
    with pytest.raises(ShapeError, match=r"this student can feed none of itm, lm"):
        losses_of(config)


def test_a_loss_that_the_teacher_can_feed_for_nobody_is_refused() -> None:
    config, poor = changed(CONFIG, "losses", {"lm_logit": {"weight": 1.0}}), small_config(decoder=False)
    with pytest.raises(TeacherError, match=r"losses.lm_logit: .*decoder"):
        losses_of(config, poor)
    dual = changed(config, "student.fusion", {"layers": 0})
    assert unfed_losses(dual, Blip.offers(architecture(dual)), Blip.offers(poor)) == {}


@pytest.mark.parametrize(
    ("losses", "message"),
    [
        ({"itcc": {}}, "no plug-in is called 'itcc'"),
        ({"itc": {"wait": 1.0}}, r"losses.itc.wait: got an unknown option; allowed: weight, soft_targets"),
        ({"itc": {"weight": -1.0}}, r"losses\.itc\.weight: got -1\.0"),
    ],
)
def test_unknown_losses_and_options_are_refused(losses: dict[str, Any], message: str) -> None:
    config = changed(CONFIG, "losses", losses)
    with pytest.raises(PluginError, match=message):
        losses_of(config)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (SCENES | {"kind": "scene"}, "Did you mean 'scenes'"),
        (SCENES | {"colour": 1}, "dataset.colour: got an unknown option"),
        ({"train_images": 40}, "no plug-in is called ''"),
    ],
)
def test_unknown_datasets_and_options_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(PluginError, match=message):
        make_dataset(settings)


def test_a_step_knows_whose_negatives_and_whether_it_is_blind(teacher: Teacher) -> None:
    step, _ = build_step(CONFIG, teacher, seed=0)
    assert (step.student.negatives, step.blind) == ("teacher", False)
    other = changed(changed(CONFIG, "blind", True), "training.itm_negatives", "student")
    step, _ = build_step(other, teacher, seed=0)
    assert (step.student.negatives, step.blind) == ("student", True)


def test_a_data_set_named_from_home_is_opened_anew_once_its_file_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    settings = {"kind": "jsonl", "file": "~/data.jsonl"}
    (tmp_path / "data.jsonl").write_text("{}\n")
    first = shared_dataset(settings)
    assert shared_dataset(settings) is first
    (tmp_path / "data.jsonl").write_text("{}\n{}\n")
    assert shared_dataset(settings) is not first
