"""Models for pictures of another size: the table of positions as the published class interpolates it, all else as it was."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BlipVisionConfig
from transformers.models.blip.modeling_blip import BlipVisionEmbeddings

from spaces.errors import ShapeError, TeacherError
from tests.unit.trainables.small import EPS, lively, small_config, write_teacher
from trainables.families.base import Blueprint
from trainables.families.blip.positions import TABLE
from trainables.families.blip.regular import Regular
from trainables.signals import PIXELS, Batch, Want
from trainables.teachers.cache.layout import parts_of
from trainables.teachers.loading import load_teacher

TOKENS = Want("image", "tokens")


@pytest.mark.parametrize(("before", "side"), [(64, 96), (128, 64), (96, 128), (224, 384)])
def test_positions_are_those_of_the_published_class(before: int, side: int) -> None:
    model = lively(small_config(image_size=before, patch_size=32 if before < 200 else 16))
    patch = model.architecture.patch_size
    theirs = BlipVisionEmbeddings(BlipVisionConfig(hidden_size=32, image_size=before, patch_size=patch))
    with torch.no_grad():
        theirs.position_embedding.copy_(model.state_dict()[TABLE])
    made = model.at_size(side)
    pixels = torch.zeros(1, (side // patch) ** 2 + 1, 32)
    want = theirs.interpolate_pos_encoding(pixels, side, side).detach()
    found = made.state_dict()[TABLE]
    assert found.shape == want.shape
    torch.testing.assert_close(found, want, rtol=0, atol=8 * EPS * float(want.abs().max()))
    assert torch.equal(found[:, 0], model.state_dict()[TABLE][:, 0])


def test_all_else_is_as_it_was_and_the_same_size_changes_nothing() -> None:
    model = lively(small_config()).train()
    model.prepare_training({"itm_negatives": "student", "negatives": "workers", "temperature_floor": 0.001})
    model.train_with(Regular(dropout=0.1))
    larger, same = model.at_size(96), model.at_size(64)
    assert {
        name for name, one in model.state_dict().items() if not torch.equal(one, same.state_dict()[name])
    } == set()
    kept = larger.state_dict()
    assert {name for name, one in model.state_dict().items() if one.shape != kept[name].shape} == {TABLE}
    assert (larger.negatives, larger.drawn_from, larger.floor) == ("student", "workers", 0.001)
    assert larger.regular == model.regular
    assert larger.training
    said = larger.eval()(Batch(fields={PIXELS: torch.zeros(2, 3, 96, 96)}, rows={}), frozenset({TOKENS}))
    assert said[TOKENS].shape == (2, 10, 32)
    again = model.at_size(96)
    again.load_state_dict(again.fitted(model.state_dict()))  # what a fine-tuning at another size begins with
    assert torch.equal(again.state_dict()[TABLE], kept[TABLE])


@pytest.mark.parametrize("side", [100, 16, 0])
def test_a_side_that_patches_do_not_fill_is_refused(side: int) -> None:
    with pytest.raises(
        ShapeError, match=rf"image_size: got {side} with patches of 32; allowed: a multiple of 32"
    ):
        lively(small_config()).at_size(side)


def test_a_teacher_is_shown_pictures_of_another_size_and_says_so(tmp_path: Path) -> None:
    plain = load_teacher(str(write_teacher(tmp_path / "small")))
    larger = load_teacher(f"{plain.files.folder},image_size=96,prompt=there is a")
    assert not larger.is_read, "its sizes need no weights"
    assert larger.preprocess.image_size == larger.around(()).image_size == 96
    assert larger.preprocess.framing.side == 96
    assert larger.blueprint.architecture.image_tokens == 10
    assert larger.files.fingerprint != plain.files.fingerprint
    assert any(
        "96 px instead of 64: its table of positions is interpolated" in one for one in larger.files.notes
    )
    assert parts_of(larger) != parts_of(plain)
    with torch.no_grad():
        said = larger.signals(Batch(fields={PIXELS: torch.zeros(1, 3, 96, 96)}, rows={}), frozenset({TOKENS}))
    assert said[TOKENS].shape == (1, 10, 32)
    assert load_teacher(f"{plain.files.folder},image_size=64").files.fingerprint == plain.files.fingerprint
    assert Blueprint.from_dict(larger.blueprint.to_dict()) == larger.blueprint
    several = load_teacher(f"retrieval={plain.files.folder},captioning={plain.files.folder},image_size=96")
    with torch.no_grad():
        both = several.signals(
            Batch(fields={PIXELS: torch.zeros(1, 3, 96, 96)}, rows={}),
            frozenset({Want("image", "hidden", 1)}),
        )
    assert np.isfinite(both[Want("image", "hidden", 1)].numpy()).all()
    for wrong, why in (
        ("100", "got 100 with patches of 32"),
        ("big", "got 'big'; allowed: a whole number of pixels"),
    ):
        with pytest.raises(TeacherError, match=why):
            load_teacher(f"{plain.files.folder},image_size={wrong}")
