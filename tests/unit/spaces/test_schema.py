"""Space: values relative to the teacher by hand arithmetic, illegal points, limits, the flat space."""

import pickle
import random
from collections.abc import Callable

import pytest

from spaces.candidate import TeacherFacts
from spaces.domains import Choice, Log
from spaces.errors import IllegalCandidate, SpaceError
from spaces.schema import Space, check_objectives

Load = Callable[..., Space]

VALUES = {"student.image.width": "0.25x", "losses.image_embedding.weight": 20.0}


def build_student(space: Space, facts: TeacherFacts) -> dict:
    values = space.default_values()
    assert values is not None
    return space.build(values, facts, 0).config["student"]


def test_domains_are_found_under_their_dotted_paths(load: Load) -> None:
    assert load().domains() == {
        "student.image.width": Choice(options=("0.25x", "0.5x"), default="0.5x"),
        "losses.image_embedding.weight": Log(low=2.0, high=60.0, zero=0.1, default=20.0),
    }


def test_a_candidate_is_literal_and_absolute(load: Load, facts: TeacherFacts) -> None:
    candidate = load().build(VALUES, facts, seed=4)
    assert candidate.seed == 4
    assert candidate.config == {
        "student": {
            "kind": "blip",
            "image": {"width": 32, "depth": 2, "heads": 1, "mlp_ratio": 4.0, "init": "random"},
            "text": {"width": 64, "depth": 3, "heads": 2, "mlp_ratio": 4.0, "init": "random"},
            "fusion": {"layers": 2, "placement": "last"},
            "embedding": 64,
        },
        "losses": {"itc": {"weight": 1.0}, "image_embedding": {"weight": 20.0}},
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
        "blind": False,
    }


def test_a_weight_drawn_as_zero_has_the_id_of_a_space_without_the_loss(
    load: Load, facts: TeacherFacts
) -> None:
    off = load().build({**VALUES, "losses.image_embedding.weight": 0}, facts, 0)
    without = load(("  image_embedding:\n    weight: {log: [2, 60], zero: 0.1, default: 20}\n", ""))
    assert off.candidate_id == without.build({"student.image.width": "0.25x"}, facts, 0).candidate_id


@pytest.mark.parametrize(
    ("overrides", "path", "value"),
    [
        # Head dimension 32: 0.3 x 128 = 38.4 -> 32; 0.4 x 128 = 51.2 -> 64; 0.01 x 128 = 1.28 -> one head.
        (["student.image.width=0.3x"], "image.width", 32),
        (["student.image.width=0.4x"], "image.width", 64),
        (["student.image.width=0.01x"], "image.width", 32),
        # Exactly between 32 and 64: up.
        (["student.image.width=0.375x"], "image.width", 64),
        # Three heads given: 0.3 x 128 = 38.4 -> 39 = 13 x 3.
        (["student.image.width=0.3x", "student.image.heads=3"], "image.width", 39),
        # Absolute widths stay: 80 / 32 = 2 heads of 40.
        (["student.image.width=80"], "image.width", 80),
        (["student.image.width=80"], "image.heads", 2),
        # Half of 4 heads is 2, but 81 = 3^4: the nearest divisors are 1 and 3, ties go up.
        (["student.image.width=81", "student.image.heads=0.5x"], "image.heads", 3),
        (["student.image.width=96", "student.image.heads=1x"], "image.heads", 4),
        # 0.33 x 6 = 1.98, 0.75 x 6 = 4.5, 0.01 x 6 = 0.06.
        (["student.image.depth=0.33x"], "image.depth", 2),
        (["student.image.depth=0.75x"], "image.depth", 5),
        (["student.image.depth=0.01x"], "image.depth", 1),
        (["student.fusion.layers=0.5x"], "fusion.layers", 3),
        (["student.fusion.layers=0"], "fusion.layers", 0),
        (["student.embedding=0.3x"], "embedding", 19),
        (["student.embedding=48"], "embedding", 48),
    ],
)
def test_relative_sizes_are_rounded_to_what_is_legal(
    load: Load, facts: TeacherFacts, overrides: list[str], path: str, value: int
) -> None:
    student = build_student(load(overrides=overrides), facts)
    for part in path.split("."):
        student = student[part]
    assert student == value


def test_the_two_sides_refer_to_their_own_teacher_side(load: Load, facts: TeacherFacts) -> None:
    wide = TeacherFacts(**{**vars(facts), "image_width": 768, "image_heads": 12, "image_depth": 12})
    space = load(
        overrides=["student.image.width=0.5x", "student.image.depth=0.5x", "student.text.width=0.5x"]
    )
    student = build_student(space, wide)
    assert (student["image"]["width"], student["image"]["depth"], student["image"]["heads"]) == (384, 6, 6)
    assert student["text"]["width"] == 64


