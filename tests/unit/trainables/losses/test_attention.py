import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import pad

from spaces.errors import PluginError, ShapeError
from tests.unit.trainables.losses.factory import (
    EPS,
    STUDENT,
    TEACHER,
    build,
    make_batch,
    make_signals,
    mapped,
    offers_of,
    student_architecture,
    teacher_architecture,
    with_fields,
)
from trainables.families.blip.architecture import EncoderConfig
from trainables.losses.base import Ends
from trainables.losses.features.attention import SMALLEST, Attention
from trainables.signals import Offer, Offers, Signals, Want

NAMES = ["image_attention", "text_attention", "cross_attention", "decoder_attention"]
FOUR_HEADS = EncoderConfig(width=64, depth=3, heads=4)


def maps(name: str, layer: int) -> Want:
    """Return the maps that a loss reads of a layer."""
    mode = name.removesuffix("_attention")
    return Want("fused", "cross_attention", layer) if mode == "cross" else Want(mode, "attention", layer)


def divergence(target: Tensor, student: Tensor) -> float:
    """Return KL of two rows of probabilities, entry by entry."""
    pairs = zip(target.tolist(), student.tolist(), strict=True)
    return sum(p * math.log(p / q) for p, q in pairs if p > 0)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("heads", [2, 4])
def test_equals_loops_over_layers_rows_heads_and_real_queries(name: str, heads: int) -> None:
    sizes = EncoderConfig(width=64, depth=3, heads=heads)
    student, batch = offers_of(student_architecture(image=sizes, text=sizes)), make_batch()
    mine, theirs = make_signals(student, batch, negatives=True), make_signals(TEACHER, batch, seed=2)
    pairs = [(0, 2), (2, 5)] if name == "cross_attention" else [(0, 1), (1, 3), (2, 5)]
    per_layer = []
    for layer, target_layer in pairs:
        a, b = mine[maps(name, layer)].detach(), theirs[maps(name, target_layer)].detach()
        if heads != 4:
            a, b = a.mean(1, keepdim=True), b.mean(1, keepdim=True)
        lengths = batch["caption.mask"].sum(1).tolist()
        costs = [
            divergence(b[row, head, query], a[row, head, query])
            for row in range(len(b))
            for head in range(b.shape[1])
            for query in range(b.shape[2] if name == "image_attention" else lengths[row])
        ]
        per_layer.append(sum(costs) / len(costs))
    value = build(name, student, layers="all")(mine, theirs, batch)
    assert value.item() == pytest.approx(sum(per_layer) / len(per_layer), rel=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_is_zero_for_equal_maps(name: str) -> None:
    student = offers_of(student_architecture(image=FOUR_HEADS, text=FOUR_HEADS))
    batch = make_batch()
    mine, theirs = make_signals(student, batch), make_signals(TEACHER, batch, seed=2)
    mine[maps(name, 2)] = theirs[maps(name, 5)].detach().clone()
    # p log p summed over 10 keys is at most log 10, and so are its roundings
    assert build(name, student)(mine, theirs, batch).item() == pytest.approx(0, abs=10 * EPS * math.log(10))


def test_probabilities_go_through_no_second_softmax() -> None:
    # By hand: 0.9 ln(0.9 / 0.5) + 0.1 ln(0.1 / 0.5) = 0.368; a second softmax would leave 0.077.
    seen = Want("image", "attention", 0)
    offers = {seen: Offer(axes=("H", "P", "P"), sizes=(1, 2, 2), rows="picture")}
    mine = Signals({seen: torch.tensor([[[[0.5, 0.5], [0.5, 0.5]]]])})
    theirs = Signals({seen: torch.tensor([[[[0.9, 0.1], [0.9, 0.1]]]])})
    value = build("image_attention", offers, offers)(mine, theirs, make_batch(1))
    assert value.item() == pytest.approx(0.9 * math.log(1.8) + 0.1 * math.log(0.2))


def test_more_padding_changes_nothing() -> None:
    batch, loss = make_batch(), build("text_attention")
    mine, theirs = (
        make_signals(offers, batch, seed=seed).only(wants)
        for offers, wants, seed in ((STUDENT, loss.needs.student, 1), (TEACHER, loss.needs.source, 2))
    )

    def longer(want: Want, old: Tensor) -> Tensor:
        new = old.new_full((*old.shape[:2], 9, 9), 1 / 9)  # padded queries sum to 1 as well
        new[..., :7, 7:] = 0
        new[..., :7, :7] = old.detach()
        return new

    wide = with_fields(batch, caption_mask=pad(batch["caption.mask"], (0, 2)))
    torch.testing.assert_close(
        loss(mapped(mine, longer), mapped(theirs, longer), wide), loss(mine, theirs, batch)
    )


def test_a_student_that_looks_away_entirely_costs_a_finite_amount() -> None:
    here, there = torch.zeros(1, 2, 10, 10), torch.zeros(1, 4, 10, 10)
    here[..., 0], there[..., 1] = 1, 1
    mine = Signals({Want("image", "attention", 2): here.requires_grad_()})
    theirs = Signals({Want("image", "attention", 5): there})
    value = build("image_attention")(mine, theirs, make_batch(1))
    value.backward()
    assert value.item() == pytest.approx(-math.log(SMALLEST))
    assert pytest.approx(1e-7) == SMALLEST
    assert here.grad is not None
    assert here.grad.isfinite().all()


def test_half_precision_maps_of_a_cache_are_read_in_float32() -> None:
    batch = make_batch()
    mine, theirs = make_signals(STUDENT, batch), make_signals(TEACHER, batch, seed=2)
    loss = build("image_attention")
    exact = loss(mine, theirs, batch)
    theirs[maps("image_attention", 5)] = theirs[maps("image_attention", 5)].detach().half()
    rounded = loss(mine, theirs, batch)
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded, exact, atol=1e-3, rtol=1e-2)


