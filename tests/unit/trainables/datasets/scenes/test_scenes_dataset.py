"""The embedded data set: what its splits hold, and how its files live in the cache folder."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spaces.errors import DatasetError, ResourceError
from spaces.turns import in_turn
from tests.unit.trainables import small
from tests.unit.trainables.datasets.scenes.scene_truth import answer, caption_is_true, things
from trainables.datasets.base import Progress, Split
from trainables.datasets.scenes import dataset as module
from trainables.datasets.scenes import drawn, language
from trainables.datasets.scenes.dataset import ScenesDataset
from trainables.preprocess import Framing

KINDS = language.QUESTION_KINDS


def make(**options: Any) -> ScenesDataset:
    sizes = {"train_images": 40, "val_images": 24, "test_images": 8, "mismatched": 0.0}
    return ScenesDataset(ScenesDataset.Config(**(sizes | options)))


def read(dataset: ScenesDataset, name: str = "train") -> Split:
    return dataset.split(name, framing=Framing(64), progress=small.silent)


def texts(split: Split) -> list[tuple[list[str], list[str], list[str]]]:
    """Return captions, questions and answers of each picture."""
    return [
        (
            [split.captions[r] for r in np.flatnonzero(split.caption_images == image)],
            [split.questions[r] for r in np.flatnonzero(split.question_images == image)],
            [split.answers[r] for r in np.flatnonzero(split.question_images == image)],
        )
        for image in range(split.num_images)
    ]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "student-search" / "scenes"


@pytest.mark.parametrize("name", ["train", "val", "test"])
def test_without_noise_every_text_is_true_of_its_picture(name: str) -> None:
    dataset = make()
    split = read(dataset, name)
    scenes = [things(numbers) for numbers in dataset.scenes(name, small.silent)]
    assert split.num_images == len(scenes) == {"train": 40, "val": 24, "test": 8}[name]
    for scene, (captions, questions, answers) in zip(scenes, texts(split), strict=True):
        assert len(captions) == len(questions) == len(answers) == 4
        assert all(caption_is_true(scene, text) for text in captions)
        for question, said in zip(questions, answers, strict=True):
            assert said in {answer(scene, kind, question) for kind in KINDS}


@pytest.mark.parametrize(("share", "number"), [(0.4, 16), (0.33, 13), (1.0, 40), (0.0, 0), (0.03, 1)])
def test_exactly_the_mismatched_share_gets_the_texts_of_another_picture(share: float, number: int) -> None:
    clean, noisy = read(make()), read(make(mismatched=share))
    assert np.array_equal(clean.pixels, noisy.pixels)
    right, told = texts(clean), texts(noisy)
    assert len({str(item) for item in right}) == 40, "the scenes of this test say different things"
    source = [right.index(item) for item in told]
    assert sum(row != image for image, row in enumerate(source)) == number
    if number > 1:
        assert sorted(source) == list(range(40)), "texts are passed on, none is lost"


def test_held_out_splits_stay_clean_and_a_caption_has_one_picture() -> None:
    dataset = make(mismatched=1.0, val_images=250)
    split = read(dataset, "val")
    assert len(set(split.captions)) == 4 * 250
    scene = [things(numbers) for numbers in dataset.scenes("val", small.silent)]
    assert all(
        caption_is_true(scene[i], text) for i, text in zip(split.caption_images, split.captions, strict=True)
    )


def test_splits_and_seeds_share_no_scene() -> None:
    scenes = [
        make(seed=seed).scenes(name, small.silent) for seed in (0, 1) for name in ("train", "val", "test")
    ]
    everything = [tuple(numbers) for rows in scenes for numbers in rows]
    assert len(set(everything)) == len(everything)


def test_more_images_begin_with_the_same_ones() -> None:
    few, many = make(train_images=16), make(train_images=40)
    assert many.scenes("train", small.silent)[:16] == few.scenes("train", small.silent)
    assert np.array_equal(read(many).pixels[:16], read(few).pixels)


def test_specification_is_of_the_task_and_fingerprint_of_the_amounts_too() -> None:
    datasets = [make(), make(mismatched=0.4), make(train_images=41), make(seed=1)]
    assert len({d.specification for d in datasets}) == 1
    assert len({d.fingerprint for d in datasets}) == 4
    assert make().fingerprint == make().fingerprint


def test_specification_changes_with_the_scenes(monkeypatch: pytest.MonkeyPatch) -> None:
    before = make().specification
    monkeypatch.setattr(module.drawing, "JITTER", 2)
    assert make().specification != before


def test_vocabulary_and_length_cover_every_text(tmp_path: Path) -> None:
    split = read(make(train_images=400))
    tokenizer = small.tokenizer(tmp_path, max_tokens=99)
    everything = [*split.captions, *split.questions, *split.answers]
    assert tokenizer.unknown_share(everything) == 0.0
    assert {word for text in everything for word in text.split()} <= set(language.VOCABULARY)
    assert max(map(len, tokenizer.captions(split.captions))) <= small.MAX_TOKENS
    assert max(map(len, tokenizer.questions(split.questions, split.answers)[0])) <= small.MAX_TOKENS
    assert all(" " not in said for said in split.answers)


def test_files_go_to_the_cache_folder_and_nowhere_else(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    read(make())
    assert [path.suffix for path in cache.iterdir()] == [".arrow"]
    assert list((tmp_path / "home").iterdir()) == []
    monkeypatch.delenv("XDG_CACHE_HOME")
    read(make())
    assert len(list((tmp_path / "home" / ".cache" / "student-search" / "scenes").iterdir())) == 1


def test_scenes_are_drawn_once(cache: Path) -> None:
    lines: list[str] = []
    first = make().split("train", framing=Framing(64), progress=lines.append)
    assert lines[-1] == "scenes: 40 of 40 drawn"
    lines.clear()
    again = make(mismatched=0.5).split("train", framing=Framing(64), progress=lines.append)
    assert lines == []
    assert np.array_equal(first.pixels, again.pixels)


def test_several_record_batches_read_as_one_array(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = read(make(train_images=25)).pixels
    for path in cache.iterdir():
        path.unlink()
    monkeypatch.setattr(drawn, "BATCH_ROWS", 10)
    assert np.array_equal(read(make(train_images=25)).pixels, whole)


def test_interrupted_drawing_leaves_nothing(cache: Path) -> None:
    def interrupted(line: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make().split("train", framing=Framing(64), progress=interrupted)
    assert list(cache.iterdir()) == []
    assert read(make()).num_images == 40


@pytest.mark.parametrize("damage", ["empty", "cut", "garbage", "no end"])
def test_damaged_file_is_refused_with_its_path(cache: Path, damage: str) -> None:
    read(make())
    (path,) = cache.iterdir()
    whole = path.read_bytes()
    path.write_bytes(
        {"empty": b"", "cut": whole[: len(whole) // 2], "garbage": b"x" * 5000, "no end": whole[:-6]}[damage]
    )
    with pytest.raises(DatasetError, match=r"damaged .* Delete it") as caught:
        read(make())
    assert str(path) in str(caught.value)
    path.unlink()
    assert read(make()).num_images == 40


def test_cache_folder_that_cannot_be_made_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(ResourceError, match="XDG_CACHE_HOME"):
        read(make())


def test_cache_folder_without_permission_is_told(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("spaces.files.os.open", refused)  # root, who may run this, is refused nothing
    with pytest.raises(ResourceError, match=r"cannot be written: no permission: .* belongs to "):
        read(make())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train_images": 7}, r"dataset.train_images: got 7; allowed: 8 or more"),
        ({"test_images": 0}, r"dataset.test_images: got 0"),
        ({"mismatched": 1.1}, r"dataset.mismatched: got 1.1; allowed: 0 to 1"),
        ({"mismatched": -0.1}, r"dataset.mismatched: got -0.1"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        make(**options)


def test_other_splits_and_picture_sizes_are_refused() -> None:
    with pytest.raises(DatasetError, match="no split is called 'dev'; allowed: train, val, test"):
        read(make(), "dev")
    with pytest.raises(DatasetError, match="64 x 64, the teacher sees 224 x 224"):
        make().split("train", framing=Framing(224), progress=small.silent)


def test_description_states_amounts_and_noise() -> None:
    line = make(train_images=4000, mismatched=0.4).describe()
    assert "4,000" in line
    assert "40%" in line
    assert "\n" not in line


def test_scenes_that_another_process_has_drawn_meanwhile_are_not_drawn_again(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str]] = []

    @contextmanager
    def turn(target: Path, noun: str, *, say: Progress) -> Iterator[None]:
        asked.append((target.name.split("-")[1], noun))
        with in_turn(target, noun, say=say):
            yield

    @contextmanager
    def late(target: Path, noun: str, *, say: Progress) -> Iterator[None]:
        with monkeypatch.context() as patch:
            patch.setattr(drawn, "in_turn", turn)
            make().split("val", framing=Framing(64), progress=small.silent)
        monkeypatch.setattr(drawn, "drawn_rows", None)  # to draw again would fail
        yield

    monkeypatch.setattr(drawn, "in_turn", late)
    assert read(make(), "val").num_images == 24
    assert asked == [("val", "scenes")]
    assert len(list(cache.iterdir())) == 1
