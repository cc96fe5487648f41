"""The part of a model that is served: nothing that its tasks do without, and the weights that were trained."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from tests.unit.trainables.small import lively, small_config, told, vocabulary
from trainables.families.blip.architecture import BlipArchitecture, EncoderConfig
from trainables.families.blip.model import Blip
from trainables.signals import Want, Wants

WHOLE = small_config(text=EncoderConfig(width=32, depth=3, heads=2), fusion=(0, 2))
RETRIEVAL = frozenset({Want("image", "embedding"), Want("text", "embedding")})
MATCHING = frozenset({Want("fused", "logits")})
CAPTIONING, VQA = frozenset({Want("decoder", "logits")}), frozenset({Want("answer", "logits")})
EVERYTHING = RETRIEVAL | MATCHING | CAPTIONING | VQA
SEEING, SPEAKING = frozenset({Want("image", "embedding")}), frozenset({Want("text", "hidden", 0)})
DUAL = {"fusion": (), "decoder": False, "matching": False}
PARTS = {
    "pictures alone": (SEEING, {**DUAL, "side": "image"}),
    "pictures and the temperature": (SEEING | {Want("contrast", "temperature")}, {**DUAL, "side": "image"}),
    "texts alone": (SPEAKING, {**DUAL, "side": "text"}),
    "retrieval": (RETRIEVAL, {"fusion": (), "decoder": False, "matching": False}),
    "matching": (MATCHING, {"decoder": False}),
    "captioning": (CAPTIONING, {"matching": False}),
    "vqa": (VQA, {"matching": False}),
    "retrieval and vqa": (RETRIEVAL | VQA, {"matching": False}),
    "matching and captioning": (MATCHING | CAPTIONING, {}),
    "everything": (EVERYTHING, {}),
}


@pytest.mark.parametrize(("wants", "changes"), PARTS.values(), ids=PARTS)
def test_heads_and_fusion_layers_that_no_task_passes_are_left_behind(
    wants: Wants, changes: dict[str, Any]
) -> None:
    made = Blip.deployed(WHOLE, wants)
    assert made == replace(WHOLE, **changes)
    assert Blip.deployed(made, wants) == made
    assert wants <= set(Blip.offers(made))


def test_what_a_model_lacks_is_not_given_back() -> None:
    for lacking in (small_config(fusion=()), small_config(decoder=False), small_config(matching=False)):
        assert Blip.deployed(lacking, EVERYTHING) == lacking


@pytest.mark.parametrize(("wants", "changes"), PARTS.values(), ids=PARTS)
@torch.no_grad()
def test_its_weights_are_a_part_of_the_trained_ones_and_say_the_same(
    wants: Wants, changes: dict[str, Any]
) -> None:
    model = lively(WHOLE)
    part = Blip(Blip.deployed(WHOLE, wants))
    trained = model.state_dict()
    assert set(part.state_dict()) <= set(trained)
    assert (len(part.state_dict()) < len(trained)) is bool(changes)
    part.load_state_dict({name: trained[name] for name in part.state_dict()})
    source = torch.Generator().manual_seed(0)
    ids = torch.randint(6, vocabulary().size, (3, 8), generator=source)
    batch = told(torch.randn(3, 3, 64, 64, generator=source), ids, torch.ones_like(ids).bool())
    mine, other = part.eval()(batch, wants), model(batch, wants)
    assert all(torch.equal(mine[want], other[want]) for want in wants)


def test_a_model_of_one_side_has_the_parameters_of_that_side() -> None:
    image, text = (Blip(Blip.deployed(WHOLE, wants)) for wants in (SEEING, SPEAKING))
    width, inner, tokens, embedding = 32, 128, 5, 16
    block = (
        3 * (width * width + width) + (width * width + width) + 2 * width * inner + inner + width + 4 * width
    )
    patches = 3 * 32 * 32 * width + width
    seeing = width + tokens * width + patches + 2 * block + 2 * width + width * embedding + embedding + 1
    assert sum(parameter.numel() for parameter in image.parameters()) == seeing
    words = vocabulary().size * width + 24 * width + 2 * width
    layer = 4 * (width * width + width) + 2 * width + 2 * width * inner + inner + width + 2 * width
    speaking = words + 3 * layer + width * embedding + embedding + 1
    assert sum(parameter.numel() for parameter in text.parameters()) == speaking
    assert {want.mode for want in Blip.offers(image.architecture)} == {"image", "contrast"}
    assert {want.mode for want in Blip.offers(text.architecture)} == {"text", "contrast"}
    for model in (image, text):
        fields = model.architecture.to_dict()
        assert BlipArchitecture.from_dict(fields) == model.architecture
    assert "side" not in WHOLE.to_dict()  # fingerprints of published folders stay


def test_names_of_the_parts_left_behind() -> None:
    def roots(wants: Wants) -> set[str]:
        kept = set(Blip(Blip.deployed(WHOLE, wants)).state_dict())
        return {word for name in set(Blip(WHOLE).state_dict()) - kept for word in WORDS if word in name}

    assert roots(RETRIEVAL) == set(WORDS)
    assert roots(MATCHING) == {"decoder_attention", "text_network.head_"}
    assert roots(CAPTIONING) == {"itm_head"}
    assert roots(EVERYTHING) == set()


WORDS = ("decoder_attention", "cross_attention", "itm_head", "text_network.head_")
