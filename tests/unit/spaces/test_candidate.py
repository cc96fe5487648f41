"""Ids: equal for equal training, different otherwise, the same on every machine and day."""

import copy
import hashlib
import pickle
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from spaces.candidate import Candidate, is_known
from spaces.errors import IllegalCandidate


def config() -> dict[str, Any]:
    return {
        "student": {
            "kind": "blip",
            "image": {"width": 64, "depth": 3, "heads": 2, "mlp_ratio": 4.0, "init": "inherit"},
            "text": {"width": 64, "depth": 3, "heads": 2, "mlp_ratio": 4.0, "init": "random"},
            "fusion": {"layers": 2, "placement": "last"},
            "embedding": 64,
        },
        "losses": {"itc": {"weight": 1.0}, "lm": {"weight": 0.0}},
        "training": {"epochs": 9, "lr": 0.0015},
        "tasks": ["captioning", "retrieval"],
        "blind": False,
    }


def changed(change: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    other = copy.deepcopy(config())
    change(other)
    return other


def test_the_id_is_the_documented_hash() -> None:
    # Written out by hand: sorted keys, no spaces, 4.0 as 4, the loss of weight 0 gone.
    side = '"depth":3,"heads":2,"init":"{}","mlp_ratio":4,"width":64'
    text = (
        '{"config":{"blind":false,"losses":{"itc":{"weight":1}},"student":{"embedding":64,'
        '"fusion":{"layers":2,"placement":"last"},'
        f'"image":{{{side.format("inherit")}}},"kind":"blip","text":{{{side.format("random")}}}}},'
        '"tasks":["captioning","retrieval"],"training":{"epochs":9,"lr":0.0015}},"seed":3}'
    )
    assert Candidate.of(config(), 3).candidate_id == hashlib.sha256(text.encode()).hexdigest()[:16]


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c["losses"].pop("lm"),
        lambda c: c["losses"]["lm"].update(label_smoothing=0.1),
        lambda c: c["losses"]["itc"].update(weight=1),
        lambda c: c["training"].update(epochs=9.0),
        lambda c: c.pop("blind"),
        lambda c: c.update(losses=dict(reversed(c["losses"].items()))),
    ],
)
def test_what_changes_nothing_keeps_the_id(change: Callable[[dict[str, Any]], Any]) -> None:
    assert Candidate.of(changed(change), 0).candidate_id == Candidate.of(config(), 0).candidate_id


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c["training"].update(epochs=3),
        lambda c: c["losses"]["lm"].update(weight=0.1),
        lambda c: c["student"]["image"].update(init="random"),
        lambda c: c["student"]["fusion"].update(placement="even"),
        lambda c: c["tasks"].remove("captioning"),
        lambda c: c.update(teacher="embedded"),
        lambda c: c.update(blind=True),
    ],
)
def test_what_changes_the_result_changes_the_id(change: Callable[[dict[str, Any]], Any]) -> None:
    assert Candidate.of(changed(change), 0).candidate_id != Candidate.of(config(), 0).candidate_id


def test_the_seed_enters_the_id() -> None:
    assert Candidate.of(config(), 0).candidate_id != Candidate.of(config(), 1).candidate_id


def test_the_training_seed_derives_from_the_id() -> None:
    candidate = Candidate.of(config(), 0)
    assert f"{candidate.training_seed:08x}" == candidate.candidate_id[:8]
    assert (
        replace(candidate, candidate_id=candidate.candidate_id[:8]).training_seed == candidate.training_seed
    )


def test_an_id_is_known_in_full_and_as_an_earlier_version_wrote_it() -> None:
    assert is_known("0123456789abcdef", {"0123456789abcdef"})
    assert is_known("0123456789abcdef", {"01234567"})
    assert not is_known("0123456789abcdef", {"0123456789abcde0", "89abcdef", "0123456"})


def test_a_candidate_pickles() -> None:
    candidate = Candidate.of(config(), 5)
    assert pickle.loads(pickle.dumps(candidate)) == candidate


def test_the_blind_twin_differs_in_one_flag() -> None:
    candidate = Candidate.of(config(), 0)
    blind = candidate.blinded()
    assert (candidate.blind, blind.blind) == (False, True)
    assert {**blind.config, "blind": False} == candidate.config
    assert blind.candidate_id != candidate.candidate_id


def test_losses_can_be_left_out_but_not_all() -> None:
    both = Candidate.of(changed(lambda c: c["losses"]["lm"].update(weight=1.0)), 0)
    assert both.without_losses(["lm"]).candidate_id == Candidate.of(config(), 0).candidate_id
    with pytest.raises(IllegalCandidate, match="weight 0 for every loss"):
        both.without_losses(["lm", "itc"])
