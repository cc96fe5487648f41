"""Space: domains, candidates, limits, objectives; students by the toy family's hand arithmetic."""

import pickle
from collections.abc import Callable

import pytest

from spaces.domains import Choice, Log
from spaces.errors import IllegalCandidate
from spaces.schema import Space
from spaces.sections import trained_as
from tests.unit.spaces.toy import ToyPlugins

Load = Callable[..., Space]

VALUES = {"student.image.width": "0.25x", "losses.image_embedding.weight": 20.0}


def build_student(space: Space, toy: ToyPlugins) -> dict:
    values = space.default_values()
    assert values is not None
    return space.build(values, toy, 0).config["student"]


def test_domains_are_found_under_their_dotted_paths(load: Load) -> None:
    assert load().domains() == {
        "student.image.width": Choice(options=("0.25x", "0.5x"), default="0.5x"),
        "losses.image_embedding.weight": Log(low=2.0, high=60.0, zero=0.1, default=20.0),
    }


def test_a_candidate_is_literal_and_absolute_with_defaults_filled_in(load: Load, toy: ToyPlugins) -> None:
    candidate = load().build(VALUES, toy, seed=4)
    assert candidate.seed == 4
    assert candidate.config == {
        "student": {
            "kind": "blip",
            "image": {"width": 32, "depth": 2, "heads": 1, "init": "random"},
            "text": {"width": 64, "depth": 3, "heads": 2, "init": "random"},
            "fusion": {"layers": 2, "placement": "last"},
            "embedding": 64,
        },
        "losses": {
            "itc": {"weight": 1.0, "temperature": 1.0},
            "image_embedding": {"weight": 20.0, "temperature": 1.0},
        },
        "training": {
            "epochs": 9,
            "pairs_per_epoch": 2000,
            "batch_size": 64,
            "lr": 0.001,
            "weight_decay": 0.02,
            "warmup_steps": 50,
            "gradient_clip": 1.0,
            "accumulate": 1,
            "itm_negatives": "teacher",
            "fused_every": 1,
            "fused_from": 0.0,
        },
        "tasks": ["captioning", "retrieval"],
        "blind": False,
    }


def test_a_default_that_is_written_out_changes_no_id(load: Load, toy: ToyPlugins) -> None:
    written = load(
        ("fusion: {layers: 2}", "fusion: {layers: 2, placement: last}"),
        ("itc: {weight: 1.0}", "itc: {weight: 1, temperature: 1}"),
    )
    assert written.build(VALUES, toy, 0).candidate_id == load().build(VALUES, toy, 0).candidate_id


def test_a_weight_drawn_as_zero_has_the_id_of_a_space_without_the_loss(load: Load, toy: ToyPlugins) -> None:
    off = load().build({**VALUES, "losses.image_embedding.weight": 0}, toy, 0)
    without = load(("  image_embedding:\n    weight: {log: [2, 60], zero: 0.1, default: 20}\n", ""))
    assert off.config["losses"]["image_embedding"] == {"weight": 0}
    assert off.candidate_id == without.build({"student.image.width": "0.25x"}, toy, 0).candidate_id


def test_relative_values_refer_to_the_space_s_own_teacher(load: Load, toy: ToyPlugins) -> None:
    # Half of 128 with heads of 32, and half of 768 with heads of 64.
    for teacher, width, heads in (("embedded", 64, 2), ("base", 384, 6)):
        image = build_student(load(overrides=[f"teacher={teacher}"]), toy)["image"]
        assert (image["width"], image["heads"]) == (width, heads)


def test_rounding_is_stated_once_and_only_where_it_changed_a_value(load: Load, toy: ToyPlugins) -> None:
    space = load(overrides=["student.text.depth={choice: [0.33x, 0.5x]}", "student.image.depth=0.75x"])
    assert space.roundings(toy) == [
        "student.image.depth 0.75x of 6 -> 5 (whole number)",
        "student.text.depth 0.33x of 6 -> 2 (whole number)",
    ]
    assert load().roundings(toy) == []


def test_roundings_of_every_teacher_and_kind_are_stated(load: Load, toy: ToyPlugins) -> None:
    space = load(
        ("teacher: embedded", "teacher: {choice: [embedded, base]}"),
        overrides=["student.text.depth=0.3x", "student.kind={choice: [blip, head]}"],
    )
    assert space.roundings(toy) == [
        "student.text.depth 0.3x of 6 -> 2 (whole number)",
        "student.text.depth 0.3x of 12 -> 4 (whole number)",
    ]


def test_a_space_without_relative_values_asks_for_no_roundings(load: Load) -> None:
    class Silent(ToyPlugins):
        def roundings(self, section, teacher):
            raise AssertionError("asked")

    space = load(overrides=["student.image.width={choice: [40, 60], default: 40}"])
    assert space.roundings(Silent()) == []


def test_a_point_with_all_losses_zero_is_illegal(load: Load, toy: ToyPlugins) -> None:
    space = load(overrides=["losses.itc.weight=0"])
    with pytest.raises(IllegalCandidate, match="every loss"):
        space.build({**VALUES, "losses.image_embedding.weight": 0}, toy, 0)


def test_values_must_name_exactly_the_domains(load: Load, toy: ToyPlugins) -> None:
    with pytest.raises(ValueError, match=r"missing \['losses.image_embedding.weight'\], unknown \['x'\]"):
        load().build({"student.image.width": "0.25x", "x": 1}, toy, 0)


def test_limits_become_absolute(load: Load, costs) -> None:
    space = load(overrides=["limits={params: {max: 0.75x}, latency_ms: {min: 0.5x, max: 6}, flops: {}}"])
    assert space.limits(costs) == {"params": (None, 750.0), "latency_ms": (4.0, 6.0)}
    assert load().limits(costs) == {}
    assert load(overrides=["limits.params.max=5"]).limits({}) == {"params": (None, 5.0)}


def test_default_values_are_complete_or_none(load: Load) -> None:
    assert load().default_values() == {"student.image.width": "0.5x", "losses.image_embedding.weight": 20.0}
    assert load((", default: 20", "")).default_values() is None


def test_quality_is_the_first_maximised_metric(load: Load) -> None:
    assert load(("retention: max", "loss: min, vqa_accuracy: max, retention: max")).quality == "vqa_accuracy"
    assert load(("retention: max, params: min", "params: min, loss: min")).quality == "loss"


def test_a_space_pickles_with_its_marks(load: Load) -> None:
    space = load()
    again = pickle.loads(pickle.dumps(space))
    assert again == space
    assert again.where("losses.itc") == space.where("losses.itc")


def test_fields_of_training_that_came_later_enter_no_config_at_their_defaults() -> None:
    plain = trained_as({"epochs": 9, "negatives": "rank", "temperature_floor": 0.01})
    earlier = {"epochs", "weight_decay", "warmup_steps", "gradient_clip", "accumulate"}
    assert set(plain) == earlier | {"itm_negatives", "fused_every", "fused_from"}
    other = trained_as({"epochs": 9, "negatives": "workers", "temperature_floor": 0.001})
    assert {name: other[name] for name in other.keys() - plain.keys()} == {
        "negatives": "workers",
        "temperature_floor": 0.001,
    }
