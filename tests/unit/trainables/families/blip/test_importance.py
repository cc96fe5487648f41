"""What matters of a teacher, measured by forward passes, and a narrower student that takes it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from spaces.errors import ShapeError
from tests.unit.trainables.small import all_wants, lively, small_config, told
from trainables.families.blip.architecture import BlipArchitecture, EncoderConfig
from trainables.families.blip.beginning import begin
from trainables.families.blip.importance import measured_importance
from trainables.families.blip.inherit import inherit_image, inherit_text
from trainables.families.blip.model import Blip
from trainables.families.blip.options import BlipOptions, EncoderOptions, FusionOptions
from trainables.families.blip.order import Order, by_importance, rows_of_heads, strongest
from trainables.families.blip.text_network import TraceLayers
from trainables.families.origin import Origin
from trainables.signals import Batch, Want

SIDE = EncoderConfig(width=16, depth=2, heads=4, mlp_ratio=2.0)
TEACHER = small_config(image=SIDE, text=replace(SIDE, depth=3), fusion=(0, 2), embedding=6)
DUAL = replace(TEACHER, fusion=())
CLOSE = {"rtol": 1e-4, "atol": 1e-5}  # of float32 states of some units behind three layers


def batch_of(pairs: int, seed: int = 0, tokens: int = 7) -> Batch:
    """Return pictures and captions of several lengths, padded on the right."""
    random = torch.Generator().manual_seed(seed)
    lengths = torch.randint(3, tokens + 1, (pairs, 1), generator=random)
    mask = torch.arange(tokens) < lengths
    ids = torch.randint(5, TEACHER.vocabulary.size, (pairs, tokens), generator=random) * mask
    return told(torch.randn(pairs, 3, 64, 64, generator=random), ids, mask)


@pytest.fixture(scope="module")
def teacher() -> Blip:
    return lively(TEACHER)


@pytest.fixture(scope="module")
def measured(teacher: Blip) -> dict[str, Tensor]:
    return measured_importance(teacher, [batch_of(5), batch_of(3, seed=1)])


def heads_of(rows_XD: Tensor, heads: int) -> Tensor:
    """Return the mean norm of each head's part of rows."""
    return torch.stack([part.norm(dim=-1).mean() for part in rows_XD.chunk(heads, dim=-1)])


def attended(queries: Tensor, keys: Tensor, values: Tensor, heads: int) -> Tensor:
    """Return what heads mix of one sequence, (T, D), written out."""
    parts = zip(*(one.chunk(heads, dim=-1) for one in (queries, keys, values)), strict=True)
    return torch.cat([((q @ k.T) / q.shape[-1] ** 0.5).softmax(-1) @ v for q, k, v in parts], dim=-1)


@torch.no_grad()
def test_image_side_equals_loops_over_pictures_and_layers(teacher: Blip, measured: dict[str, Tensor]) -> None:
    vit: Any = teacher.image_encoder.vit
    normed: list[Tensor] = []
    mixed: dict[int, list[Tensor]] = {0: [], 1: []}
    inner: dict[int, list[Tensor]] = {0: [], 1: []}
    for picture in (*batch_of(5).fields["picture.pixels"], *batch_of(3, seed=1).fields["picture.pixels"]):
        state = teacher.image_encoder.embed(picture[None])[0]
        for index, block in enumerate(vit.blocks):
            first = block.norm1(state)
            mixed[index].append(attended(*block.attn.qkv(first).chunk(3, dim=-1), 4))
            state = state + block.attn.proj(mixed[index][-1])
            second = block.norm2(state)
            inner[index].append(functional.gelu(block.mlp.fc1(second)))
            state = state + block.mlp.fc2(inner[index][-1])
            normed += [first, second]
        normed.append(vit.norm(state))
    torch.testing.assert_close(measured["image.channels"], torch.cat(normed).abs().mean(0), **CLOSE)
    for index in (0, 1):
        rows = torch.cat(mixed[index])
        torch.testing.assert_close(measured[f"image.{index}.attention.heads"], heads_of(rows, 4), **CLOSE)
        torch.testing.assert_close(measured[f"image.{index}.attention.values"], rows.abs().mean(0), **CLOSE)
        torch.testing.assert_close(
            measured[f"image.{index}.neurons"], torch.cat(inner[index]).abs().mean(0), **CLOSE
        )


