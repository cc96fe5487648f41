"""What a model says of itself before it exists: its offers are what its forward pass then returns, and no more."""

from dataclasses import replace

import pytest
import torch

from spaces.errors import DatasetError
from tests.unit.trainables.small import all_wants, lively, small_config, vocabulary
from trainables.families.blip.architecture import BlipArchitecture, EncoderConfig
from trainables.families.blip.model import Blip
from trainables.signals import PIXELS, Batch, Signals, Want, reads_texts

TOKENS, TEMPERATURE = Want("image", "tokens"), Want("contrast", "temperature")
LABELS, MATCH = Want("fused", "labels"), Want("fused", "logits")
CONTRAST = {Want("image", "embedding"), Want("text", "embedding"), TEMPERATURE}
FEATURES = {
    *(Want(mode, what) for mode in ("image", "text") for what in ("pooled", "joint")),
    Want("image", "map"),
}  # of every model, whatever its layers
LETTERS = {
    "pooled": "D", "joint": "TE", "map": "EYX",
    "tokens": "PD", "embedding": "E", "temperature": "", "labels": "", "hidden": "TD", "attention": "HTT",
    "cross_attention": "HTP", "logits": "TV",
}  # fmt: skip
ROWS = {"image": "picture", "answer": "question", "contrast": ""}  # the others are about captions
NUM, CAPTION_LENGTH, QUESTION_LENGTH = 3, 9, 11

# no two sizes of one architecture are equal, so that a swapped axis cannot pass
ARCHITECTURES = {
    "whole": small_config(
        image=EncoderConfig(width=24, depth=2, heads=3), text=EncoderConfig(width=20, depth=3, heads=4),
        fusion=(0, 2), embedding=7,
    ),
    "no decoder": small_config(
        image=EncoderConfig(width=12, depth=1, heads=2), text=EncoderConfig(width=21, depth=2, heads=3),
        fusion=(1,), embedding=9, patch_size=16, decoder=False,
    ),
    "dual": small_config(
        image=EncoderConfig(width=12, depth=1, heads=2), text=EncoderConfig(width=21, depth=2, heads=3),
        fusion=(), embedding=9,
    ),
}  # fmt: skip


@pytest.fixture(params=ARCHITECTURES)
def architecture(request: pytest.FixtureRequest) -> BlipArchitecture:
    return ARCHITECTURES[request.param]


def examples() -> Batch:
    """Return examples whose captions and questions are of different length."""
    source, fields = torch.Generator().manual_seed(0), {PIXELS: torch.randn(NUM, 3, 64, 64)}
    for kind, length in (("caption", CAPTION_LENGTH), ("question", QUESTION_LENGTH)):
        fields[f"{kind}.ids"] = torch.randint(6, vocabulary().size, (NUM, length), generator=source)
        fields[f"{kind}.mask"] = torch.ones(NUM, length, dtype=torch.bool)
        fields[f"{kind}.key"] = torch.arange(NUM)
    rows = torch.arange(NUM)
    return Batch(fields=fields, rows={"picture": rows, "caption": rows, "question": rows})


