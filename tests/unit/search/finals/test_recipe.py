"""What finalists are trained on: their own losses, what their tasks ask for beside them, and those of one task alone."""

from dataclasses import replace
from typing import Any

import pytest

from search.finals.recipe import (
    Around,
    changed,
    fed,
    for_task,
    lasting,
    long_warmups,
    undistilled,
    with_task_losses,
    with_true_losses,
)
from spaces.errors import RunError
from tests.unit.trainables.small import candidate_config, small_config
from trainables.datasets.encoded import fields_of
from trainables.families.blip.offers import offers_of
from trainables.signals import CAPTION, PICTURE, QUESTION
from trainables.tasks.evaluation import make_tasks

OFFERS = offers_of(small_config())


def around(**tasks: Any) -> Around:
    fields = frozenset(fields_of([PICTURE, CAPTION, QUESTION]))
    return Around(student=OFFERS, teacher=OFFERS, fields=fields, tasks=make_tasks(tasks))


def weights(config: dict[str, Any]) -> dict[str, float]:
    return {name: one["weight"] for name, one in config["losses"].items() if one["weight"]}


def losses(**found: float) -> dict[str, Any]:
    return {**candidate_config(), "losses": {name: {"weight": weight} for name, weight in found.items()}}


def test_matching_is_trained_where_captions_are_to_be_re_ranked_and_nothing_trains_it() -> None:
    config = losses(image_embedding=20.0, text_embedding=20.0, itm=0.0, lm_logit=3.0)
    made, added = with_task_losses(config, around(retrieval={"rerank": 4}, captioning={}))
    assert added == ["itm"], "the teacher teaches embeddings and captions already"
    assert weights(made) == weights(config) | {"itm": 1.0}
    assert with_task_losses(config, around(retrieval={}, captioning={})) == (config, [])


def test_losses_that_data_or_teacher_cannot_feed_are_left_out_and_told() -> None:
    """A recipe brings back what the search had left out."""
    config = losses(itc=0.3, itm=1.0, lm_logit=20.0, answer_logit=20.0, decoder_hidden=3.0, vqa=0.0)
    captions = replace(around(retrieval={}, captioning={}), fields=frozenset(fields_of([PICTURE, CAPTION])))
    made, told = fed(config, captions)
    assert set(made["losses"]) == set(config["losses"]) - {"answer_logit"}
    assert told == [
        "loss answer_logit is left out: it needs question.ids, question.targets, which not every split of this data has"
    ]
    deaf = {want: offer for want, offer in OFFERS.items() if want.mode not in ("decoder", "answer")}
    made, told = fed(config, replace(captions, teacher=deaf))
    assert set(weights(made)) == {"itc", "itm"}
    assert [one.split()[1] for one in told] == ["lm_logit", "answer_logit", "decoder_hidden"]
    assert (
        told[0]
        == "loss lm_logit is left out: it needs decoder.logits of the teacher, which this one does not have"
    )
    assert fed(config, around(vqa={})) == (config, [])
    with pytest.raises(RunError, match=r"no loss is left to train by\. loss answer_logit"):
        fed(losses(answer_logit=1.0), captions)


def test_a_task_that_nothing_trains_brings_its_loss() -> None:
    made, added = with_task_losses(losses(itc=0.5), around(vqa={}))
    assert added == ["vqa"]
    assert weights(made) == {"itc": 0.5, "vqa": 1.0}


def test_each_task_has_the_losses_that_look_at_what_it_runs() -> None:
    config = losses(itc=1, itm=1, lm=1, lm_logit=1, vqa=1, answer_logit=1, image_hidden=1, fused_hidden=1)
    tasks = around(retrieval={"rerank": 4}, captioning={}, vqa={})
    own = {
        name: sorted((for_task(config, task, tasks) or {})["losses"]) for name, task in tasks.tasks.items()
    }
    assert own == {
        "retrieval": ["fused_hidden", "image_hidden", "itc", "itm"],
        "captioning": ["image_hidden", "lm", "lm_logit"],
        "vqa": ["answer_logit", "image_hidden", "vqa"],
    }
    dual = around(retrieval={})
    assert sorted((for_task(config, dual.tasks["retrieval"], dual) or {})["losses"]) == [
        "image_hidden",
        "itc",
    ]


def test_a_task_without_losses_has_no_training_of_its_own() -> None:
    tasks = around(vqa={})
    assert for_task(losses(itc=1.0), tasks.tasks["vqa"], tasks) is None


def test_the_control_has_nothing_of_the_teacher() -> None:
    config = losses(image_embedding=20.0, lm=0.5, lm_logit=3.0)
    plain = undistilled(config, around(retrieval={"rerank": 4}, captioning={}))
    assert weights(plain) == {"lm": 0.5, "itc": 1.0, "itm": 1.0}
    assert plain["training"]["itm_negatives"] == "student"


def test_settings_change_weights_and_training_and_leave_the_candidate_alone() -> None:
    config = candidate_config()
    settings = [(("losses", "lm_logit", "weight"), 6), (("training", "lr"), 0.001)]
    made = lasting(changed(config, settings), 40)
    assert weights(made)["lm_logit"] == 6
    assert (made["training"]["lr"], made["training"]["epochs"]) == (0.001, 40)
    assert config == candidate_config()


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        (("losses", "lm_logits", "weight"), 1.0, "Did you mean 'lm_logit'"),
        (("losses", "lm_logit", "weigth"), 1.0, "weigth"),
        (("losses", "lm_logit", "weight"), -1.0, "weight"),
        (("training", "lr"), 0, "lr"),
        (("training", "rate"), 1, "rate"),
    ],
)
def test_settings_that_nobody_takes_are_told(path: tuple[str, ...], value: object, told: str) -> None:
    with pytest.raises(RunError, match=told) as caught:
        changed(candidate_config(), [(path, value)])
    assert str(caught.value).startswith("--set, --recipe: ")
    assert "\n" not in str(caught.value)


def test_a_random_teacher_stands_beside_the_losses_that_the_plain_control_has() -> None:
    between = around(retrieval={}, captioning={}, vqa={})
    config = losses(itc=0.3, itm=0.0, lm=0.0, lm_logit=20.0, answer_logit=20.0, vqa=0.5)
    made, added = with_true_losses(config, between)
    assert set(added) == set(undistilled(config, between)["losses"]) - {"itc", "vqa"}
    assert "lm" in added
    assert weights(made) == weights(config) | dict.fromkeys(added, 1.0)
    own = losses(itc=1.0, itm=1.0, lm=0.3, vqa=0.3)
    assert with_true_losses(own, between) == (own, [])


def test_a_training_that_ends_in_its_warm_up_is_told() -> None:
    """Of 500 pairs in batches of 64 an epoch has 8 updates."""
    training = {"warmup_steps": 8, "pairs_per_epoch": 500, "batch_size": 64, "accumulate": 1}
    configs = {
        name: {"training": {**training, "epochs": epochs}} for name, epochs in (("longer", 3), ("vqa", 1))
    }
    (told,) = long_warmups(configs)
    assert told.startswith(
        "WARNING: training.warmup_steps: got 8, of 8 updates of the training 'vqa'; allowed: below half"
    )
    assert [*long_warmups({"vqa": {"training": {**training, "epochs": 3, "accumulate": 2}}})]