def test_a_prompt_changes_nothing_and_other_texts_do_for_captions(
    teacher: Blip, measured: dict[str, Tensor]
) -> None:
    batches = [batch_of(5), batch_of(3, seed=1)]
    for batch in batches:
        batch.fields["caption.prompt"] = torch.full((len(batch.rows["picture"]), 2), 7)
    prompted = measured_importance(teacher, batches)
    assert all(torch.equal(prompted[name], one) for name, one in measured.items())
    for kind, first in (("statement", TEACHER.vocabulary.cls), ("question", TEACHER.vocabulary.dec)):
        texts = batch_of(5)
        texts.fields["caption.ids"][:, 0] = TEACHER.vocabulary.cls
        expected = measured_importance(teacher, [texts])
        other = batch_of(6)  # the last has no such text
        ids, mask = (
            torch.cat([texts[f"caption.{name}"], texts[f"caption.{name}"][:1]]) for name in ("ids", "mask")
        )
        ids[:, 0] = first
        pixels = torch.cat([texts["picture.pixels"], other["picture.pixels"][:1]])
        rows = {"picture": torch.arange(6), kind: torch.tensor([0, 1, 2, 3, 4, -1])}
        bare = Batch(fields={"picture.pixels": pixels, f"{kind}.ids": ids, f"{kind}.mask": mask}, rows=rows)
        found = measured_importance(teacher, [bare])
        assert found.keys() == expected.keys()
        for name, one in expected.items():
            torch.testing.assert_close(found[name], one, **CLOSE)


@torch.no_grad()
def test_text_side_equals_loops_over_captions_without_their_padding() -> None:
    model, batch = lively(DUAL), batch_of(5)
    found = measured_importance(model, [batch])
    network: Any = model.text_network
    normed, mixed, inner = list[Tensor](), list[Tensor](), list[Tensor]()
    for ids, mask in zip(batch["caption.ids"], batch["caption.mask"], strict=True):
        state = network.embed(ids[None, : int(mask.sum())])[0]  # the text alone: no padding is there
        normed.append(state)
        for index, layer in enumerate(network.layers):
            block = layer.attention
            heads = attended(block.query(state), block.key(state), block.value(state), 4)
            state = block.norm(state + block.output(heads))
            neurons = functional.gelu(layer.intermediate(state))
            normed.append(state)
            state = layer.norm(state + layer.output(neurons))
            normed.append(state)
            if index == 1:
                mixed.append(heads)
                inner.append(neurons)
    torch.testing.assert_close(found["text.channels"], torch.cat(normed).abs().mean(0), **CLOSE)
    torch.testing.assert_close(found["text.1.attention.heads"], heads_of(torch.cat(mixed), 4), **CLOSE)
    torch.testing.assert_close(found["text.1.neurons"], torch.cat(inner).abs().mean(0), **CLOSE)


def test_chunks_add_up_to_the_whole(teacher: Blip, measured: dict[str, Tensor]) -> None:
    parts = [batch_of(5), batch_of(3, seed=1)]
    fields = {name: torch.cat([one.fields[name] for one in parts]) for name in parts[0].fields}
    rows = {kind: torch.arange(8) for kind in parts[0].rows}
    whole = measured_importance(teacher, [Batch(fields=fields, rows=rows)])
    assert whole.keys() == measured.keys()
    for name, value in whole.items():
        torch.testing.assert_close(value, measured[name], **CLOSE)


def permutation(count: int, importance: Tensor) -> Tensor:
    assert len(importance) == count
    return importance.argsort(descending=True)