def sizes_by_hand(a: BlipArchitecture, mode: str) -> dict[str, int]:
    """Return the size of each axis in one mode."""
    side = a.image if mode == "image" else a.text
    tokens = (64 // a.patch_size) ** 2 + 1
    return {
        "P": tokens,
        "D": side.width,
        "H": side.heads,
        "T": 24,
        "E": a.embedding,
        "V": vocabulary().size,
        "C": 2,
        "Y": 64 // a.patch_size,
        "X": 64 // a.patch_size,
    }


def letters(want: Want) -> str:
    if want == MATCH:
        return "C"
    return LETTERS[want.what].replace("T", "P") if want.mode == "image" else LETTERS[want.what]


def test_offers_are_every_layer_of_every_mode_that_the_model_has(architecture: BlipArchitecture) -> None:
    labels = {LABELS} if architecture.fusion else set()
    assert (
        set(Blip.offers(architecture)) == all_wants(architecture) | FEATURES | {TOKENS, TEMPERATURE} | labels
    )
    assert reads_texts(Blip.offers(architecture))


def test_axes_and_sizes_are_those_of_the_architecture(architecture: BlipArchitecture) -> None:
    for want, offer in Blip.offers(architecture).items():
        by_hand = sizes_by_hand(architecture, want.mode)
        assert "".join(offer.axes) == letters(want), want
        assert offer.sizes == tuple(by_hand[letter] for letter in letters(want)), want
        assert offer.rows == ("pair" if want == LABELS else ROWS.get(want.mode, "caption")), want
        assert offer.mask == (f"{offer.rows}.mask" if "T" in letters(want) else ""), want


def test_forward_returns_what_is_offered(architecture: BlipArchitecture) -> None:
    offers, batch = Blip.offers(architecture), examples()
    wants = frozenset(offers) - {LABELS}  # which adds rows to the fused pass
    with torch.no_grad():
        signals = lively(architecture)(batch, wants)
    assert set(signals) == wants
    longest = {"caption": CAPTION_LENGTH, "question": QUESTION_LENGTH}
    for want, value in signals.items():
        offer = offers[want]
        sizes = tuple(
            longest[offer.rows] if axis == "T" else size
            for axis, size in zip(offer.axes, offer.sizes, strict=True)
        )
        assert tuple(value.shape) == ((NUM, *sizes) if offer.rows else sizes), want
        if "T" in offer.axes:
            assert batch[offer.mask].shape == (NUM, longest[offer.rows]), want


@torch.no_grad()
def test_the_first_token_of_the_joint_ones_becomes_the_embedding_and_is_the_pooled_one(
    architecture: BlipArchitecture,
) -> None:
    model = lively(architecture)
    said = model(
        examples(),
        frozenset({*FEATURES, *CONTRAST, TOKENS, Want("text", "hidden", architecture.text.depth - 1)}),
    )
    states = {"image": said[TOKENS], "text": said[Want("text", "hidden", architecture.text.depth - 1)]}
    for mode, projection in (("image", model.image_projection), ("text", model.text_projection)):
        joint, pooled = said[Want(mode, "joint")], said[Want(mode, "pooled")]
        by_hand = states[mode] @ projection.weight.T + projection.bias
        torch.testing.assert_close(joint, by_hand)
        torch.testing.assert_close(
            joint[:, 0] / joint[:, 0].norm(dim=-1, keepdim=True), said[Want(mode, "embedding")]
        )
        assert torch.equal(pooled, states[mode][:, 0])
    side = 64 // architecture.patch_size
    for y, x in ((0, 0), (0, side - 1), (1, 0), (side - 1, 1)):
        assert torch.equal(
            said[Want("image", "map")][:, :, y, x], said[Want("image", "joint")][:, 1 + y * side + x]
        )


def test_labels_are_one_number_a_pair_and_bring_the_logits_of_all_pairs() -> None:
    model = lively(ARCHITECTURES["whole"])
    model.prepare_training({"itm_negatives": "student"})
    signals = model(examples(), frozenset({LABELS, MATCH}))
    assert set(signals) == {LABELS, MATCH}
    assert signals[LABELS].tolist() == [1] * NUM + [0] * 2 * NUM
    assert signals[MATCH].shape == (3 * NUM, 2)


def test_a_meaning_is_shared_by_those_who_share_a_vocabulary() -> None:
    mine, wide = ARCHITECTURES["whole"], small_config()
    other = replace(mine, vocabulary=replace(vocabulary(), size=99))
    for want in (Want("decoder", "logits"), Want("answer", "logits")):
        meanings = [Blip.offers(one)[want].meaning for one in (mine, wide, other)]
        assert meanings[0] == meanings[1] != meanings[2]
        assert all(meanings)


@pytest.mark.parametrize(
    ("wants", "fields"),
    [
        ({Want("image", "hidden", 0)}, {PIXELS}),
        ({Want("text", "embedding")}, {"caption.ids", "caption.mask"}),
        ({MATCH}, {PIXELS, "caption.ids", "caption.mask"}),
        ({Want("decoder", "logits")}, {PIXELS, "caption.ids", "caption.mask"}),
        ({Want("answer", "cross_attention", 2)}, {PIXELS, "question.ids", "question.mask"}),
        ({LABELS}, {PIXELS, "caption.ids", "caption.mask", "caption.key"}),
        ({TEMPERATURE}, set()),
        (set(), set()),
    ],
)
def test_inputs_are_what_forward_reads(wants: set[Want], fields: set[str]) -> None:
    model, whole = lively(ARCHITECTURES["whole"]), examples()
    model.prepare_training({"itm_negatives": "student"})
    assert model.inputs(frozenset(wants)).fields == fields
    assert model.inputs(frozenset(wants)).source == frozenset()
    few = {name: whole[name] for name in fields}
    needed = fields or {PIXELS}  # a batch without any field has no device
    assert set(model(Batch(fields={n: whole[n] for n in needed}, rows=whole.rows), frozenset(wants))) == wants
    for name in fields:
        rest = {other: one for other, one in few.items() if other != name} | {"other": torch.zeros(NUM)}
        with pytest.raises(DatasetError, match=f"batch: has no {name}; the data gives"):
            model(Batch(fields=rest, rows=whole.rows), frozenset(wants))


def test_negatives_of_the_teacher_are_asked_of_the_teacher() -> None:
    model = lively(ARCHITECTURES["whole"])
    assert model.inputs(frozenset({LABELS})).source == CONTRAST
    assert model.inputs(frozenset({MATCH})).source == frozenset(), "given pairs need nobody"
    with pytest.raises(ValueError, match=r"hand `inputs\(\).source` to `forward`"):
        model(examples(), frozenset({LABELS}))


@torch.no_grad()
def test_image_tokens_that_are_known_give_equal_signals() -> None:
    architecture = ARCHITECTURES["whole"]
    model, batch = lively(architecture), examples()
    assert model.reusable == {TOKENS}
    known = model(batch, model.reusable)
    wants = frozenset(w for w in all_wants(architecture) if w.mode != "image")
    texts = Batch(fields={n: one for n, one in batch.fields.items() if n != PIXELS}, rows=batch.rows)
    mine, other = model(texts, wants, None, known), model(batch, wants)
    assert set(mine) == set(other) == wants
    assert all(torch.equal(mine[want], other[want]) for want in wants)
    shown = model(texts, wants, None, Signals({TOKENS: known[TOKENS].flip(0)}))
    changed = {want.mode for want in wants if not torch.equal(shown[want], other[want])}
    assert changed == {"fused", "decoder", "answer"}, "and they are looked at"