def test_fusion_layers_are_mapped_among_themselves() -> None:
    loss = build("cross_attention", layers="all")
    assert loss.needs.student == {Want("fused", "cross_attention", 0), Want("fused", "cross_attention", 2)}
    assert loss.needs.source == {Want("fused", "cross_attention", 2), Want("fused", "cross_attention", 5)}
    sparse = offers_of(teacher_architecture(fusion=(1, 4)))
    loss = build("cross_attention", source=sparse, layers="all")
    assert loss.needs.source == {Want("fused", "cross_attention", 1), Want("fused", "cross_attention", 4)}


def head_of(teacher: Offers, mode: str) -> Offers:
    """Return what a head of one attention layer over the teacher's tokens says: maps of the same places, of 8 heads."""
    last = teacher[Want(mode, "attention", 5)]
    return {Want(mode, "attention", 0): replace(last, sizes=(8, *last.sizes[1:]))}


@pytest.mark.parametrize("mode", ["image", "text"])
@pytest.mark.parametrize("choice", ["last", "even", "all"])
def test_a_head_of_one_layer_looks_where_the_last_layer_of_its_teacher_does(mode: str, choice: str) -> None:
    head, batch = head_of(TEACHER, mode), make_batch()
    loss = build(f"{mode}_attention", head, layers=choice)
    assert loss.needs.student == {Want(mode, "attention", 0)}
    assert loss.needs.source == {Want(mode, "attention", 5)}
    mine, theirs = make_signals(head, batch), make_signals(TEACHER, batch, seed=2)
    a = mine[Want(mode, "attention", 0)].mean(1)
    b = theirs[Want(mode, "attention", 5)].mean(1)
    lengths = batch["caption.mask"].sum(1).tolist() if mode == "text" else [b.shape[1]] * len(b)
    costs = [
        divergence(b[row, query], a[row, query]) for row in range(len(b)) for query in range(lengths[row])
    ]
    assert loss(mine, theirs, batch).item() == pytest.approx(sum(costs) / len(costs), rel=1e-4)


def test_a_head_over_another_grid_is_refused_with_both_numbers() -> None:
    fine = head_of(offers_of(teacher_architecture(patch_size=4)), "image")
    told = r"image\.attention\.0 has 37 image tokens, the teacher's 10; both must agree"
    with pytest.raises(ShapeError, match=told):
        build("image_attention", fine)


@pytest.mark.parametrize("name", ["image_attention", "cross_attention"])
def test_refuses_another_patch_grid(name: str) -> None:
    fine: Any = offers_of(student_architecture(patch_size=4))
    with pytest.raises(ShapeError, match=rf"losses\.{name}: .* has 37 image tokens, the teacher's 10"):
        build(name, fine)


def test_refuses_maps_over_texts_of_another_length() -> None:
    mine, theirs = make_signals(STUDENT, make_batch()), make_signals(TEACHER, make_batch(tokens=9))
    told = r"text\.attention\.2: student gives \(5, 7, 7\), teacher \(5, 9, 9\)"
    with pytest.raises(ShapeError, match=told):
        build("text_attention")(mine, theirs, make_batch())


def test_a_mode_that_no_shipped_family_has_comes_with_the_name() -> None:
    offer = Offer(axes=("H", "T", "T"), sizes=(2, 7, 7), rows="question", mask="question.mask")
    offers = {Want("statement", "attention", 3): offer}
    batch = make_batch()
    batch.fields["question.mask"][0, 4:] = False
    loss = Attention(Attention.Config(), Ends(name="statement_attention", student=offers, source=offers))
    a = make_signals(offers, batch, seed=1).only(offers)
    b = make_signals(offers, batch, seed=2).only(offers)
    costs = []
    for row, query in batch["question.mask"].nonzero().tolist():
        for head in range(2):
            want = Want("statement", "attention", 3)
            costs.append(divergence(b[want][row, head, query], a[want][row, head, query]))
    assert loss(a, b, batch).item() == pytest.approx(sum(costs) / len(costs), rel=1e-4)


def test_refuses_an_unknown_choice_of_layers() -> None:
    with pytest.raises(PluginError, match="layers: got 'first'; allowed: last, even, all"):
        Attention.Config(layers="first")  # type: ignore[arg-type]
