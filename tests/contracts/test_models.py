"""What every row of `MODELS` promises."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from spaces.plugins import resolve
from tests.tolerance import close
from trainables.models import MODELS
from trainables.models.config import BlipConfig, EncoderConfig, VocabularyConfig
from trainables.outputs import MODES, Want

CONFIG = BlipConfig(
    image=EncoderConfig(width=12, depth=2, heads=2),
    text=EncoderConfig(width=16, depth=3, heads=4),
    fusion=(0, 2),
    embedding=6,
    image_size=16,
    patch_size=8,
    max_tokens=7,
    vocabulary=VocabularyConfig(size=19, pad=0, cls=1, sep=2, dec=3, enc=4),
)
SIZES = {
    "plain": CONFIG,
    "all layers fuse": replace(CONFIG, fusion=(0, 1, 2)),
    "no decoder": replace(CONFIG, decoder=False),
    "dual encoder": replace(CONFIG, fusion=()),
    "one layer": replace(CONFIG, text=EncoderConfig(width=8, depth=1, heads=1), fusion=(0,)),
}


def build(name: str, config: BlipConfig, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    return resolve(MODELS, name, "models")(config)


def inputs(rows: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    """Return images, ids and mask of captions of several lengths."""
    random = torch.Generator().manual_seed(0)
    mask = torch.arange(7) < torch.tensor([7, 5, 3, 4])[:rows, None]
    ids = torch.randint(5, 19, (rows, 7), generator=random) * mask
    ids[:, 0] = 1
    return torch.randn(rows, 3, 16, 16, generator=random), ids, mask


def said(model: Any, rows: int = 3, wants: frozenset[Want] = frozenset()) -> dict[str, Any]:
    """Return the outputs of every mode that the model has."""
    images, ids, mask = inputs(rows)
    found = {"image": model.encode_image(images, wants), "text": model.encode_text(ids, mask, wants)}
    tokens = found["image"].tokens_BPD
    if model.config.has_fusion:
        found["fused"] = model.fuse(ids, mask, tokens, wants)
    if model.config.has_decoder:
        found["decoder"] = model.decode(ids, mask, tokens, wants=wants)
        found["answer"] = model.decode(ids, mask, tokens, mode="answer", wants=wants)
    return found


def heads(found: dict[str, Any]) -> dict[str, Tensor]:
    """Return what each mode's head says."""
    fields = {"image": "embedding_BE", "text": "embedding_BE", "fused": "logits_N2"}
    return {mode: getattr(outputs, fields.get(mode, "logits_BTV")) for mode, outputs in found.items()}


def test_table_is_sorted_and_names_each_file_as_its_row() -> None:
    assert list(MODELS) == sorted(MODELS)
    assert all(target.startswith(f"trainables.models.{name}:") for name, target in MODELS.items())


@pytest.mark.parametrize("name", MODELS)
class TestEveryModel:
    @pytest.mark.parametrize("size", SIZES)
    @pytest.mark.parametrize("rows", [1, 3])
    def test_says_finite_things_of_true_shapes(self, name: str, size: str, rows: int) -> None:
        config = SIZES[size]
        found = heads(said(build(name, config), rows))
        shapes = {mode: tuple(value.shape) for mode, value in found.items()}
        expected = {"image": (rows, 6), "text": (rows, 6)}
        if config.has_fusion:
            expected["fused"] = (rows, 2)
        if config.has_decoder:
            expected |= {"decoder": (rows, 7, 19), "answer": (rows, 7, 19)}  # type: ignore[dict-item]
        assert shapes == expected
        assert all(bool(value.isfinite().all()) for value in found.values())
        for mode in ("image", "text"):
            close(found[mode].norm(dim=1), torch.ones(rows), ops=2 * 6)

    @pytest.mark.parametrize("size", SIZES)
    def test_fills_every_layer_that_is_wanted_and_no_other(self, name: str, size: str) -> None:
        model = build(name, SIZES[size])
        kinds = ("hidden", "attention", "cross_attention")
        for wanted in (
            frozenset[Want](),
            frozenset(Want(m, k, i) for m in MODES for k in kinds for i in range(3)),
        ):
            for mode, outputs in said(model, wants=wanted).items():
                depth = model.config.image.depth if mode == "image" else model.config.text.depth
                layers = set(range(depth)) if wanted else set()
                assert set(outputs.hidden) == set(outputs.attention) == layers
                if mode in ("fused", "decoder", "answer"):
                    assert set(outputs.cross_attention) == (set(model.config.fusion) if wanted else set())

    def test_says_the_same_in_training_and_in_evaluation(self, name: str) -> None:
        model = build(name, CONFIG)
        training, evaluation = heads(said(model.train())), heads(said(model.eval()))
        for mode, value in training.items():
            assert torch.equal(value, evaluation[mode])

    def test_weights_survive_a_state_dict(self, name: str) -> None:
        model, other = build(name, CONFIG), build(name, CONFIG, seed=1)
        assert any(not torch.equal(v, heads(said(other))[m]) for m, v in heads(said(model)).items())
        other.load_state_dict(model.state_dict())
        for mode, value in heads(said(model)).items():
            assert torch.equal(value, heads(said(other))[mode])

    @pytest.mark.parametrize("size", SIZES)
    def test_is_built_on_the_meta_device_with_the_same_parameters(self, name: str, size: str) -> None:
        with torch.device("meta"):
            bare = resolve(MODELS, name, "models")(SIZES[size])
        real = build(name, SIZES[size])
        assert all(parameter.is_meta for parameter in bare.parameters())
        assert {n: p.shape for n, p in bare.named_parameters()} == {
            n: p.shape for n, p in real.named_parameters()
        }

    @pytest.mark.parametrize("size", SIZES)
    def test_every_mode_trains(self, name: str, size: str) -> None:
        model = build(name, SIZES[size])
        for mode, value in heads(said(model)).items():
            model.zero_grad()
            value.float().sin().sum().backward(retain_graph=True)
            sides = {"image": ["image_encoder"], "text": ["text_network"]}.get(
                mode, ["image_encoder", "text_network"]
            )
            for side in sides:
                assert any(
                    p.grad is not None and bool(p.grad.any()) for p in getattr(model, side).parameters()
                ), mode

    def test_temperature_is_a_positive_parameter_that_can_be_clamped(self, name: str) -> None:
        model = build(name, CONFIG)
        assert isinstance(model.temperature, torch.nn.Parameter)
        with torch.no_grad():
            model.temperature.fill_(-1.0)
        model.clamp_temperature()
        assert 0 < float(model.temperature.detach()) < 1
