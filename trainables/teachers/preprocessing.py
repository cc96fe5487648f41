"""What a published teacher does to a picture before it looks: the steps of its image processor as a PreprocessConfig.

A config is read by the library that wrote it, so that defaults, older spellings and keys that a class ignores are its
business. Steps that change pixels are honoured, or refused by name.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from spaces.errors import TeacherError
from spaces.rules import show
from trainables.preprocess import DOWN, EVEN, INTERPOLATIONS, PreprocessConfig
from trainables.teachers.json_file import read_object
from trainables.teachers.quiet import quiet

FILES = ("preprocessor_config.json", "processor_config.json")
STEPS = ("_preprocess", "resize", "center_crop", "rescale", "normalize", "rescale_and_normalize", "pad")
REORDERED = ("BeitImageProcessor", "DINOv3ViTImageProcessor")
"""Classes whose `_preprocess` is their own, but takes the same steps: without padding, and resizing floats."""


def read_preprocess(folder: Path) -> PreprocessConfig:
    """Return what the image processor of a transformers folder does.

    Raises:
        TeacherError: no file of it, a damaged one, or a step that we cannot take.
    """
    path, processor = _processor(folder)
    _require_known_steps(path, processor)
    side, resize, squash = _sizes(path, processor)
    mean, std = _normalisation(path, processor)
    return PreprocessConfig(
        image_size=side,
        mean=mean,
        std=std,
        resize=resize,
        squash=squash,
        interpolation=_interpolation(path, processor.resample),
    )


def timm_preprocess(path: Path, pretrained: Mapping[str, Any]) -> PreprocessConfig:
    """Return what timm's transform for evaluation does.

    Args:
        path: of the config, for messages.
        pretrained: its `pretrained_cfg`.

    Raises:
        TeacherError: a step that we cannot take.
    """
    from timm.data.config import resolve_data_config

    told = resolve_data_config(pretrained_cfg=dict(pretrained))
    channels, height, width = _whole(path, "input_size", told["input_size"], count=3)
    if channels != 3 or height != width:
        raise _refused(path, "input_size", list(told["input_size"]), "3 channels of a square")
    share = told["crop_pct"]
    if not isinstance(share, int | float) or not 0 < share <= 1:
        raise _refused(path, "crop_pct", share, "above 0, at most 1")
    if told["crop_mode"] not in ("center", "squash"):
        raise _refused(path, "crop_mode", told["crop_mode"], "'center' or 'squash'")
    if told["interpolation"] not in INTERPOLATIONS:
        raise _refused(path, "interpolation", told["interpolation"], ", ".join(INTERPOLATIONS))
    resize, squash = math.floor(height / share), told["crop_mode"] == "squash"
    plain = squash and resize == height
    return PreprocessConfig(
        image_size=height,
        mean=_three(path, "mean", told["mean"]),
        std=_three(path, "std", told["std"], positive=True),
        resize=None if plain else resize,
        squash=squash and not plain,
        interpolation=told["interpolation"],
        middle=DOWN if plain else EVEN,
    )


def _processor(folder: Path) -> tuple[Path, Any]:
    """Return the file, and the image processor that the library makes of the folder."""
    path = next((folder / name for name in FILES if (folder / name).is_file()), None)
    if path is None:
        raise TeacherError(
            f"{folder}: holds neither {' nor '.join(FILES)}. Save the teacher's image processor there: "
            "AutoImageProcessor.from_pretrained(...).save_pretrained(FOLDER)."
        )
    read_object(path)
    from transformers import AutoImageProcessor

    try:
        with quiet():
            return path, AutoImageProcessor.from_pretrained(str(folder), local_files_only=True)
    except Exception as error:  # the library raises what its validators raise
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200].rstrip(".")
        raise TeacherError(
            f"{path}: is no image processor that the transformers library can make ({reason}). "
            "Save the teacher's image processor there again."
        ) from error


def _require_known_steps(path: Path, processor: Any) -> None:
    """Refuse a class that does more than resize, crop, rescale and normalise."""
    from transformers.image_processing_backends import TorchvisionBackend

    kind = type(processor)
    usual = all(getattr(kind, step, None) is getattr(TorchvisionBackend, step) for step in STEPS)
    if not usual and kind.__name__ not in REORDERED:
        raise _refused(
            path,
            "image_processor_type",
            kind.__name__,
            "classes that resize, crop, rescale and normalise alone, such as BitImageProcessor, ViTImageProcessor",
        )
    if usual and getattr(processor, "do_pad", None) and getattr(processor, "pad_size", None):
        raise _refused(path, "pad_size", dict(processor.pad_size), "none: padding is not done here")


def _sizes(path: Path, processor: Any) -> tuple[int, int | None, bool]:
    """Return side, size before the crop (None without one), and whether proportions are lost."""
    if not processor.do_resize:
        raise _refused(path, "do_resize", processor.do_resize, "true: pictures of any size become one square")
    size = {name: value for name, value in dict(processor.size).items() if value is not None}
    crop = _crop(path, processor)
    if set(size) == {"height", "width"}:
        height, width = _whole(path, "size", size.values(), count=2)
        if height != width:
            raise _refused(path, "size", size, "equal height and width")
        return (height, None, False) if crop in (None, height) else _cropped(path, crop, height, squash=True)
    if set(size) != {"shortest_edge"}:
        raise _refused(path, "size", size, "a number, height and width, or shortest_edge")
    if crop is None:
        raise _refused(
            path, "do_center_crop", False, "true beside shortest_edge: else pictures are no squares"
        )
    (edge,) = _whole(path, "size", size.values(), count=1)
    return _cropped(path, crop, edge, squash=False)


def _crop(path: Path, processor: Any) -> int | None:
    """Return the side of the square that is cut out, None where nothing is."""
    if not getattr(processor, "do_center_crop", None):
        return None
    found = getattr(processor, "crop_size", None)
    height, width = (None, None) if found is None else (found.height, found.width)
    height, width = _whole(path, "crop_size", (height, width), count=2)
    if height != width:
        raise _refused(path, "crop_size", [height, width], "equal height and width")
    return height


def _cropped(path: Path, side: int | None, resize: int, *, squash: bool) -> tuple[int, int, bool]:
    if side is None or side > resize:
        raise _refused(
            path, "crop_size", side, f"at most the size of {resize}: more would be padded with black"
        )
    return side, resize, squash


def _normalisation(
    path: Path, processor: Any
) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Return mean and deviation of pixels from 0 to 1: those of the file, in whatever scale it normalises."""
    scale = 255.0
    if processor.do_rescale:
        factor = processor.rescale_factor
        if not isinstance(factor, int | float) or not 0 < factor < math.inf:
            raise _refused(path, "rescale_factor", factor, "a number above 0, such as 1/255")
        scale = 1.0 if math.isclose(255 * factor, 1, rel_tol=1e-6) else 255 * factor
    mean, std = (0.0,) * 3, (1.0,) * 3
    if processor.do_normalize:
        mean = _three(path, "image_mean", processor.image_mean)
        std = _three(path, "image_std", processor.image_std, positive=True)
    (a, b, c), (d, e, f) = mean, std
    return (a / scale, b / scale, c / scale), (d / scale, e / scale, f / scale)


