"""What a published teacher's processor does to a picture is done here, or refused by name."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import transformers
from PIL import Image

from spaces.errors import TeacherError
from trainables.datasets.pictures import square
from trainables.preprocess import EVEN, PreprocessConfig
from trainables.teachers.preprocessing import read_preprocess, timm_preprocess

LEVELS = 2.001
"""Of 255: Pillow rounds to whole levels after each of its two passes, the torchvision backend after the last or, as
DINOv3's, never. (Where a kernel overshoots black or white, Pillow also cuts that off after each pass: up to 20 levels at
hard edges. The pictures here keep clear of both ends.)"""
NUMBERS: dict[str, Any] = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
SHORTER = {"size": {"shortest_edge": 36}, "crop_size": {"height": 32, "width": 32}}

# what is published: facebook/dino-vits16, facebook/dinov2-base, facebook/dinov3-vits16, microsoft/beit-base-patch16-224,
# Salesforce/blip-itm-base-coco and a DeiT, with smaller pictures
PUBLISHED: dict[str, dict[str, Any]] = {
    "older feature extractor": {
        "feature_extractor_type": "ViTFeatureExtractor",
        "do_normalize": True,
        "do_resize": True,
        **NUMBERS,
        "resample": 2,
        "size": 32,
    },
    "shorter side and crop": {
        "image_processor_type": "BitImageProcessor",
        "do_center_crop": True,
        **SHORTER,
        **NUMBERS,
        "resample": 3,
        "rescale_factor": 0.00392156862745098,
    },
    "odd margins": {"image_processor_type": "CLIPImageProcessor", "size": 37, "crop_size": 32, **NUMBERS},
    "floats are resized": {
        "image_processor_type": "DINOv3ViTImageProcessorFast",
        "size": {"height": 32, "width": 32},
        "resample": 2,
        "crop_size": None,
        "device": None,
        **NUMBERS,
    },
    "a crop that is switched off": {
        "feature_extractor_type": "BeitFeatureExtractor",
        "crop_size": 24,
        "do_center_crop": False,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "resample": 2,
        "size": 32,
    },
    "keys that its class ignores": {
        "image_processor_type": "BlipImageProcessor",
        "do_pad": True,
        "size_divisor": 24,
        "size": {"height": 32, "width": 32},
        **NUMBERS,
    },
    "squashed and cropped": {"image_processor_type": "DeiTImageProcessor", "size": 37, "crop_size": 32},
    "not normalised": {"image_processor_type": "ViTImageProcessor", "size": 32, "do_normalize": False},
    "neither scaled nor normalised": {
        "image_processor_type": "ViTImageProcessor",
        "size": 32,
        "do_normalize": False,
        "do_rescale": False,
    },
    "another scale": {"image_processor_type": "ViTImageProcessor", "size": 32, "rescale_factor": 1 / 127.5},
    "lanczos": {"image_processor_type": "ViTImageProcessor", "size": 32, "resample": 1},
}


def folder_of(folder: Path, settings: object, name: str = "preprocessor_config.json") -> Path:
    (folder / name).write_text(json.dumps(settings))
    return folder


def picture(width: int, height: int) -> Image.Image:
    """A picture with edges and slopes, neither black nor white."""
    y, x = np.mgrid[0:height, 0:width]
    edges = (x // 7 + y // 5) % 2
    pixels = np.stack([50 + x * 150 / width, 50 + y * 150 / height, 80 + 90 * edges], axis=-1)
    return Image.fromarray(pixels.astype(np.uint8))


def seen(config: PreprocessConfig, shown: Image.Image) -> torch.Tensor:
    return config.normalise(torch.from_numpy(square(shown, config.framing).copy())[None])[0]


def levels(config: PreprocessConfig, ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """How far apart two pictures are, in levels of 255."""
    assert ours.shape == theirs.shape
    std = torch.tensor(config.std).view(3, 1, 1)
    return float(((ours - theirs) * std * 255).abs().max())


@pytest.mark.parametrize("size", [(91, 53), (40, 55), (32, 32)])
@pytest.mark.parametrize("name", PUBLISHED)
def test_pixels_are_those_of_the_librarys_own_processor(
    tmp_path: Path, name: str, size: tuple[int, int]
) -> None:
    config = read_preprocess(folder_of(tmp_path, PUBLISHED[name]))
    shown = picture(*size)
    ours = seen(config, shown)
    processor = transformers.AutoImageProcessor.from_pretrained(tmp_path)
    theirs = processor(shown, return_tensors="pt").pixel_values[0].float()
    assert config.image_size == 32
    assert levels(config, ours, theirs) <= LEVELS
    older = getattr(transformers, f"{type(processor).__name__}Pil", None)
    if older:  # Pillow resamples in both: what remains is the rounding of the normalisation
        exact = older.from_pretrained(tmp_path)(shown, return_tensors="pt").pixel_values[0]
        assert levels(config, ours, torch.as_tensor(exact)) <= 0.001


@pytest.mark.parametrize("size", [(91, 53), (53, 91), (60, 43)])
@pytest.mark.parametrize(
    "told",
    [
        {"crop_pct": 0.875, "crop_mode": "center", "interpolation": "bicubic"},
        {"crop_pct": 0.9, "crop_mode": "center", "interpolation": "bilinear"},
        {"crop_pct": 1.0, "crop_mode": "squash", "interpolation": "bicubic"},
        {"crop_pct": 0.95, "crop_mode": "squash", "interpolation": "lanczos"},
        {},
    ],
)
def test_pixels_are_those_of_timms_transform(told: dict[str, Any], size: tuple[int, int]) -> None:
    pretrained = {"input_size": [3, 37, 37], "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4], **told}
    config = timm_preprocess(Path("config.json"), pretrained)
    transform = timm.data.create_transform(
        **timm.data.resolve_data_config(pretrained_cfg=pretrained), is_training=False
    )
    shown = picture(*size)
    assert levels(config, seen(config, shown), transform(shown)) <= 0.001  # both resample by Pillow


def test_a_square_that_loses_nothing_is_a_plain_framing() -> None:
    squash = {"input_size": [3, 32, 32], "crop_pct": 1.0, "crop_mode": "squash"}
    assert timm_preprocess(Path("c"), squash).framing.key == "32"
    centre = timm_preprocess(Path("c"), {"input_size": [3, 32, 32], "crop_pct": 1.0})
    assert (centre.resize, centre.middle) == (32, EVEN)


def test_a_processor_inside_the_config_of_a_larger_one_is_read(tmp_path: Path) -> None:
    inner = {"image_processor_type": "BlipImageProcessor", "size": {"height": 24, "width": 24}}
    folder_of(
        tmp_path, {"image_processor": inner, "processor_class": "BlipProcessor"}, "processor_config.json"
    )
    assert read_preprocess(tmp_path).image_size == 24


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"do_resize": False}, "do_resize: got false; allowed: true"),
        ({"size": {"shortest_edge": 32}}, "do_center_crop: got false; allowed: true beside shortest_edge"),
        (
            {"size": {"height": 32, "width": 24}},
            "size: got {'height': 32, 'width': 24}; allowed: equal height",
        ),
        ({"size": {"longest_edge": 32}}, "size: got {'longest_edge': 32}; allowed: a number"),
        ({"size": {"shortest_edge": 32, "longest_edge": 64}}, "size: got"),
        ({"size": 0}, "size: got [0, 0]; allowed: whole numbers above 0"),
        ({"size": "large"}, "is no image processor that the transformers library can make"),
        ({"size": 32.5}, "preprocessor_config.json"),
        ({"do_center_crop": True}, "crop_size: got [None, None]; allowed: whole numbers above 0"),
        ({"do_center_crop": True, "crop_size": 48}, "crop_size: got 48; allowed: at most the size of 32"),
        ({"do_center_crop": True, "crop_size": {"height": 8, "width": 9}}, "crop_size: got [8, 9]"),
        ({"do_pad": True, "pad_size": {"height": 48, "width": 48}}, "pad_size: got"),
        ({"resample": 7}, "resample: got 7; allowed: 0 to 5"),
        ({"rescale_factor": -1.0}, "rescale_factor: got -1.0; allowed: a number above 0"),
        ({"image_mean": [0.5, 0.5]}, "image_mean: got (0.5, 0.5); allowed: three numbers each."),
        (
            {"image_std": [0.5, 0.0, 0.5]},
            "image_std: got (0.5, 0.0, 0.5); allowed: three numbers each above 0",
        ),
        (
            {"image_processor_type": "ConvNextImageProcessor"},
            "got 'ConvNextImageProcessor'; allowed: classes that",
        ),
        ({"image_processor_type": "Sam2ImageProcessor"}, "image_processor_type: got 'Sam2ImageProcessor"),
        ({"image_processor_type": "NoSuchProcessor"}, "is no image processor that the transformers library"),
    ],
)
def test_steps_that_change_pixels_and_cannot_be_taken_are_refused_by_name(
    tmp_path: Path, changed: dict[str, Any], told: str
) -> None:
    folder_of(tmp_path, {"image_processor_type": "ViTImageProcessor", "size": 32, **changed})
    with pytest.raises(TeacherError) as caught:
        read_preprocess(tmp_path)
    assert told in str(caught.value)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"crop_mode": "border"}, "crop_mode: got 'border'; allowed: 'center' or 'squash'"),
        ({"crop_pct": 1.2}, "crop_pct: got 1.2; allowed: above 0, at most 1"),
        ({"interpolation": "random"}, "interpolation: got 'random'; allowed: nearest, lanczos"),
        ({"input_size": [1, 32, 32]}, "input_size: got [1, 32, 32]; allowed: 3 channels of a square"),
        ({"input_size": [3, 32, 24]}, "input_size: got [3, 32, 24]; allowed: 3 channels of a square"),
        ({"input_size": [3, 32]}, "input_size: got [3, 32]; allowed: whole numbers above 0"),
        ({"std": [1, 0, 1]}, "std: got [1, 0, 1]; allowed: three numbers each above 0"),
    ],
)
def test_steps_of_timm_that_cannot_be_taken_are_refused_by_name(changed: dict[str, Any], told: str) -> None:
    with pytest.raises(TeacherError) as caught:
        timm_preprocess(Path("folder/config.json"), {"input_size": [3, 32, 32], **changed})
    assert f"folder/config.json, {told}" in str(caught.value)


def test_a_folder_without_a_processor_and_a_damaged_one_are_told(tmp_path: Path) -> None:
    with pytest.raises(
        TeacherError, match=r"holds neither preprocessor_config.json nor processor_config.json"
    ):
        read_preprocess(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text('{"size":')
    with pytest.raises(TeacherError, match=r"preprocessor_config.json: cannot be read"):
        read_preprocess(tmp_path)
    folder_of(tmp_path, [1])
    with pytest.raises(TeacherError, match=r"preprocessor_config.json: got a list"):
        read_preprocess(tmp_path)
