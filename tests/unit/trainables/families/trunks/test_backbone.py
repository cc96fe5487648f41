"""timm: names, what backbones of several kinds say, and files of weights."""

import re
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file

from spaces.errors import IllegalCandidate, PluginError, ShapeError
from spaces.options import option_problems
from tests.unit.trainables.families.teachers import around, ask, drafted, student, want
from trainables.configs import made_config
from trainables.families.trunks.backbone import Backbone, BackboneOptions
from trainables.signals import PIXELS, Batch

PLAIN: dict[str, Any] = {"projection": "none", "text": False}
SMALL = "test_resnet"


def pictures(side: int) -> Batch:
    random = torch.Generator().manual_seed(5)
    return Batch(fields={PIXELS: torch.randn(2, 3, side, side, generator=random)}, rows={})


@pytest.mark.parametrize("name", ["test_resnet", "timm/test_resnet", "hf-hub:timm/test_resnet.r160_in1k"])
def test_a_name_may_have_its_library_before_it_and_its_weights_behind_it(name: str) -> None:
    assert Backbone.resolve({"name": name}, {}).options["name"] == "test_resnet"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("resnet81", r"name: got 'resnet81'; allowed: a backbone that timm .* Did you mean 'resnet(18|101)'"),
        ("timm/vit_smal_patch16_224", "Did you mean 'vit_small_patch16_224'"),
        ("torchvision/resnet18", "allowed: a backbone that timm"),
        ("test_resnet.r160_in2k", "allowed behind the dot: r160_in1k. Did you mean 'r160_in1k'"),
        ("", "timm.list_models"),
        (18, "string"),
    ],
)
def test_a_name_that_timm_does_not_know_is_refused_with_near_ones(name: Any, expected: str) -> None:
    (found,) = option_problems(BackboneOptions, {"name": name})
    assert found[0] == "name"
    with pytest.raises(IllegalCandidate, match=r"student\.name: got") as caught:
        Backbone.resolve({"name": name}, {})
    if isinstance(name, str):
        assert [path for path, _ in caught.value.problems] == ["name"]
        assert re.search(expected, str(caught.value))


KINDS = [
    ("test_resnet", 64, (96, 2, 2)),
    ("test_efficientnet", 48, (256, 2, 2)),
    ("test_mambaout", 64, (64, 2, 2)),  # channels last; pooled through a layer of its own, 256 wide
    ("test_vit3", 48, (96, 3, 3)),  # with a class token
    ("test_vit_relpos", 48, (96, 3, 3)),  # without one
]