def _interpolation(path: Path, got: Any) -> str:
    number = INTERPOLATIONS.index("bilinear") if got is None else int(got)
    if not 0 <= number < len(INTERPOLATIONS):
        raise _refused(path, "resample", got, f"0 to {len(INTERPOLATIONS) - 1}, the numbers of Pillow")
    return INTERPOLATIONS[number]


def _three(path: Path, name: str, got: Any, *, positive: bool = False) -> tuple[float, float, float]:
    """Return one number for each channel."""
    numbers = [got] * 3 if isinstance(got, int | float) else list(got) if isinstance(got, Sequence) else []
    numbers = numbers * 3 if len(numbers) == 1 else numbers
    fine = all(
        isinstance(one, int | float) and math.isfinite(one) and (one > 0 or not positive) for one in numbers
    )
    if len(numbers) != 3 or not fine:
        raise _refused(path, name, got, f"three numbers each{' above 0' if positive else ''}")
    first, second, third = map(float, numbers)
    return first, second, third


def _whole(path: Path, name: str, got: Any, *, count: int) -> list[int]:
    """Return so many whole numbers above 0."""
    found = list(got)
    if len(found) != count or not all(type(one) is int and one > 0 for one in found):
        raise _refused(path, name, found, "whole numbers above 0")
    return found


def _refused(path: Path, name: str, got: object, allowed: str) -> TeacherError:
    return TeacherError(
        f"{path}, {name}: got {show(got)}; allowed: {allowed}. Give a teacher whose pictures are made so."
    )