def reordered(side: str, importance: dict[str, Tensor], config: EncoderConfig) -> Order:
    """Return all entries of a side, the most important first."""
    size = config.width // config.heads

    def rows(name: str) -> Tensor:
        heads = permutation(config.heads, importance[f"{name}.heads"])
        return torch.cat([torch.arange(head * size, (head + 1) * size) for head in heads.tolist()])

    names = [name.removesuffix(".heads") for name in importance if name.startswith(side)]
    blocks = {name.removeprefix(f"{side}."): rows(name) for name in names if f"{name}.heads" in importance}
    inner = int(config.width * config.mlp_ratio)
    neurons = {
        index: permutation(inner, importance[f"{side}.{index}.neurons"]) for index in range(config.depth)
    }
    channels = permutation(config.width, importance[f"{side}.channels"])
    return Order(channels=channels, neurons=neurons, queries=blocks, values=blocks)


@torch.no_grad()
def test_reordering_at_full_width_leaves_what_the_teacher_says(
    teacher: Blip, measured: dict[str, Tensor]
) -> None:
    image, text = (
        reordered(side, measured, config)
        for side, config in (("image", TEACHER.image), ("text", TEACHER.text))
    )
    assert image.channels is not None
    assert not torch.equal(image.channels, torch.arange(16))
    torch.manual_seed(5)
    other = Blip(TEACHER).eval()
    inherit_image(other, teacher, image)
    inherit_text(other, teacher, order=text, seen=image.channels)
    batch = batch_of(4, seed=2)
    wants = {want for want in all_wants(TEACHER) if want.what in ("embedding", "logits")}
    before, after = teacher(batch, frozenset(wants)), other(batch, frozenset(wants))
    for want in wants:
        torch.testing.assert_close(after[want], before[want], rtol=1e-5, atol=1e-5)
    states = Want("image", "hidden", 1)
    moved = other(batch, frozenset({states}))[states]
    kept = teacher(batch, frozenset({states}))[states][..., image.channels]
    torch.testing.assert_close(moved, kept, rtol=1e-5, atol=1e-5)


def options(image: str, text: str) -> BlipOptions:
    sides = [EncoderOptions(width=8, depth=2, heads=2, init=init) for init in (image, text)]  # type: ignore[arg-type]
    return BlipOptions(image=sides[0], text=sides[1], fusion=FusionOptions(layers=2))


def narrow(seed: int = 0, **changes: Any) -> Blip:
    torch.manual_seed(seed)
    side = EncoderConfig(width=8, depth=2, heads=2, mlp_ratio=2.0)
    return Blip(replace(TEACHER, image=side, text=side, fusion=(0, 1), **changes)).eval()


def test_a_narrower_student_takes_what_was_made_to_matter() -> None:
    """A teacher of which heads 1 and 3, channels 4.. and neurons 8.. are strong gives these, and nothing else."""
    model = lively(TEACHER)
    strong: dict[str, Sequence[int]] = {"channels": range(6, 14), "heads": (1, 3), "neurons": range(10, 26)}
    sizes = {"channels": 16, "heads": 4, "neurons": 32}

    def made(name: str) -> Tensor:
        kind = name.rpartition(".")[2]
        found = torch.full((sizes.get(kind, 16),), 0.1)
        found[list(strong.get(kind, ()))] = 1.0
        return found

    names = measured_importance(model, [batch_of(2)])
    student = narrow()
    begin(
        student,
        Origin(teacher=model, importance=lambda: {n: made(n) for n in names}),
        options("importance", "importance"),
    )
    mine, theirs = student.state_dict(), model.state_dict()
    channels, neurons = list(strong["channels"]), list(strong["neurons"])
    rows = [*range(4, 8), *range(12, 16)]  # heads 1 and 3, of 4 dimensions each
    vit, text = "image_encoder.vit.blocks.", "text_network.layers."
    assert torch.equal(mine[f"{vit}0.norm1.weight"], theirs[f"{vit}0.norm1.weight"][channels])
    asked = [*rows, *(row + 16 for row in rows), *(row + 32 for row in rows)]
    assert torch.equal(mine[f"{vit}1.attn.qkv.weight"], theirs[f"{vit}1.attn.qkv.weight"][asked][:, channels])
    assert torch.equal(
        mine[f"{vit}1.attn.proj.weight"], theirs[f"{vit}1.attn.proj.weight"][channels][:, rows]
    )
    assert torch.equal(mine[f"{vit}0.mlp.fc1.weight"], theirs[f"{vit}0.mlp.fc1.weight"][neurons][:, channels])
    assert torch.equal(mine[f"{vit}0.mlp.fc2.weight"], theirs[f"{vit}0.mlp.fc2.weight"][channels][:, neurons])
    assert torch.equal(mine["text_network.words.weight"], theirs["text_network.words.weight"][:, channels])
    # text layers 0 and 1 come from 1 (2 of 3 rounds to 2, less 1) and 2; both look at pictures as layer 2 or 0 does
    crossed = f"{text}1.cross_attention.key.weight"
    assert torch.equal(mine[crossed], theirs[f"{text}2.cross_attention.key.weight"][rows][:, channels])
    assert torch.equal(mine[f"{text}1.output.weight"], theirs[f"{text}2.output.weight"][channels][:, neurons])
    assert torch.equal(mine["text_projection.weight"], theirs["text_projection.weight"][:, channels])


