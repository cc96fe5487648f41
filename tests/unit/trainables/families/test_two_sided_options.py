"""Options that all students of two sides have: what fits, what becomes of it, and what is refused, in which words."""

import contextlib
from dataclasses import replace
from typing import Any

import pytest

from spaces.errors import IllegalCandidate, ShapeError
from spaces.options import option_problems
from spaces.plugins import resolve
from tests.unit.trainables.families.teachers import around, drafted
from trainables.families import FAMILIES
from trainables.families.base import Blueprint
from trainables.model_folder import WRONG, sized_blueprint
from trainables.signals import classes_meaning, modes

KINDS = ("simple_projection", "bottleneck", "multihead_attention", "cbam", "resnet", "densenet", "timm")
NEEDED: dict[str, dict[str, Any]] = {"timm": {"name": "test_resnet"}}


def options(kind: str, **more: Any) -> dict[str, Any]:
    return NEEDED.get(kind, {}) | more


def resolved(kind: str, sizes: dict[str, int], **more: Any) -> Any:
    return resolve(FAMILIES, kind, "families").resolve(options(kind, **more), sizes)


@pytest.mark.parametrize("kind", KINDS)
class TestEveryKind:
    def test_a_text_side_follows_the_teacher(self, kind: str) -> None:
        assert modes(drafted(kind, around(), **options(kind)).offers) == {"image", "text", "contrast"}
        blind = around(text=False)
        assert modes(drafted(kind, blind, **options(kind)).offers) == {"image", "contrast"}
        without = drafted(kind, around(), **options(kind, text=False))
        assert modes(without.offers) == {"image", "contrast"}

    def test_a_text_side_is_refused_where_the_teacher_has_none(self, kind: str) -> None:
        with pytest.raises(ShapeError, match=r"student\.text: got true, .*allowed with it: false or auto"):
            drafted(kind, around(text=False), **options(kind, text=True))

    def test_a_classifier_follows_the_classes_and_is_refused_without_any(self, kind: str) -> None:
        found = drafted(kind, around(classes=4), **options(kind, classifier=True))
        (logits,) = (offer for want, offer in found.offers.items() if want.what == "logits")
        assert logits.sizes == (4,)
        assert logits.meaning == classes_meaning(["class 0", "class 1", "class 2", "class 3"])
        assert all(want.what != "logits" for want in drafted(kind, around(classes=4), **options(kind)).offers)
        with pytest.raises(ShapeError, match=r"student\.classifier: got true, .*no classes"):
            drafted(kind, around(), **options(kind, classifier=True))

    def test_an_embedding_may_be_relative_to_the_teachers(self, kind: str) -> None:
        found = resolved(kind, {"embedding": 9}, embedding="0.5x")
        assert found.options["embedding"] == 5
        assert found.roundings == ["student.embedding 0.5x of 9 -> 5 (whole number, at least 1)"]
        with pytest.raises(IllegalCandidate, match="this teacher has no embedding") as caught:
            resolved(kind, {}, embedding="0.5x")
        assert [path for path, _ in caught.value.problems] == ["embedding"]
        with pytest.raises(IllegalCandidate, match="at most 65536"):
            resolved(kind, {"embedding": 1000}, embedding="100x")

    @pytest.mark.parametrize(
        ("name", "value", "expected"),
        [
            ("embedding", 0, "a whole number >= 1"),
            ("embedding", 1.5, "Use 1 or 2"),
            ("text", "always", "auto"),
            ("classifier", "yes", "boolean"),
            ("tetx", True, "Did you mean 'text'"),
        ],
    )
    def test_a_wrong_value_is_told_at_the_door_and_in_a_candidate(
        self, kind: str, name: str, value: Any, expected: str
    ) -> None:
        family = resolve(FAMILIES, kind, "families")
        (found,) = option_problems(family.Config, options(kind, **{name: value}))
        assert found[0] == name
        assert expected in found[1]
        with pytest.raises(IllegalCandidate, match="got") as caught:
            resolved(kind, {}, **{name: value})
        assert [path for path, _ in caught.value.problems] == [name]


def test_pooled_texts_are_refused_where_the_teacher_has_none_of_them() -> None:
    beside = around()
    said = {one: offer for one, offer in beside.offers.items() if str(one) != "text.pooled"}
    beside = replace(beside, offers=said)
    with pytest.raises(
        ShapeError, match=r"reads text\.pooled .*Change kind or feature, set text: false, or take"
    ):
        drafted("bottleneck", beside, feature="pooled")
    assert drafted("bottleneck", beside, feature="pooled", text=False)


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        ("cbam", {"blocks": 0}),
        ("cbam", {"reduction": 0}),
        ("cbam", {"kernel": 4}),
        ("bottleneck", {"bottleneck": 0}),
        ("bottleneck", {"feature": "tokens"}),
        ("multihead_attention", {"heads": 0}),
        ("resnet", {"depth": 11}),
        ("resnet", {"width": 0.0}),
        ("resnet", {"stem": "big"}),
        ("densenet", {"depth": 100}),
        ("densenet", {"growth": 0}),
        ("resnet", {"projection": "conv"}),
    ],
)
def test_sizes_that_no_model_has_are_told_at_the_door_and_in_a_candidate(
    kind: str, wrong: dict[str, Any]
) -> None:
    ((name, _),) = wrong.items()
    (found,) = option_problems(resolve(FAMILIES, kind, "families").Config, wrong)
    assert found[0] == name
    with pytest.raises(IllegalCandidate, match=rf"student\.{name}: got"):
        resolved(kind, {}, **wrong)


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_architecture_is_refused_by_errors_that_a_reader_of_folders_knows(kind: str) -> None:
    plan = drafted(kind, around(), **options(kind))
    whole = plan.to_dict()
    damages: list[dict[str, Any]] = [
        {name: None} for name in whole if name not in ("family", "image", "text")
    ]
    damages += [{"image": wrong} for wrong in (3, [], {}, {"read": 3}, "hf-hub:some/model")]
    damages += [{"image": {**whole["image"], name: "x"}} for name in whole["image"]]
    damages += [{"image": {**whole["image"], "name": "hf-hub:some/model"}}, {"unknown": 1}]
    for damage in damages:
        with contextlib.suppress(*WRONG):
            Blueprint.from_dict(whole | damage).on_meta()


def test_blocks_that_no_memory_holds_are_told_by_the_weights_beside_them() -> None:
    fields = drafted("cbam", around()).to_dict()
    with pytest.raises(ShapeError, match="blocks: got 1000000"):
        sized_blueprint(fields | {"image": fields["image"] | {"blocks": 10**6}}, {})
