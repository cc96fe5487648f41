"""Losses that tell the embedded teacher where things are."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tests.unit.trainables.small import lively, small_config
from trainables.datasets.scenes import language
from trainables.datasets.scenes.drawing import Shape
from trainables.families.blip.model import Blip
from trainables.families.blip.offers import IMAGE_TOKENS
from trainables.losses.base import Ends, Loss
from trainables.signals import Batch, Signals, Want
from trainables.teachers.blip.grounding import EMPTY, MentionGrounding, PatchGrounding
from trainables.teachers.blip.scene_places import Mentions, patches
from trainables.tokenizer import Tokenizer, write_word_tokenizer

RED, BLUE = language.COLOR_NAMES.index("red"), language.COLOR_NAMES.index("blue")
SCENE = [Shape(RED, 0, 1, 9, 40), Shape(BLUE, 1, 0, 57, 7)]  # a large red circle, a small blue square
ENDS = Ends(name="grounding", student=Blip.offers(small_config(patch_size=16)))


def made(kind: type[Loss]) -> Loss:
    torch.manual_seed(0)
    return kind(kind.Config(), ENDS)


def silenced(loss: Loss) -> Loss:
    """Return the loss with heads that say the same of everything."""
    for module in loss.modules():
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)
    return loss


def batch(**fields: torch.Tensor) -> Batch:
    return Batch(fields={name.replace("_", "."): one for name, one in fields.items()}, rows={})


def test_things_stand_in_the_patch_of_their_centre() -> None:
    shown = patches([SCENE, []], 4)
    assert shown.shape == (2, 16, 3)
    assert shown[0, 2 * 4 + 0].tolist() == [RED + 1, 1, 2]
    assert shown[0, 0 * 4 + 3].tolist() == [BLUE + 1, 2, 1]
    assert np.count_nonzero(shown.any(axis=2)) == 2
    assert patches([SCENE], 2)[0].any(axis=1).tolist() == [False, True, True, False]


def test_words_that_name_a_thing_of_the_scene_have_its_place(tmp_path: Path) -> None:
    tokenizer = Tokenizer.from_folder(tmp_path, write_word_tokenizer(tmp_path, language.VOCABULARY, 24), 24)
    text = "the red circle is left of the blue square and the red square : circle ?"
    (ids,) = tokenizer.captions([text])
    found = Mentions(tokenizer).places(np.array([ids]), [SCENE], 4)[0]
    words = ["[CLS]", *text.split(), "[SEP]"]
    assert {place: words[place] for place in np.flatnonzero(found >= 0)} == {3: "circle", 9: "square"}
    assert found[[3, 9]].tolist() == [8, 3]


def test_heads_that_know_nothing_guess() -> None:
    loss = silenced(made(PatchGrounding))
    said = Signals({IMAGE_TOKENS: torch.randn(2, 17, 32)})
    value = loss(said, Signals(), batch(scene_patches=torch.from_numpy(patches([SCENE, SCENE], 4))))
    expected = math.log(9) + math.log(7) + math.log(3) + 2 * math.log(4)
    assert value.item() == pytest.approx(expected, rel=1e-5)
    mention = silenced(made(MentionGrounding))
    states = torch.randn(1, 5, 32)
    said = Signals({Want("decoder", "hidden", 0): states, Want("answer", "hidden", 0): states})
    places = torch.tensor([[-1, -1, 8, -1, 3]])
    value = mention(said, Signals(), batch(scene_caption=places, scene_question=places))
    assert value.item() == pytest.approx(4 * math.log(4), rel=1e-5)
    nowhere = torch.full_like(places, -1)
    value = mention(said, Signals(), batch(scene_caption=places, scene_question=nowhere))
    assert value.item() == pytest.approx(2 * math.log(4), rel=1e-5)


def test_a_patch_that_shows_nothing_weighs_less() -> None:
    loss = silenced(made(PatchGrounding))
    assert isinstance(loss, PatchGrounding)
    first = loss.things[0]
    assert isinstance(first, nn.Linear)
    with torch.no_grad():
        first.bias[0] = 2.0  # of nine values: it tends to say that there is nothing
    said = Signals({IMAGE_TOKENS: torch.zeros(1, 17, 32)})
    value = loss(said, Signals(), batch(scene_patches=torch.from_numpy(patches([SCENE], 4))))
    total = math.log(math.exp(2) + 8)
    mean = (2 * total + 14 * EMPTY * (total - 2)) / (2 + 14 * EMPTY)
    assert value.item() == pytest.approx(mean + math.log(7) + math.log(3) + 2 * math.log(4), rel=1e-5)


def test_the_right_patch_costs_least() -> None:
    loss = silenced(made(MentionGrounding))
    assert isinstance(loss, MentionGrounding)
    with torch.no_grad():
        loss.places.row.bias[2] = loss.places.column.bias[1] = 20.0
    states = torch.zeros(1, 1, 32)
    said = Signals({Want("decoder", "hidden", 0): states, Want("answer", "hidden", 0): states})
    nowhere = torch.tensor([[-1]])
    values = [
        loss(said, Signals(), batch(scene_caption=torch.tensor([[patch]]), scene_question=nowhere)).item()
        for patch in range(16)
    ]
    assert values.index(min(values)) == 2 * 4 + 1
    assert min(values) == pytest.approx(0, abs=1e-6)


def test_positions_learn_from_both() -> None:
    model = lively(small_config(patch_size=16))
    pixels, ids = torch.randn(2, 3, 64, 64), torch.randint(6, 9, (2, 5))
    mask, targets = torch.ones_like(ids, dtype=torch.bool), torch.ones_like(ids, dtype=torch.bool)
    asked = batch(
        picture_pixels=pixels,
        caption_ids=ids,
        caption_mask=mask,
        caption_targets=targets,
        question_ids=ids,
        question_mask=mask,
        question_targets=targets,
        scene_patches=torch.from_numpy(patches([SCENE, SCENE], 4)),
        scene_caption=torch.tensor([[-1, 8, -1, 3, -1]] * 2),
        scene_question=torch.tensor([[-1, 8, -1, 3, -1]] * 2),
    )
    for kind in (PatchGrounding, MentionGrounding):
        loss = made(kind)
        positions = model.image_encoder.vit.pos_embed
        model.zero_grad()
        loss(model(asked, loss.needs.student), Signals(), asked).backward()
        assert positions.grad is not None
        assert positions.grad[0, 1:].abs().amax(dim=1).min() > 0