def test_rounding_is_stated_only_where_it_changed_a_value(load: Load, facts: TeacherFacts) -> None:
    space = load(
        overrides=[
            "student.image.width={choice: [0.3x, 0.5x]}",
            "student.text.depth={choice: [0.33x, 0.5x]}",
            "student.text.width=0.3x",
            "student.text.heads=3",
        ]
    )
    assert space.roundings(facts) == [
        "student.image.width 0.3x of 128 -> 32 (multiple of head dim 32)",
        "student.text.width 0.3x of 128 -> 39 (multiple of heads 3)",
        "student.text.depth 0.33x of 6 -> 2 (whole number)",
    ]


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (
            ["student.image.width=100", "student.image.heads={choice: [4, 12], default: 12}"],
            "student.image.heads: got 12 with width 100; width must be a multiple of heads. "
            "Use width 96 or 108, or set other heads.",
        ),
        (
            ["student.fusion.layers={choice: [1, 4], default: 4}"],
            "student.fusion.layers: got 4 with text depth 3; allowed: 0..3. "
            "Lower student.fusion.layers or raise student.text.depth.",
        ),
        (
            ["student.text.width=160", "student.text.init={choice: [random, inherit], default: inherit}"],
            "student.text.init: got inherit with width 160 and depth 3; allowed: at most the teacher's "
            "width 128 and depth 6. Lower them, or use random.",
        ),
    ],
)
def test_an_illegal_point_of_a_sound_space_is_an_illegal_candidate(
    load: Load, facts: TeacherFacts, overrides: list[str], reason: str
) -> None:
    space = load(overrides=overrides)
    space.check(facts)
    with pytest.raises(IllegalCandidate) as caught:
        build_student(space, facts)
    assert str(caught.value) == reason


def test_a_point_with_all_losses_zero_is_illegal(load: Load, facts: TeacherFacts) -> None:
    space = load(overrides=["losses.itc.weight=0"])
    with pytest.raises(IllegalCandidate, match="every loss"):
        space.build({**VALUES, "losses.image_embedding.weight": 0}, facts, 0)


def test_values_must_name_exactly_the_domains(load: Load, facts: TeacherFacts) -> None:
    with pytest.raises(ValueError, match=r"missing \['losses.image_embedding.weight'\], unknown \['x'\]"):
        load().build({"student.image.width": "0.25x", "x": 1}, facts, 0)


def test_what_no_candidate_can_satisfy_is_refused_all_at_once(load: Load, facts: TeacherFacts) -> None:
    space = load(
        ("  fusion: {layers: 2}", "  fusion: {layers: {int: [4, 6]}}"),
        overrides=[
            "student.image.width=100",
            "student.image.heads={choice: [8, 12]}",
            "limits.flops={min: 1x, max: 9}",
        ],
    )
    with pytest.raises(SpaceError) as caught:
        space.check(facts)
    heads, fusion, limit = caught.value.problems
    assert heads.startswith(
        "--set student.image.heads={choice: [8, 12]}, student.image.heads: got 8 with width 100;"
    )
    assert "space.yaml:8, student.fusion.layers: got 4 with text depth 3; allowed: 0..3." in fusion
    assert "limits.flops: got min 5000 above max 9; allowed: min <= max." in limit


def test_inheriting_more_than_the_teacher_has_is_refused(load: Load, facts: TeacherFacts) -> None:
    space = load(overrides=["student.text.depth=7", "student.text.init=inherit"])
    with pytest.raises(SpaceError, match=r"student\.text\.init: got inherit with width 64 and depth 7"):
        space.check(facts)


def test_limits_become_absolute(load: Load, facts: TeacherFacts) -> None:
    space = load(overrides=["limits={params: {max: 0.75x}, latency_ms: {min: 0.5x, max: 6}, flops: {}}"])
    assert space.limits(facts) == {"params": (None, 750.0), "latency_ms": (4.0, 6.0)}
    assert load().limits(facts) == {}


def test_absolute_values_need_nothing_of_the_teacher(load: Load, facts: TeacherFacts) -> None:
    space = load(overrides=["student.image.width={choice: [40, 60], default: 40}", "student.image.heads=2"])
    assert build_student(space, facts)["image"] == {
        "width": 40,
        "depth": 2,
        "heads": 2,
        "mlp_ratio": 4.0,
        "init": "random",
    }
    assert space.roundings(facts) == []


def test_default_values_are_complete_or_none(load: Load) -> None:
    assert load().default_values() == {"student.image.width": "0.5x", "losses.image_embedding.weight": 20.0}
    assert load((", default: 20", "")).default_values() is None


def test_flat_space_and_back(load: Load) -> None:
    space = load()
    assert list(space.flat()) == [
        "student.image.width",
        "losses.image_embedding.weight#on",
        "losses.image_embedding.weight",
    ]
    rng = random.Random(0)
    for _ in range(50):
        values = {path: domain.sample(rng) for path, domain in space.domains().items()}
        assert space.unflatten(space.flatten(values)) == values


def test_check_objectives_suggests_the_near_miss(load: Load) -> None:
    space = load(("retention: max", "retension: max"))
    (problem,) = check_objectives(space, ["retention", "mean_recall", "params"])
    assert problem.endswith(
        "space.yaml:14, objectives.retension: got 'retension', which nothing produces; "
        "allowed: mean_recall, params, retention. Did you mean 'retention'?"
    )
    assert check_objectives(load(), ["retention", "params"]) == []


def test_quality_is_the_first_maximised_metric(load: Load) -> None:
    assert load(("retention: max", "loss: min, vqa_accuracy: max, retention: max")).quality == "vqa_accuracy"
    assert load(("retention: max, params: min", "params: min, loss: min")).quality == "loss"


def test_a_space_pickles_with_its_marks(load: Load) -> None:
    space = load()
    again = pickle.loads(pickle.dumps(space))
    assert again == space
    assert again.where("losses.itc") == space.where("losses.itc")
