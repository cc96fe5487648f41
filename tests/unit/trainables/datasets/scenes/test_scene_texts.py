"""Pictures, captions and questions say what the integers of their scene say."""

from collections import Counter
from typing import Any

import numpy as np
import pytest

from tests.unit.trainables.datasets.scenes import scene_truth
from tests.unit.trainables.datasets.scenes.scene_truth import Thing, answer, caption_is_true, things
from trainables.datasets.scenes.dataset import ScenesDataset
from trainables.datasets.scenes.drawing import COLORS, RADII
from trainables.datasets.scenes.drawn import drawn_rows

NUM_SCENES = 300
SHARES = {1: 0.15, 2: 0.40, 3: 0.45}


@pytest.fixture(scope="module")
def scenes() -> list[dict[str, Any]]:
    return list(drawn_rows(11, NUM_SCENES, ScenesDataset(ScenesDataset.Config()).draw, unique=False))


@pytest.fixture(scope="module")
def told(scenes: list[dict[str, Any]]) -> list[list[Thing]]:
    return [things(row["scene"]) for row in scenes]


def test_a_scene_is_a_function_of_seed_and_index(scenes: list[dict[str, Any]]) -> None:
    assert list(drawn_rows(11, 20, ScenesDataset(ScenesDataset.Config()).draw, unique=False)) == scenes[:20]
    other = list(drawn_rows(12, 20, ScenesDataset(ScenesDataset.Config()).draw, unique=False))
    assert all(a["scene"] != b["scene"] for a, b in zip(other, scenes[:20], strict=True))


def test_scenes_hold_one_to_three_different_shapes_in_cells_of_their_own(told: list[list[Thing]]) -> None:
    counts = Counter(len(scene) for scene in told)
    for number, share in SHARES.items():
        assert abs(counts[number] / NUM_SCENES - share) < 0.1
    for scene in told:
        assert len({(t.color, t.shape) for t in scene}) == len(scene)
        assert len({(t.x // 16, t.y // 16) for t in scene}) == len(scene)
        for thing in scene:
            reach = RADII[scene_truth.SIZES.index(thing.size)] + 1
            assert all(reach <= place <= 63 - reach for place in (thing.x, thing.y)), thing


def test_every_colour_shape_and_size_occurs(told: list[list[Thing]]) -> None:
    everything = [thing for scene in told for thing in scene]
    assert {t.color for t in everything} == set(scene_truth.COLORS)
    assert {t.shape for t in everything} == set(scene_truth.SHAPES)
    assert {t.size for t in everything} == set(scene_truth.SIZES)


def test_half_of_the_scenes_need_binding(told: list[list[Thing]]) -> None:
    pairs = [scene for scene in told if len(scene) == 2]
    shared = sum(a.color == b.color or a.shape == b.shape for a, b in pairs)
    assert shared > 0.4 * len(pairs)


def test_pictures_show_each_shape_in_its_colour_at_its_place(
    scenes: list[dict[str, Any]], told: list[list[Thing]]
) -> None:
    for row, scene in zip(scenes, told, strict=True):
        picture = np.frombuffer(row["image"], dtype=np.uint8).reshape(64, 64, 3).astype(int)
        for thing in scene:
            radius = RADII[scene_truth.SIZES.index(thing.size)]
            x = thing.x + (round(0.78 * radius) if thing.shape == "ring" else 0)  # a ring is hollow
            difference = np.abs(picture[thing.y, x] - np.array(COLORS[thing.color])).max()
            assert difference <= 4 * 8 + 8, (thing, picture[thing.y, x])


def test_captions_are_true_and_of_four_kinds(scenes: list[dict[str, Any]], told: list[list[Thing]]) -> None:
    for row, scene in zip(scenes, told, strict=True):
        assert len(row["captions"]) == 4
        for text in row["captions"]:
            assert caption_is_true(scene, text), (text, scene)
        first_words = sorted(text.split()[0] for text in row["captions"])
        if len(scene) > 1:
            assert {"a", "the", ["", "one", "two", "three"][len(scene)]} < set(first_words)
        else:
            assert {"a", "one", "there"} < set(first_words)
        assert len(set(first_words)) == 4


def test_a_caption_is_false_of_most_other_scenes(
    scenes: list[dict[str, Any]], told: list[list[Thing]]
) -> None:
    wrong = [
        caption_is_true(told[(i + 1) % NUM_SCENES], text)
        for i, row in enumerate(scenes)
        for text in row["captions"]
    ]
    assert sum(wrong) < 0.01 * len(wrong)


def test_answers_are_the_only_right_ones(scenes: list[dict[str, Any]], told: list[list[Thing]]) -> None:
    kinds: Counter[str] = Counter()
    answers: dict[str, Counter[str]] = {}
    for row, scene in zip(scenes, told, strict=True):
        assert len(row["questions"]) == 4
        for item in row["questions"]:
            assert answer(scene, item["kind"], item["question"]) == item["answer"], (item, scene)
            kinds[item["kind"]] += 1
            answers.setdefault(item["kind"], Counter())[item["answer"]] += 1
    assert set(kinds) == {
        "color",
        "shape",
        "size",
        "count_color",
        "count_shape",
        "exist",
        "relation",
        "where",
    }
    assert min(kinds.values()) > 0.03 * sum(kinds.values())
    for kind in ("exist", "relation", "size"):
        assert min(answers[kind].values()) > 0.3 * sum(answers[kind].values()), (kind, answers[kind])
