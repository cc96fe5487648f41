"""A published CLIP says the same in signals as in its own class."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.functional import normalize

from tests.unit.trainables.teachers.clip.small_clip import (
    POSITIONS,
    SIZES,
    TEXT,
    Published,
    save,
    save_vision,
)
from trainables.families.towers.clip import Clip
from trainables.signals import PIXELS, Batch, Signals, Want, Wants
from trainables.tasks.decoding import padded
from trainables.teachers.loading import load_teacher
from trainables.teachers.teacher import Teacher

TEXTS = [
    "a photo of a red circle",
    "",
    "the blue square, 2 cats and much more than a text may hold in all",
    "Ein Zébra",
]
ROUNDINGS = 64  # products of at most 72 channels through 3 layers, summed in another order
CPU = torch.device("cpu")
TOKEN = {
    "single_word": False,
    "lstrip": False,
    "rstrip": False,
    "normalized": True,
    "__type": "AddedToken",
}
END = {"content": "<|endoftext|>", **TOKEN}
OLD_WORDS = {
    "unk_token": END,
    "bos_token": {"content": "<|startoftext|>", **TOKEN},
    "eos_token": END,
    "pad_token": "<|endoftext|>",
    "add_prefix_space": False,
    "errors": "replace",
    "do_lower_case": True,
    "name_or_path": "openai/clip-vit-base-patch32",
    "model_max_length": POSITIONS,
    "special_tokens_map_file": "./special_tokens_map.json",
    "tokenizer_class": "CLIPTokenizer",
}
OLD_PICTURES = {
    "crop_size": 32,
    "do_center_crop": True,
    "do_normalize": True,
    "do_resize": True,
    "feature_extractor_type": "CLIPFeatureExtractor",
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
    "resample": 3,
    "size": 32,
}


def make_batch(teacher: Teacher) -> Batch:
    side, keys = teacher.preprocess.image_size, torch.arange(len(TEXTS))
    fields = {PIXELS: torch.randn(len(TEXTS), 3, side, side, generator=torch.Generator().manual_seed(1))}
    if teacher.tokenizer:
        ids, mask = padded(teacher.tokenizer.captions(TEXTS), teacher.tokenizer.vocabulary.pad, CPU)
        fields |= {"caption.ids": ids, "caption.mask": mask}
    return Batch(fields=fields, rows={"picture": keys, "caption": keys})


def close(ours: Tensor, theirs: Tensor) -> None:
    allowed = ROUNDINGS * torch.finfo(torch.float32).eps * max(float(theirs.abs().max()), 1.0)
    torch.testing.assert_close(ours, theirs, atol=allowed, rtol=0)


def everything(teacher: Teacher) -> tuple[Batch, Signals]:
    batch = make_batch(teacher)
    return batch, teacher.signals(batch, frozenset(teacher.offers))


def images(model: Any, pixels: Tensor) -> Any:
    return model(pixel_values=pixels, output_hidden_states=True, output_attentions=True)


@torch.no_grad()
def test_both_sides_equal_the_class(clip: Published) -> None:
    teacher = load_teacher(str(clip.folder))
    batch, ours = everything(teacher)
    read = {"input_ids": batch["caption.ids"], "attention_mask": batch["caption.mask"].long()}
    seen = {"output_hidden_states": True, "output_attentions": True}
    theirs = clip.model(pixel_values=batch[PIXELS], **read, **seen)
    assert theirs.image_embeds.std(dim=0).max() > 0.01, "pictures that look alike test nothing"
    for mode, side, embeds in (
        ("image", theirs.vision_model_output, theirs.image_embeds),
        ("text", theirs.text_model_output, theirs.text_embeds),
    ):
        real = (
            batch["caption.mask"]
            if mode == "text"
            else torch.ones(len(TEXTS), ours[Want(mode, "tokens")].shape[1]).bool()
        )
        close(ours[Want(mode, "embedding")], embeds)
        close(ours[Want(mode, "tokens")][real], side.last_hidden_state[real])
        for index, state in enumerate(side.hidden_states[1:]):
            close(ours[Want(mode, "hidden", index)][real], state[real])
        for index, maps in enumerate(side.attentions):
            close(ours[Want(mode, "attention", index)].transpose(1, 2)[real], maps.transpose(1, 2)[real])
    assert {want for want in teacher.offers if want.layer == 3} == set()
    temperature = ours[Want("contrast", "temperature")]
    close(
        ours[Want("image", "embedding")] @ ours[Want("text", "embedding")].T / temperature,
        theirs.logits_per_image,
    )


@torch.no_grad()
def test_features_before_unit_norm_are_those_of_the_class(clip: Published) -> None:
    teacher = load_teacher(str(clip.folder))
    batch, ours = everything(teacher)
    pictures = clip.model.get_image_features(batch[PIXELS]).pooler_output
    texts = clip.model.get_text_features(batch["caption.ids"], batch["caption.mask"].long()).pooler_output
    close(ours[Want("image", "joint")][:, 0], pictures)
    ends = batch["caption.mask"].sum(dim=1) - 1
    close(ours[Want("text", "joint")][torch.arange(len(TEXTS)), ends], texts)
    pooled = clip.model.vision_model(batch[PIXELS]).pooler_output
    close(ours[Want("image", "pooled")], pooled)
    close(
        normalize(clip.model.visual_projection(ours[Want("image", "pooled")]), dim=-1),
        normalize(pictures, dim=-1),
    )
    close(clip.model.text_projection(ours[Want("text", "pooled")]), texts)


def test_the_map_is_the_joint_tokens_without_the_first(clip: Published) -> None:
    teacher = load_teacher(str(clip.folder))
    _, ours = everything(teacher)
    a = teacher.blueprint.architecture
    grid = a.image_size // a.patch_size
    assert ours[Want("image", "map")].shape == (len(TEXTS), 20, grid, grid)
    assert torch.equal(ours[Want("image", "map")][:, :, 1, 2], ours[Want("image", "joint")][:, 1 + grid + 2])


def test_one_by_one_and_together_they_are_the_same(clip: Published) -> None:
    teacher = load_teacher(str(clip.folder))
    batch, together = everything(teacher)
    assert together.keys() == set(teacher.offers)
    for want, offer in teacher.offers.items():
        found = teacher.signals(batch, frozenset({want}))
        assert set(found) == {want}
        close(found[want], together[want])
        sizes = [
            batch["caption.ids"].shape[1] if axis == "T" else size
            for axis, size in zip(offer.axes, offer.sizes, strict=True)
        ]
        assert list(found[want].shape[bool(offer.rows) :]) == sizes, want


def test_layers_behind_the_last_wanted_one_do_not_run(small_clip: Published) -> None:
    teacher = load_teacher(str(small_clip.folder))
    ran: list[int] = []
    assert isinstance(teacher.model, Clip)
    assert teacher.model.vision_model is not None
    for index, layer in enumerate(teacher.model.vision_model.encoder.layers):
        layer.register_forward_hook(lambda *_, index=index: ran.append(index))
    teacher.signals(
        make_batch(teacher), frozenset({Want("image", "hidden", 1), Want("image", "attention", 0)})
    )
    assert ran == [0, 1]


@pytest.mark.parametrize(
    ("wants", "kept"),
    [
        ({Want("image", "embedding")}, {"vision_model", "visual_projection"}),
        ({Want("text", "joint"), Want("contrast", "temperature")}, {"text_model", "text_projection"}),
        ({Want("contrast", "temperature")}, set()),
    ],
)
def test_what_is_deployed_has_the_sides_that_are_asked_for(
    small_clip: Published, wants: set[Want], kept: set[str]
) -> None:
    teacher = load_teacher(str(small_clip.folder))
    asked: Wants = frozenset(wants)
    part = teacher.blueprint.deployed(asked)
    assert asked <= set(part.offers)
    assert part.deployed(asked) == part
    model, weights = part.build().eval(), teacher.model.state_dict()
    assert {name.partition(".")[0] for name in model.state_dict()} == kept | {"logit_scale"}
    model.load_state_dict({name: weights[name] for name in model.state_dict()})
    batch = make_batch(teacher)
    given = teacher.signals(batch, asked)
    assert all(torch.equal(value, given[want]) for want, value in model(batch, asked).items())


def test_sizes_are_those_of_the_config(small_clip: Published) -> None:
    teacher = load_teacher(str(small_clip.folder))
    assert teacher.blueprint.kind == "clip"
    assert teacher.blueprint.sizes == {
        "embedding": 20,
        "image.width": 32,
        "image.depth": 3,
        "image.heads": 4,
        "text.width": 24,
        "text.depth": 2,
        "text.heads": 3,
    }
    assert not any(parameter.requires_grad for parameter in teacher.model.parameters())


@torch.no_grad()
@pytest.mark.parametrize("projected", [True, False], ids=["projected", "bare"])
@pytest.mark.parametrize("older", [True, False], ids=["older names", "newer names"])
def test_the_vision_side_alone_is_a_teacher_without_texts(
    tmp_path: Path, projected: bool, older: bool
) -> None:
    model = save_vision(tmp_path, projected=projected)
    if older and not projected:
        weights = {
            f"vision_model.{name}": one for name, one in load_file(tmp_path / "model.safetensors").items()
        }
        (tmp_path / "model.safetensors").unlink()
        torch.save(
            {**weights, "vision_model.embeddings.position_ids": torch.arange(17)[None]},
            tmp_path / "pytorch_model.bin",
        )
    teacher = load_teacher(str(tmp_path))
    batch, ours = everything(teacher)
    assert {want.mode for want in teacher.offers} == {"image"}
    assert (teacher.tokenizer, teacher.blueprint.sizes["embedding"]) == (None, 20 if projected else 32)
    theirs = images(model, batch[PIXELS])
    close(ours[Want("image", "tokens")], theirs.last_hidden_state)
    feature = theirs.image_embeds if projected else theirs.pooler_output
    close(ours[Want("image", "embedding")], normalize(feature, dim=-1))
    close(ours[Want("image", "joint")][:, 0], feature)
    for index, maps in enumerate(theirs.attentions):
        close(ours[Want("image", "attention", index)], maps)


@torch.no_grad()
def test_an_old_config_finds_the_end_by_the_highest_id_as_its_class_does(tmp_path: Path) -> None:
    old = save(tmp_path, SIZES["even"], eos_token_id=2)
    teacher = load_teacher(str(tmp_path))
    batch, ours = everything(teacher)
    theirs = old.model.get_text_features(batch["caption.ids"], batch["caption.mask"].long()).pooler_output
    close(ours[Want("text", "embedding")], normalize(theirs, dim=-1))


def test_files_as_openai_published_them(copied_clip: Path, small_clip: Published) -> None:
    """Sizes stand in `text_config_dict`, ids are those of another tokenizer, and classes have older names."""
    expected = load_teacher(str(small_clip.folder))
    config = json.loads((copied_clip / "config.json").read_text())
    sizes = {name: config["text_config"][name] for name in TEXT}
    old_ids = {"bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1}
    text = {
        **config["text_config"],
        **dict.fromkeys(TEXT, 8),
        "_name_or_path": "",
        "torch_dtype": None,
        "pruned_heads": {},
    }
    config |= {
        "text_config": text,
        "text_config_dict": {
            **sizes,
            **old_ids,
            "vocab_size": text["vocab_size"],
            "max_position_embeddings": POSITIONS,
        },
        "vision_config_dict": None,
    }
    (copied_clip / "config.json").write_text(json.dumps(config))
    (copied_clip / "tokenizer_config.json").write_text(json.dumps(OLD_WORDS))
    (copied_clip / "preprocessor_config.json").write_text(json.dumps(OLD_PICTURES))
    teacher = load_teacher(str(copied_clip))
    assert teacher.preprocess == expected.preprocess
    assert teacher.tokenizer is not None
    assert expected.tokenizer is not None
    assert teacher.tokenizer.captions(TEXTS) == expected.tokenizer.captions(TEXTS)
    batch, ours = everything(teacher)
    assert all(
        torch.equal(ours[want], value) for want, value in expected.signals(batch, frozenset(ours)).items()
    )


@torch.no_grad()
def test_shards_and_half_precision_say_the_same(tmp_path: Path, small_clip: Published) -> None:
    expected = load_teacher(str(small_clip.folder))
    small_clip.model.save_pretrained(tmp_path, max_shard_size="40KB")
    small_clip.tokenizer.save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_bytes(
        (small_clip.folder / "preprocessor_config.json").read_bytes()
    )
    assert len(list(tmp_path.glob("model-*-of-*.safetensors"))) > 2
    assert load_teacher(str(tmp_path)).files.fingerprint == expected.files.fingerprint
    weights = {name: one.half() for name, one in small_clip.model.state_dict().items()}
    for path in tmp_path.glob("model*"):
        path.unlink()
    torch.save(weights, tmp_path / "pytorch_model.bin")
    half = load_teacher(str(tmp_path))
    assert all(value.dtype == torch.float32 for value in half.model.state_dict().values())
    assert all(torch.equal(value, weights[name].float()) for name, value in half.model.state_dict().items())
