"""Teachers of a plan: sizes from a config alone, and one clear message where there is none."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest

from spaces.errors import TeacherError
from trainables.costs.flops import flops
from trainables.costs.subject import Subject
from trainables.families.base import Blueprint
from trainables.signals import Serving
from trainables.teachers import PUBLISHED
from trainables.teachers.blip.huggingface_config import sizes_of
from trainables.teachers.blip.outline import base, retrieving
from trainables.teachers.outline import is_outline, open_for_plan

COCO = "Salesforce/blip-itm-base-coco"
PARTS = {
    "retrieval": COCO,
    "captioning": "Salesforce/blip-image-captioning-base",
    "vqa": "Salesforce/blip-vqa-base",
}
CLASSES = {
    "Salesforce/blip-itm-base-coco": 223_744_258,
    "Salesforce/blip-itm-base-flickr": 223_744_258,
    "Salesforce/blip-image-captioning-base": 223_971_644,
    "Salesforce/blip-vqa-base": 361_230_140,
}


@pytest.fixture(autouse=True)
def no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub is not there, and nothing of it in a cache."""

    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise OSError("no route to the hub")

    monkeypatch.setattr("huggingface_hub.snapshot_download", refuse)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", refuse)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: None)
    monkeypatch.setattr("trainables.teachers.outline.cached_snapshot", lambda name: None)


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_published_teachers_have_the_published_number_of_params(name: str) -> None:
    teacher = open_for_plan(name)
    assert is_outline(teacher)
    assert sum(one.numel() for one in teacher.plan.parameters()) == CLASSES[name]
    assert teacher.preprocess.image_size == 384
    assert any("planned from its config alone" in note for note in teacher.files.notes)


@pytest.mark.parametrize(("side", "gmac"), [(224, 23.45), (384, 66.96)])
def test_a_pair_costs_the_published_multiplications(side: int, gmac: float) -> None:
    architecture = sizes_of(Path("config.json"), base(retrieving()["architectures"][0], side))
    architecture = replace(architecture, max_tokens=30)
    subject = Subject(
        blueprint=Blueprint("blip", architecture),
        servings=(Serving(mode="image"), Serving(mode="fused", tokens=30)),
    )
    assert flops(subject) / 2 == pytest.approx(gmac * 1e9, rel=2e-3)


def test_whoever_asks_for_weights_is_told() -> None:
    with pytest.raises(TeacherError, match=r"its weights are not here, and a plan reads none"):
        open_for_plan(COCO).model  # noqa: B018


def test_a_temperature_in_the_name_is_taken() -> None:
    teacher = open_for_plan(f"{COCO},temperature=0.05")
    assert teacher.temperature == 0.05
    assert is_outline(teacher), "nobody is to measure it"


def test_parts_of_several_are_planned_as_one() -> None:
    """All that the three classes hold, but of each part its own image side."""
    name = ",".join(f"{task}={one}" for task, one in PARTS.items())
    teacher = open_for_plan(f"{name},image_size=224,temperature=0.05")
    assert is_outline(teacher)
    assert (teacher.preprocess.image_size, teacher.temperature) == (224, 0.05)
    rows = 577 - 197  # of each table of positions, which pictures of 224 pixels have no use for
    assert sum(one.numel() for one in teacher.plan.parameters()) == sum(
        CLASSES[one] - rows * 768 for one in PARTS.values()
    )
    says = {(want.mode, want.what) for want in teacher.offers}
    assert {("text", "embedding"), ("fused", "logits"), ("decoder", "logits"), ("answer", "logits")} <= says
    with pytest.raises(TeacherError, match=r"its weights are not here"):
        teacher.model  # noqa: B018


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (f"captioning={COCO}", r"captioning=.*has no decoder.logits, .* it can do retrieval"),
        (f"retrieval={COCO},vqa=someone/else", r"someone/else: is no folder"),
        (
            f"retrieval={COCO},captioning=embedded",
            r"vocabularies are not the same. Give checkpoints that read",
        ),
        (f"retrieval={COCO},image_size=225", r"pictures of 225 px"),
    ],
)
def test_parts_that_do_not_fit_are_told_in_a_plan(name: str, told: str) -> None:
    with pytest.raises(TeacherError, match=told):
        open_for_plan(name)


def test_pictures_of_another_size_are_those_of_the_name() -> None:
    assert open_for_plan(f"{COCO},image_size=224").preprocess.image_size == 224
    with pytest.raises(TeacherError, match="got image_size 225 with patches of 16"):
        open_for_plan(f"{COCO},image_size=225")


def test_a_folder_with_a_config_alone_is_enough(tmp_path: Path) -> None:
    settings = retrieving()
    settings["vision_config"] |= {"image_size": 224, "num_hidden_layers": 6}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    teacher = open_for_plan(str(tmp_path))
    assert is_outline(teacher)
    assert (teacher.blueprint.architecture.image_size, teacher.blueprint.architecture.image.depth) == (224, 6)


def test_a_damaged_config_is_told_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "blip", ')
    with pytest.raises(TeacherError, match=r"config\.json"):
        open_for_plan(str(tmp_path))


def test_an_unknown_hub_id_without_network_is_told_once_with_what_a_plan_needs() -> None:
    with pytest.raises(TeacherError) as caught:
        open_for_plan("someone/blip-own")
    told = str(caught.value)
    assert "could not be downloaded (no route to the hub)" in told
    assert "hf download someone/blip-own config.json --local-dir DIR" in told
    assert "\n" not in told


def test_what_is_here_is_opened_as_ever() -> None:
    teacher = open_for_plan("embedded")
    assert not is_outline(teacher)
