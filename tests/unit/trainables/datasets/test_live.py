"""Pictures that are decoded at each look: the same pixels as those that are kept, in whatever process, and varied as asked."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from torchvision.transforms import v2

from spaces.errors import DatasetError
from spaces.options import option_problems
from tests.unit.trainables.datasets.formats.made_data import read
from tests.unit.trainables.datasets.prepare import public
from trainables.datasets.base import Split, Statements
from trainables.datasets.encoded import VISIT, EncodedSplit, Rows
from trainables.datasets.live import GREY, LEVELS, LivePixels, Variation, operations
from trainables.datasets.prepare.dataset import PreparedDataset
from trainables.preprocess import Framing, PreprocessConfig
from trainables.signals import PICTURE, PIXELS, PIXELS_2, SECOND, STATEMENT
from trainables.teachers.teacher import Teacher
from trainables.training.sampler import ExampleSampler

SEED = 5


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    root = tmp_path / "own"
    rng = np.random.default_rng(3)
    for number in range(14):
        pixels = rng.integers(0, 256, (30 + number, 40, 3), dtype=np.uint8)
        public.save(Image.fromarray(pixels), root / ("val" if number > 11 else "train") / f"{number:02d}.png")
    assert public.prepare("folder", root, tmp_path / "out", "--shard-pictures", "5") == 0
    return tmp_path / "out"


def live(out: Path, **options: object) -> Split:
    return read(public.opened(out, pixels="live", **options), "train", side=16)


def visits(
    pixels: LivePixels, rows: list[list[int]], *, visit: int = 0, beside: list[int] | None = None
) -> list[np.ndarray]:
    """Return the pictures of batches as a training reads them; in the visits of those that they are shown beside, if any."""
    batches = [
        {"picture": np.array(some), "of": np.array(beside or some), VISIT: np.full(len(some), visit)}
        for some in rows
    ]
    return [pixels[batch["picture"]] for batch in pixels.ahead(iter(batches), shown, seed=SEED)]


def shown(batch: Rows) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(batch["picture"], np.stack([batch[VISIT], batch["of"]], axis=1))]


def test_pixels_are_those_that_are_kept(out: Path) -> None:
    kept, now = read(public.opened(out), "train", side=16).pixels, live(out).pixels
    assert (len(now), now.shape, now.dtype) == (12, (12, 16, 16, 3), np.uint8)
    assert np.array_equal(now[:], kept)
    assert np.array_equal(now[3], kept[3])
    assert np.array_equal(now[-1], kept[-1])
    assert np.array_equal(now[np.array([7, 0, 7])], kept[[7, 0, 7]])
    assert now[np.array([], dtype=np.int64)].shape == (0, 16, 16, 3)
    assert np.array_equal(np.asarray(now), kept)


@pytest.mark.parametrize("workers", [0, 1])
def test_batches_come_in_their_order_epoch_after_epoch(out: Path, workers: int) -> None:
    kept, now = read(public.opened(out), "train", side=16).pixels, live(out, workers=workers).pixels
    assert isinstance(now, LivePixels)
    state = torch.get_rng_state()
    one = np.zeros(1, dtype=np.int64)
    batches = iter([{"picture": one + row, "of": one, VISIT: one} for row in range(12)])
    some = now.ahead(batches, shown, seed=SEED)
    next(some)
    some.close()  # type: ignore[attr-defined]  # an epoch that is broken off leaves nothing behind
    for rows in ([[3, 1], [0], [11, 11, 4]], [[2], [5, 6]], []):
        found = visits(now, rows)
        assert all(np.array_equal(one, kept[some]) for one, some in zip(found, rows, strict=True))
    assert torch.equal(torch.get_rng_state(), state), "the random numbers of a training are its own"


def test_a_way_hangs_on_seed_visit_and_row_alone(out: Path) -> None:
    now = live(out, vary=True, workers=0).pixels
    assert isinstance(now, LivePixels)
    first, second = visits(now, [[0, 1, 2], [3]])
    (again,) = visits(now, [[3, 0]])  # other batches, as of another number of workers
    assert np.array_equal(again, np.stack([second[0], first[0]]))
    (later,) = visits(now, [[0]], visit=1)
    assert not np.array_equal(later[0], first[0])


def test_each_visit_shows_a_picture_another_way_also_in_one_epoch(out: Path) -> None:
    """Two and a half passes an epoch: whoever trains, from whichever epoch on, shows the same views."""
    encoded = EncodedSplit(live(out, vary=True, workers=0), None, PreprocessConfig(image_size=16))

    def views(epoch: int, world: int = 1) -> list[tuple[int, bytes]]:
        found = []
        for rank in range(world):
            sampler = ExampleSampler(
                encoded, seed=SEED, batch_size=10, pairs_per_epoch=30, rank=rank, world=world
            )
            for rows in encoded.ahead(sampler.epoch(epoch), pixels=True, seed=SEED):
                pixels = encoded.pixels[rows[PICTURE]]
                found += [
                    (row, one.tobytes()) for row, one in zip(rows[PICTURE].tolist(), pixels, strict=True)
                ]
        return sorted(found)

    first, second = views(0), views(1)
    assert len(first) == len(second) == 30
    assert len(set(first + second)) == 60, "five passes over 12 pictures: no view comes twice"
    assert views(0, world=2) == first
    assert views(1, world=2) == second, "without any epoch before it, as after a resume"


@pytest.mark.parametrize("workers", [0, 1])
def test_both_pictures_of_a_statement_are_shown_another_way(
    out: Path, teacher: Teacher, workers: int
) -> None:
    """The left and the right one alike: else one could be told from the other by how it is shown."""
    told = Statements(
        texts=["a red ring is on the left", "a blue ring is on the right"],
        images=np.array([[3, 7], [4, 3]]),
        holds=np.array([True, False]),
    )
    split = replace(live(out, vary=True, workers=workers), statements=told)
    encoded = EncodedSplit(split, teacher.tokenizer, PreprocessConfig(image_size=16))
    rows = {
        PICTURE: np.array([3, 4, 5]),
        STATEMENT: np.array([0, 1, -1]),
        VISIT: np.zeros(3, dtype=np.int64),
    }
    (found,) = [
        encoded.batch(one, torch.device("cpu")) for one in encoded.ahead(iter([rows]), pixels=True, seed=SEED)
    ]
    assert isinstance(split.pixels, LivePixels)
    assert set(found.rows) == {PICTURE, STATEMENT, SECOND}
    (first,) = visits(split.pixels, [[3, 4, 5]])
    (second,) = visits(split.pixels, [[7, 3, 5]], beside=[3, 4, 5])
    assert not np.array_equal(second, split.pixels[np.array([7, 3, 5])])
    for field, pixels in ((PIXELS, first), (PIXELS_2, second)):
        assert torch.equal(found.fields[field], encoded.preprocess.normalise(torch.from_numpy(pixels)))


def test_held_out_pictures_are_not_varied(out: Path) -> None:
    data = public.opened(out, pixels="live", vary=True, workers=0)
    kept = read(public.opened(out), "val", side=16).pixels
    val = read(data, "val", side=16).pixels
    assert isinstance(val, LivePixels)
    assert not val.varied
    (found,) = visits(val, [[0, 1]])
    assert np.array_equal(found, kept[:])
    assert data.fingerprint != public.opened(out, pixels="live").fingerprint == public.opened(out).fingerprint


def test_variation_is_what_torchvision_does(out: Path) -> None:
    picture = Image.fromarray(np.random.default_rng(1).integers(0, 256, (50, 70, 3), dtype=np.uint8))
    way = Variation(least=0.3, changes=0, magnitude=5)
    torch.manual_seed(11)
    want = v2.RandomResizedCrop([16, 16], scale=(0.3, 1.0), interpolation=v2.InterpolationMode.BICUBIC)(
        picture
    )
    want = v2.RandomHorizontalFlip()(want)
    assert np.array_equal(way.varied(picture, Framing(16), 11), np.asarray(want))
    unmirrored = Variation(least=1.0, changes=0, flip=False).varied(picture.resize((16, 16)), Framing(16), 11)
    torch.manual_seed(11)
    want = v2.RandomResizedCrop([16, 16], scale=(1.0, 1.0), interpolation=v2.InterpolationMode.BICUBIC)(
        picture.resize((16, 16))
    )
    assert np.array_equal(unmirrored, np.asarray(want))
    assert len({Variation().varied(picture, Framing(16), seed).tobytes() for seed in range(8)}) == 8


def at(name: str, level: int, picture: Image.Image) -> Image.Image:
    """Return what an operation of ours does at a level, in its positive direction."""
    levels, _ = operations()[name]
    magnitudes = levels(LEVELS, picture.height, picture.width)
    magnitude = 0.0 if magnitudes is None else float(magnitudes[level])
    found: Image.Image = v2.RandAugment()._apply_image_or_video_transform(
        picture, name, magnitude, interpolation=v2.InterpolationMode.BILINEAR, fill={Image.Image: GREY}
    )
    return found


def sheared(picture: Image.Image, *coefficients: float) -> Image.Image:
    grey = (GREY, GREY, GREY)
    return picture.transform(
        picture.size, Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR, fillcolor=grey
    )


def test_operations_are_as_strong_as_in_blip() -> None:
    soft = Image.fromarray(np.add.outer(np.arange(60), np.arange(80)).astype(np.uint8)).convert("RGB")
    pixels = np.asarray(soft)
    assert set(operations()) == {
        *("Identity", "AutoContrast", "Equalize", "Brightness", "Sharpness"),
        *("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate"),
    }
    assert np.array_equal(np.asarray(at("Identity", 5, soft)), pixels)
    assert np.array_equal(np.asarray(at("AutoContrast", 5, soft)), np.asarray(ImageOps.autocontrast(soft)))
    assert np.array_equal(np.asarray(at("Equalize", 5, soft)), np.asarray(ImageOps.equalize(soft)))
    for level, factor in ((5, 1.0), (10, 1.9), (0, 0.1)):  # level / 10 x 1.8 + 0.1
        for name, enhance in (("Brightness", ImageEnhance.Brightness), ("Sharpness", ImageEnhance.Sharpness)):
            want = np.asarray(enhance(soft).enhance(factor)).astype(int)
            assert np.abs(np.asarray(at(name, level, soft)).astype(int) - want).max() <= 1, (name, level)
    moved = np.asarray(at("TranslateX", 5, soft))  # level / 10 x 10 pixels, whatever the width
    assert np.array_equal(moved[:, 5:], pixels[:, :-5])
    assert (moved[:, :5] == GREY).all()
    down = np.asarray(at("TranslateY", 5, soft))
    assert np.array_equal(down[5:], pixels[:-5])
    inside = (slice(12, -12), slice(22, -22))
    ways = {  # each in both directions, since half of the time the sign is turned
        "Rotate": [
            soft.rotate(sign * 15, Image.Resampling.BILINEAR) for sign in (1, -1)
        ],  # level / 10 x 30 degrees
        "ShearX": [sheared(soft, 1, sign * 0.15, 0, 0, 1, 0) for sign in (1, -1)],  # level / 10 x 0.3
        "ShearY": [sheared(soft, 1, 0, 0, sign * 0.15, 1, 0) for sign in (1, -1)],
    }
    for name, both in ways.items():
        found = np.asarray(at(name, 5, soft)).astype(int)[inside]
        off = [int(np.abs(found - np.asarray(one).astype(int)[inside]).max()) for one in both]
        assert min(off) <= 2 < max(off), (name, off)  # of a slope of 1 a pixel: half a pixel, and rounding
    assert [name for name, (_, signed) in operations().items() if signed] == [
        *("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate")
    ]


def test_half_of_the_operations_that_are_drawn_are_applied() -> None:
    picture = Image.fromarray(np.random.default_rng(1).integers(0, 256, (40, 40, 3), dtype=np.uint8))
    way = Variation(least=1.0, changes=1, magnitude=10, flip=False)
    plain = Variation(least=1.0, changes=0, flip=False)
    same = [
        np.array_equal(way.varied(picture, Framing(16), seed), plain.varied(picture, Framing(16), seed))
        for seed in range(200)
    ]
    # unchanged: half, and of the other half the identity, a tenth; four standard deviations of 200 draws
    assert abs(sum(same) - 200 * 0.55) < 4 * (200 * 0.55 * 0.45) ** 0.5 + 10


def test_mirroring_is_told_and_can_be_left_out(out: Path) -> None:
    mirrored = public.opened(out, pixels="live", vary=True)
    upright = public.opened(out, pixels="live", vary=True, flip=False)
    assert (
        "every second one mirrored (dataset.flip: false where texts tell left from right)"
        in mirrored.describe()
    )
    assert "not mirrored" in upright.describe()
    assert mirrored.fingerprint != upright.fingerprint


def test_a_disk_that_fails_later_is_told_with_its_place(out: Path) -> None:
    now = live(out).pixels
    shard = out / "shards" / "train-00000.arrow"
    os.truncate(shard, 600)
    with pytest.raises(DatasetError, match=r"train-00000\.arrow"):
        now[0]


def test_variation_needs_live_pictures(out: Path) -> None:
    with pytest.raises(DatasetError, match=r"dataset\.vary: needs .* set dataset\.pixels: live"):
        public.opened(out, vary=True)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"vary": True}, "got true with pixels 'mapped', which has no use for it"),
        ({"workers": 4}, "got 4 with pixels 'mapped'"),
        ({"pixels": "live", "least_part": 0.2}, "got 0.2 with vary false, which has no use for it"),
        ({"pixels": "live", "changes": 0}, "got 0 with vary false"),
        ({"pixels": "live", "magnitude": 9}, "got 9 with vary false"),
        ({"pixels": "live", "flip": False}, "got false with vary false"),
    ],
)
def test_an_option_of_pictures_that_nobody_shows_that_way_is_refused(
    asked: dict[str, Any], told: str
) -> None:
    ((path, text),) = option_problems(PreparedDataset.Config, {"root": "not here", **asked})
    assert path == list(asked)[-1]
    assert text.startswith(told)
    assert not option_problems(PreparedDataset.Config, {"root": "x", **asked, "pixels": "live", "vary": True})


def test_a_variation_leaves_the_random_numbers_of_gpus_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        torch.cuda, "manual_seed_all", lambda seed: pytest.fail("the seed of a training is lost")
    )
    picture = Image.fromarray(np.zeros((50, 70, 3), dtype=np.uint8))
    assert Variation().varied(picture, Framing(16), 3).shape == (16, 16, 3)