def test_strong_parts_of_a_real_pass_are_found() -> None:
    """Weights, not figures, are made strong: the passes have to find them."""
    model = lively(TEACHER)
    with torch.no_grad():
        block: Any = model.image_encoder.vit.blocks[1]
        block.attn.qkv.weight[32 + 8 : 32 + 12] *= 20  # values of head 2
        block.mlp.fc1.weight[5] *= 50
        block.mlp.fc1.bias[5] = 9.0
        for norm in (
            *(n for b in model.image_encoder.vit.blocks for n in (b.norm1, b.norm2)),
            model.image_encoder.vit.norm,
        ):  # type: ignore[union-attr]
            norm.weight[11] *= 30  # type: ignore[index,operator]
    found = measured_importance(model, [batch_of(4)])
    assert int(found["image.1.attention.heads"].argmax()) == 2
    assert int(found["image.1.neurons"].argmax()) == 5
    assert int(found["image.channels"].argmax()) == 11
    order = by_importance(
        "image", found, EncoderConfig(width=4, depth=1, heads=1, mlp_ratio=2.0), TEACHER.image
    )
    assert order.channels is not None
    assert 11 in order.channels.tolist()
    assert order.values["1.attention"].tolist() == [8, 9, 10, 11]
    assert 5 in order.neurons[1].tolist()


def test_a_student_as_wide_as_its_teacher_is_its_teacher_entry_by_entry(
    teacher: Blip, measured: dict[str, Tensor]
) -> None:
    torch.manual_seed(1)
    twin = Blip(TEACHER)
    wide = EncoderOptions(width=16, depth=2, init="importance")
    config = BlipOptions(image=wide, text=replace(wide, depth=3), fusion=FusionOptions(layers=2))
    begin(twin, Origin(teacher=teacher, importance=lambda: measured), config)
    assert all(torch.equal(value, teacher.state_dict()[name]) for name, value in twin.state_dict().items())


def test_a_side_by_itself_leaves_the_other_fresh_and_reads_pictures_as_they_are(
    teacher: Blip, measured: dict[str, Tensor]
) -> None:
    student, fresh = narrow(), narrow()
    notes = begin(
        student, Origin(teacher=teacher, importance=lambda: measured), options("random", "importance")
    )
    assert notes == ("text side: begins with the most important entries of the teacher's layers 1, 2",)
    mine, drawn = student.state_dict(), fresh.state_dict()
    assert all(torch.equal(mine[name], drawn[name]) for name in mine if name.startswith("image_"))
    order = by_importance("text", measured, student.architecture.text, TEACHER.text)
    key = "text_network.layers.1.cross_attention.key.weight"
    rows = order.queries["2.cross_attention"]
    source = teacher.state_dict()["text_network.layers.2.cross_attention.key.weight"]
    assert torch.equal(mine[key], source[rows][:, :8])  # the leading channels of the picture


def test_nobody_has_measured_is_told() -> None:
    with pytest.raises(ShapeError, match="nobody has measured that"):
        begin(narrow(), Origin(teacher=lively(TEACHER)), options("importance", "random"))


