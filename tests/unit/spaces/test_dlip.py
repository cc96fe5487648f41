"""The shipped default space: what it searches, and that a random search of it is worth its time."""

import random
from importlib.resources import files
from pathlib import Path

import pytest

from spaces.candidate import Candidate
from spaces.errors import IllegalCandidate
from spaces.load import dump_space, load_space
from spaces.schema import Space
from tests.unit.spaces.toy import ToyPlugins

SHIPPED = Path(str(files("spaces"))) / "dlip.yaml"
LOSSES = [
    "itc",
    "itm",
    "lm",
    "vqa",
    "image_embedding",
    "text_embedding",
    "fused_hidden",
    "decoder_hidden",
    "image_hidden",
    "text_hidden",
    "image_attention",
    "text_attention",
    "cross_attention",
    "decoder_attention",
    "itc_logit",
    "lm_logit",
    "answer_logit",
]


@pytest.fixture(scope="module")
def space() -> Space:
    return load_space(SHIPPED)


@pytest.fixture
def drawn(space: Space, toy: ToyPlugins) -> list[Candidate | None]:
    rng = random.Random(0)
    found: list[Candidate | None] = []
    for _ in range(600):
        values = {path: domain.sample(rng) for path, domain in space.domains().items()}
        try:
            found.append(space.build(values, toy, 0))
        except IllegalCandidate:
            found.append(None)
    return found


def test_every_dimension_of_the_issue_is_searched(space: Space) -> None:
    sizes = [f"student.{side}.{name}" for side in ("image", "text") for name in ("width", "depth", "init")]
    assert set(space.domains()) == {
        *sizes,
        "student.fusion.layers",
        "student.fusion.placement",
        "training.lr",
        *(f"losses.{name}.weight" for name in LOSSES),
    }
    assert space.objectives == {"retention": "max", "params": "min", "flops": "min", "latency_ms": "min"}


def test_it_suits_the_embedded_teacher_and_a_base_one(space: Space, toy: ToyPlugins, costs) -> None:
    defaults = space.default_values()
    assert defaults is not None
    for teacher, width, depth in (("embedded", 64, 3), ("base", 384, 6)):
        here = load_space(SHIPPED, [f"teacher={teacher}"])
        here.check(toy, costs)
        student = here.build(defaults, toy, 0).config["student"]
        assert (student["text"]["width"], student["text"]["depth"]) == (width, depth)
    assert space.limits(costs) == {"params": (None, pytest.approx(600.0))}


def test_it_says_what_it_leaves_to_the_teacher(space: Space) -> None:
    assert (space.kinds, space.teachers) == (("blip",), ("embedded",))
    assert (space.tasks, space.allow_partial, space.conditions()) == (None, False, {})


def test_the_first_candidate_is_the_measured_recipe(space: Space, toy: ToyPlugins) -> None:
    defaults = space.default_values()
    assert defaults is not None
    losses = space.build(defaults, toy, 0).config["losses"]
    active = {name: loss["weight"] for name, loss in losses.items() if loss["weight"]}
    tasks = {"itc": 1, "lm": 0.3, "vqa": 0.3}
    taught = {"image_embedding": 20, "text_embedding": 20, "lm_logit": 6, "answer_logit": 6}
    assert active == {**tasks, **taught}


def test_most_random_candidates_are_legal_and_have_the_lever(drawn: list[Candidate | None]) -> None:
    legal = [candidate for candidate in drawn if candidate]
    assert len(legal) / len(drawn) > 0.8
    both = [
        c
        for c in legal
        if min(c.config["losses"][f"{m}_embedding"]["weight"] for m in ("image", "text")) >= 5
    ]
    assert len(both) / len(legal) > 0.85
    assert all(c.config["student"]["fusion"]["layers"] > 0 for c in legal)
    assert max(c.config["student"]["text"]["width"] for c in legal) == 96
    assert max(c.config["student"]["image"]["depth"] for c in legal) == 4


def test_random_candidates_differ(drawn: list[Candidate | None]) -> None:
    ids = [candidate.candidate_id for candidate in drawn if candidate]
    assert len(set(ids)) == len(ids)


def test_its_resolved_form_is_the_same_space(space: Space, tmp_path: Path) -> None:
    (tmp_path / "space.yaml").write_text(dump_space(space))
    assert load_space(tmp_path / "space.yaml") == space