@pytest.mark.parametrize(("name", "side", "grid"), KINDS)
def test_says_what_timm_says_and_its_tokens_as_a_map(name: str, side: int, grid: tuple[int, ...]) -> None:
    model = student("timm", around(image_size=side), name=name, **PLAIN)
    batch = pictures(side)
    found = ask(model, "image.pooled", "image.map", batch=batch)
    twin = model.image.backbone
    with torch.no_grad():
        states, pooled = twin.forward_features(batch[PIXELS]), twin(batch[PIXELS])
    torch.testing.assert_close(found[want("image.pooled")], pooled)
    assert found[want("image.map")].shape == (2, *grid)
    if states.ndim == 3:
        first = states.shape[1] - grid[1] * grid[2]
        for place in range(grid[1] * grid[2]):
            seen = found[want("image.map")][:, :, place // grid[2], place % grid[2]]
            assert torch.equal(seen, states[:, first + place])
    elif states.shape[1:] != grid:
        assert torch.equal(found[want("image.map")], states.permute(0, 3, 1, 2))
    offers = drafted("timm", around(image_size=side), name=name, **PLAIN).offers
    assert offers[want("image.map")].sizes == grid
    assert offers[want("image.pooled")].sizes == tuple(pooled.shape[1:])


@pytest.mark.parametrize(("name", "side"), [("test_convnext", 24), ("test_vit", 24), ("test_maxvit", 24)])
def test_pictures_that_a_backbone_does_not_read_are_refused_before_training(name: str, side: int) -> None:
    with pytest.raises(
        ShapeError, match=rf"student\.name: got {name} for pictures of {side} x {side} pixels"
    ):
        drafted("timm", around(image_size=side), name=name)


class TestWeights:
    @pytest.fixture
    def published(self) -> Any:
        """Return a whole model as timm publishes it, its classifier in."""
        torch.manual_seed(3)
        return timm.create_model(SMALL, num_classes=7)

    def loaded(self, path: Path, name: str = SMALL, side: int = 64) -> Any:
        options = {"name": name, "pretrained": str(path), **PLAIN}
        drafted("timm", around(image_size=side), **options)  # looks into the file, too
        model = student("timm", around(image_size=side), name=name, **PLAIN)
        model.inherit(torch.nn.Identity(), made_config(BackboneOptions, options))
        return model

    def test_a_file_is_named_from_the_root_so_that_a_trial_in_another_folder_finds_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        found = Backbone.resolve({"name": SMALL, "pretrained": "weights.pth"}, {}).options
        assert found["pretrained"] == str(tmp_path / "weights.pth")
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        found = Backbone.resolve({"name": SMALL, "pretrained": "~/weights.pth"}, {}).options
        assert found["pretrained"] == str(tmp_path / "home/weights.pth")
        assert Backbone.resolve(found, {}).options == found

    @pytest.mark.parametrize("form", ["safetensors", "pth", "checkpoint", "counters"])
    def test_all_weights_of_the_backbone_are_taken_from_a_file(
        self, form: str, published: Any, tmp_path: Path
    ) -> None:
        state, path = published.state_dict(), tmp_path / f"weights.{form}"
        if form == "safetensors":
            save_file(state, path)
        elif form == "checkpoint":
            torch.save({"state_dict": {f"module.{name}": one for name, one in state.items()}}, path)
        else:
            kept = {name: one for name, one in state.items() if form == "pth" or "batches" not in name}
            torch.save(kept, path)
        model, batch = self.loaded(path), pictures(64)
        with torch.no_grad():
            expected = published.eval().forward_head(
                published.forward_features(batch[PIXELS]), pre_logits=True
            )
        torch.testing.assert_close(ask(model, "image.pooled", batch=batch)[want("image.pooled")], expected)

    def test_positions_of_another_picture_size_are_resized_as_timm_does(self, tmp_path: Path) -> None:
        torch.manual_seed(3)
        state = timm.create_model("test_vit3", img_size=160).state_dict()
        save_file(state, tmp_path / "vit.safetensors")
        model = self.loaded(tmp_path / "vit.safetensors", "test_vit3", 48)
        own = model.image.backbone
        assert torch.equal(own.blocks[0].attn.qkv.weight, state["blocks.0.attn.qkv.weight"])
        assert own.pos_embed.shape[1] < state["pos_embed"].shape[1]
        twin = timm.create_model("test_vit3", img_size=48, num_classes=0)
        timm.models.load_checkpoint(
            twin,
            str(tmp_path / "vit.safetensors"),
            strict=False,
            filter_fn=timm.models.vision_transformer.checkpoint_filter_fn,
        )
        assert torch.equal(own.pos_embed, twin.pos_embed)

    def test_nothing_is_loaded_from_a_file_that_lacks_a_weight_or_has_another_shape(
        self, published: Any, tmp_path: Path
    ) -> None:
        state = published.state_dict()
        whole = len(state) - 2  # without the classifier
        lacking, name = tmp_path / "lacking.pth", next(iter(state))
        torch.save({one: value for one, value in state.items() if one != name}, lacking)
        with pytest.raises(PluginError, match=rf"{whole - 1} of {whole} weights fit; it lacks {name}"):
            self.loaded(lacking)
        misshapen = tmp_path / "misshapen.pth"
        torch.save({**state, name: torch.zeros(1)}, misshapen)
        with pytest.raises(PluginError, match=rf"of other shapes are {name}"):
            self.loaded(misshapen)

    def test_a_deeper_backbone_is_not_cut_down_in_silence(self, published: Any, tmp_path: Path) -> None:
        path = tmp_path / "deeper.pth"
        torch.save({**published.state_dict(), "layer4.7.conv1.weight": torch.zeros(1)}, path)
        with pytest.raises(PluginError, match=r"not of test_resnet .*the backbone has no layer4\.7\.conv1"):
            self.loaded(path)

    @pytest.mark.parametrize(
        ("content", "expected"),
        [
            (None, "cannot be read"),
            (b"", "cannot be read"),
            (b"no weights", "cannot be read"),
        ],
    )
    @pytest.mark.parametrize("ending", ["pth", "safetensors"])
    def test_a_file_that_is_missing_or_broken_is_told(
        self, content: bytes | None, expected: str, ending: str, tmp_path: Path
    ) -> None:
        path = tmp_path / f"weights.{ending}"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(PluginError, match=rf"student\.pretrained: got .*weights\.{ending}.* {expected}"):
            self.loaded(path)

    def test_a_folder_and_what_is_no_mapping_are_told(self, tmp_path: Path) -> None:
        with pytest.raises(PluginError, match="which is no file"):
            self.loaded(tmp_path)
        torch.save([1, 2], tmp_path / "list.pth")
        with pytest.raises(PluginError, match="which holds no weights by their names"):
            self.loaded(tmp_path / "list.pth")

    @pytest.mark.parametrize("value", [True, "", 3])
    def test_nothing_is_downloaded(self, value: Any) -> None:
        problems = option_problems(BackboneOptions, {"name": SMALL, "pretrained": value})
        assert [path for path, _ in problems] == ["pretrained"]
        with pytest.raises(PluginError, match=r"pretrained: got .*allowed: false, or the path"):
            made_config(BackboneOptions, {"name": SMALL, "pretrained": value}, "student")
