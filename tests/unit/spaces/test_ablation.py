"""`ablation`: arms are points, seeds tell chance apart, claims name arms; every mistake with its place."""

from pathlib import Path

import pytest

from spaces.left_out import without_losses
from spaces.load import dump_space, load_space
from tests.unit.spaces.conftest import Load, Problems

LAST = "  trials: 8\n"
WIDTH, WEIGHT = "student.image.width", "losses.image_embedding.weight"
ARMS = f"""\
  arms:
    whole: {{}}
    narrow: {{{WIDTH}: 0.25x}}
    untaught: {{losses: {{image_embedding: {{weight: 0}}}}}}
    both: {{{WIDTH}: 0.25x, {WEIGHT}: 0}}
"""


def ablation(arms: str = ARMS, *claims: str) -> tuple[str, str]:
    """Return the change that gives the small space an ablation, from line 20 on."""
    lines = "  claims:\n" + "".join(f"    {claim}\n" for claim in claims) if claims else ""
    return LAST, f"{LAST}ablation:\n{arms}{lines}"


def test_arms_are_completed_by_the_defaults(load: Load):
    space = load(ablation())
    assert space.ablation is not None
    assert space.ablation.seeds == (0, 1, 2)
    assert space.ablation.trials == 12
    assert [values for values, _ in space.completed(space.ablation.arms.values())] == [
        {WIDTH: "0.5x", WEIGHT: 20.0},
        {WIDTH: "0.25x", WEIGHT: 20.0},
        {WIDTH: "0.5x", WEIGHT: 0},
        {WIDTH: "0.25x", WEIGHT: 0},
    ]


def test_an_ablation_survives_the_run_folder(load: Load, tmp_path: Path):
    claims = ("a: {same: [whole, narrow], within: 0.5}", "b: {faster: [whole, both]}")
    space = load(ablation(ARMS, *claims))
    (tmp_path / "resolved.yaml").write_text(dump_space(space))
    assert load_space(tmp_path / "resolved.yaml") == space


def test_a_space_without_one_says_nothing_of_it(load: Load):
    assert load().ablation is None


def test_arms_keep_the_rest_where_a_loss_is_left_out(load: Load):
    less = without_losses(load(ablation()), {"image_embedding"})
    assert less.ablation is not None
    assert less.ablation.arms["both"] == {WIDTH: "0.25x"}
    assert less.ablation.arms["untaught"] == {}


@pytest.mark.parametrize(
    ("arms", "claim", "said"),
    [
        ("  arms:\n    one: {}\n", "", "ablation.arms: got 1; allowed: at least 2"),
        (
            ARMS.replace(f"narrow: {{{WIDTH}", "narrow: {student.image.widht"),
            "",
            "ablation.arms.narrow.student.image.widht: got an unknown path; allowed: searched paths. Did you mean",
        ),
        (
            ARMS.replace("0.25x}", "3x}"),
            "",
            f"ablation.arms.narrow.{WIDTH}: got '3x'; allowed: one of '0.25x', '0.5x'",
        ),
        (ARMS.replace("whole: {}", "whole: 3"), "", "ablation.arms.whole: got 3; allowed: a mapping"),
        (f"  seeds: [1]\n{ARMS}", "", "ablation.seeds: got [1]; allowed: a list of at least 2 whole numbers"),
        (f"  seeds: [1, 1]\n{ARMS}", "", "ablation.seeds: got [1, 1]; allowed: a list of at least 2"),
        (f"  seeds: 3\n{ARMS}", "", "ablation.seeds: got 3; allowed: a list"),
        (
            ARMS,
            "a: {}",
            "ablation.claims.a: got none; allowed: exactly one of better, same, saturates, faster",
        ),
        (
            ARMS,
            "a: {same: [whole, both], better: [whole, both]}",
            "ablation.claims.a: got better, same; allowed: exactly one",
        ),
        (ARMS, "a: {same: [whole, narow]}", "ablation.claims.a.same: got 'narow'; allowed: whole, narrow"),
        (ARMS, "a: {same: [whole]}", "ablation.claims.a.same: got ['whole']; allowed: a list of at least 2"),
        (ARMS, "a: {same: [whole, both, narrow]}", "ablation.claims.a.same: got 3 arms; allowed: 2"),
        (ARMS, "a: {same: [whole, both], above: 2.5}", "ablation.claims.a.above: got 2.5 beside `same`"),
        (
            ARMS,
            "a: {better: [whole, both], than: [whole, narrow], above: 2}",
            "ablation.claims.a.above: got a number beside `than`",
        ),
        (
            ARMS,
            "a: {saturates: [narrow, whole], at: whole}",
            "ablation.claims.a.at: got 'whole'; allowed: narrow",
        ),
        (ARMS, "a: {saturates: [narrow, whole]}", "ablation.claims.a.at: got null; allowed: narrow"),
        (ARMS, "a: {same: [whole, both], within: -1}", "ablation.claims.a.within: got -1; allowed:"),
        (ARMS, "a: {sme: [whole, both]}", "ablation.claims.a.sme: got an unknown key"),
    ],
)
def test_each_mistake_is_told_with_its_place(problems: Problems, arms: str, claim: str, said: str):
    found = problems(ablation(arms, *filter(None, [claim])))
    assert any(said in one and one.startswith("space.yaml:") for one in found), found


def test_what_an_ablation_would_ignore_is_refused(problems: Problems):
    found = problems((LAST, f"  trials: 12\n  seed: 3\n  start: [{{}}]\nablation:\n{ARMS}"))
    assert found == [
        "space.yaml:19, search.seed: got 3, but an ablation has seeds of its own; allowed: 0. Set ablation.seeds, now [0, 1, 2].",
        "space.yaml:20, search.start: got start points, but an ablation trains its arms and nothing else; allowed: none. "
        "Make arms of them.",
    ]


def test_more_trials_than_arms_are_refused(problems: Problems):
    found = problems((LAST, "  trials: 13\nablation:\n" + ARMS))
    assert found == [
        "space.yaml:18, search.trials: got 13; allowed: at most 12, since the ablation has 4 arms and 3 seeds, and nothing else "
        "is proposed. Write 12."
    ]