@pytest.mark.parametrize(
    ("width", "heads", "rows"),
    [
        (4, 2, [0, 1, 6, 7]),  # heads 0 and 3 of 2 dimensions: the strongest
        (2, 2, [0, 6]),  # one dimension of each
        (4, 4, [0, 2, 4, 6]),  # every head gives its strongest
        (8, 8, [0, 1, 2, 3, 4, 5, 6, 7]),  # two heads of each
        (3, 3, [0, 4, 6]),
        (4, 1, [0, 1, 6, 7]),  # one large head of two whole ones
        (6, 2, [0, 1, 2, 4, 6, 7]),  # heads of 3: the strongest rows of all
    ],
)
def test_heads_share_out_the_rows(width: int, heads: int, rows: list[int]) -> None:
    importance = torch.tensor([4.0, 1.0, 2.0, 3.0])
    dims = torch.tensor([9.0, 8.0, 3.0, 1.0, 4.0, 2.0, 7.0, 6.0])
    found = rows_of_heads(importance, dims, EncoderConfig(width=width, depth=1, heads=heads))
    assert sorted(found.tolist()) == rows


def test_of_equal_ones_the_earlier_are_taken() -> None:
    assert strongest(torch.tensor([1.0, 2.0, 1.0, 1.0]), 3).tolist() == [0, 1, 2]


@pytest.mark.parametrize("left_out", ["question", "caption"])
def test_a_teacher_that_answers_alone_is_measured_on_texts_that_it_reads_with_the_picture(
    left_out: str,
) -> None:
    alone: BlipArchitecture = replace(TEACHER, contrast=False, matching=False, decoder=False, answerer=True)
    model, batch = lively(alone), batch_of(3)
    ids, mask = batch["caption.ids"], batch["caption.mask"]
    batch.fields = {name: one for name, one in batch.fields.items() if not name.startswith(left_out)}
    del batch.rows[left_out]
    names = measured_importance(model, [batch])
    network: Any = model.text_network
    inner: list[Tensor] = []
    handle = network.layers[2].output.register_forward_pre_hook(lambda _, given: inner.append(given[0][0]))
    tokens = model(batch, frozenset({Want("image", "tokens")}))[Want("image", "tokens")]
    for text, real, seen in zip(ids, mask, tokens, strict=True):
        begun = torch.cat([torch.tensor([alone.vocabulary.enc]), text[1 : int(real.sum())]])[None]
        network(begun, torch.ones_like(begun).bool(), seen[None], decode=False, trace=TraceLayers())
    handle.remove()
    torch.testing.assert_close(names["text.2.neurons"], torch.cat(inner).abs().mean(0), **CLOSE)
    student = narrow()
    before = student.text_network.words.weight.clone()  # type: ignore[operator]
    begin(student, Origin(teacher=model, importance=lambda: names), options("importance", "importance"))
    assert not torch.equal(student.text_network.words.weight, before)  # type: ignore[arg-type]


def test_two_pictures_and_captioning_only_teachers_are_measured_too() -> None:
    alone: BlipArchitecture = replace(
        TEACHER, contrast=False, encoder=False, matching=False, decodes=("decoder",)
    )
    found = measured_importance(lively(alone), [batch_of(2)])
    assert "text.0.decoder_attention.heads" in found
    assert "text.0.attention.heads" not in found
    pairs = replace(TEACHER, merged=(2,))
    student = narrow(merged=(1,))
    model = lively(pairs)
    names = measured_importance(model, [batch_of(2)])
    begin(student, Origin(teacher=model, importance=lambda: names), options("importance", "importance"))
    order = by_importance("text", names, student.architecture.text, TEACHER.text)
    image = by_importance("image", names, student.architecture.image, TEACHER.image)
    mine = student.state_dict()["text_network.layers.1.second.attention.value.weight"]
    theirs = model.state_dict()["text_network.layers.2.second.attention.value.weight"]
    assert torch.equal(mine, theirs[order.values["2.cross_attention"]][:, image.channels])
