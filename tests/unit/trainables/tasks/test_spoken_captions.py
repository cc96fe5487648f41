"""Captions that are said whole: which references they meet, what they cost, and what is refused."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from spaces.errors import PluginError, ResourceError
from tests.unit.trainables.small import CPU, SCENES, encoded, lively, measured, silent, small_config
from tests.unit.trainables.tasks.together import together
from trainables.datasets.encoded import EncodedSplit
from trainables.families.blip.model import Blip
from trainables.preprocess import Framing
from trainables.signals import Serving
from trainables.tasks import caption_metrics
from trainables.tasks import pool as module
from trainables.tasks.beams import Beams, beam_search
from trainables.tasks.caption_metrics import CaptionMetrics
from trainables.tasks.captioning import Captioning
from trainables.tasks.decoding import LOGITS, Decoder
from trainables.tasks.evaluation import evaluate, make_tasks
from trainables.tasks.pool import EvaluationSize, Pool
from trainables.teachers.teacher import Teacher
from trainables.training.build import make_dataset

ALL = EvaluationSize(images=24)
PLAIN = ("cider_plain", "bleu_4_plain", "rouge_l_plain")


@pytest.fixture(scope="module")
def split(teacher: Teacher) -> EncodedSplit:
    return encoded(teacher, "val", val_images=24)


@pytest.fixture(scope="module")
def model() -> Blip:
    return lively(small_config(), seed=2)


def task(**options: Any) -> Captioning:
    made: Any = make_tasks({"captioning": {"decode": "beam", "tokenizer": "plain"} | options})["captioning"]
    return made


def figures(model: Blip, split: EncodedSplit, **more: Any) -> dict[str, float]:
    return evaluate(model, split, tasks=[task()], size=ALL, **more)


def test_each_picture_is_told_once_and_meets_all_its_captions(model: Blip, split: EncodedSplit) -> None:
    tokenizer = split.tokenizer
    assert tokenizer is not None
    decoder = Decoder(model=model, logits=LOGITS, rows="caption", vocabulary=split.vocabulary, longest=24)
    rows = beam_search(decoder, [tokenizer.prompt()] * 24, split.images(np.arange(24), CPU), Beams())
    said = [tokenizer.decode(row) for row in rows]
    assert len(set(said)) > 3
    true = [split.texts["caption"][4 * picture : 4 * picture + 4] for picture in range(24)]
    expected = dict(zip(PLAIN, CaptionMetrics(tokenizer="plain").measured(said, true), strict=True))
    found = figures(model, split)
    forced = measured(model, split, ALL, ["captioning"])
    assert found == {**forced, **expected}
    assert found["cider_plain"] > 0.0


def test_references_are_whole_where_captions_are_read_cut(model: Blip, teacher: Teacher) -> None:
    """What is read of a caption has no part in what a said one is compared with."""
    whole = make_dataset(SCENES | {"val_images": 24}).split("val", framing=Framing(64), progress=silent)
    cut = replace(whole, captions=[" ".join(text.split()[:3]) for text in whole.captions])
    assert cut.captions != whole.captions
    found = [
        figures(model, EncodedSplit(one, teacher.tokenizer, teacher.preprocess))
        for one in (whole, replace(cut, references=whole.captions), cut)
    ]
    spoken = [{name: one[name] for name in PLAIN} for one in found]
    assert spoken[0] == spoken[1] != spoken[2]
    assert found[0]["caption_token_accuracy"] != found[1]["caption_token_accuracy"], "tokens are those read"


def test_shared_by_workers_the_figures_stay(
    model: Blip, split: EncodedSplit, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = figures(model, split)
    monkeypatch.setattr(module, "CHUNK", 5)
    assert figures(model, split) == expected
    assert together(2, lambda sharing: figures(model, split, sharing=sharing)) == [expected] * 2


def test_who_sees_nothing_says_the_same_of_all_pictures(model: Blip, split: EncodedSplit) -> None:
    assert len(set(task().captions(Pool(model, split, CPU, size=ALL, blind=True)))) == 1


def test_a_prompt_is_gone_on_from_and_is_no_part_of_the_caption(model: Blip, split: EncodedSplit) -> None:
    pool = Pool(model, split, CPU, size=EvaluationSize(images=3))
    tokenizer = split.tokenizer
    assert tokenizer is not None
    words = tokenizer.captions(["there is a"])[0][1:-1]
    decoder = Decoder(model=model, logits=LOGITS, rows="caption", vocabulary=split.vocabulary, longest=24)
    rows = beam_search(
        decoder, [[split.vocabulary.dec or 0, *words]] * 3, split.images(np.arange(3), CPU), Beams()
    )
    assert task(prompt="there is a").captions(pool) == [tokenizer.decode(row) for row in rows]
    with pytest.raises(
        PluginError, match=r"prompt: got 'a red ring', 4 tokens with \[DEC\]; allowed: fewer than 4"
    ):
        task(prompt="a red ring", shortest=1, longest=4).captions(pool)


def test_a_prompt_of_words_that_the_tokenizer_does_not_know_is_refused(
    model: Blip, split: EncodedSplit
) -> None:
    """Each would be read as [UNK], and captions go on from that."""
    pool = Pool(model, split, CPU, size=EvaluationSize(images=4))
    with pytest.raises(PluginError, match=r"tasks\.captioning\.prompt: got 'a photo of', 'photo' is no word"):
        task(prompt="a photo of").captions(pool)


def test_costs_words_and_names() -> None:
    offers = Blip.offers(small_config())
    made = task()
    assert list(made.serving(offers)) == [
        Serving(mode="image"),
        Serving(mode="decoder", tokens=10, repeats=57),
    ]
    assert list(task(beams=2, longest=9).serving(offers))[1] == Serving(mode="decoder", tokens=4, repeats=16)
    assert made.metrics == ("caption_token_accuracy", *PLAIN)
    assert made.counts == "cider_plain"
    assert "3 beams, 5 to 20 tokens, the teacher's prompt if it has one; words are taken plainly" in str(
        made.remark()
    )
    assert made.settled() == {"tokenizer": "plain"}
    published = task(tokenizer="ptb")
    assert published.metrics[1:] == ("cider", "bleu_4", "rouge_l", "meteor")
    assert "Penn Treebank tokeniser, METEOR, too; cider is what counts" in str(published.remark())
    assert Captioning(Captioning.Config()).settled() == {}


def test_what_is_lacking_is_one_message_and_never_a_missing_figure(
    model: Blip, split: EncodedSplit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caption_metrics, "find_spec", lambda name: None)
    assert "pycocoevalcap, which is not installed" in str(task().machine_lack())
    assert Captioning(Captioning.Config()).machine_lack() is None
    with pytest.raises(
        ResourceError, match=r"tasks\.captioning: captions are scored by the package pycocoevalcap"
    ):
        figures(model, split)
    assert "caption_token_accuracy" in measured(model, split, ALL, ["captioning"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"decode": "greedy"}, r"decode: got 'greedy'; allowed: teacher_forced, beam"),
        ({"beams": 0}, r"beams: got 0; allowed: a whole number >= 1"),
        ({"shortest": 21}, r"tasks\.captioning\.shortest: got 21 with longest 20; allowed: at most that"),
        ({"spice": "x.jar"}, r"tasks\.captioning\.spice: got a jar with tokenizer plain"),
        ({"prompt": 3}, r"prompt: got 3; allowed: a text"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(PluginError, match=message):
        task(**options)


def test_a_broken_model_is_measured(split: EncodedSplit) -> None:
    broken = Blip(small_config()).eval()
    with torch.no_grad():
        broken.text_network.words.weight.fill_(float("nan"))
    found = figures(broken, split)
    assert set(found) == {"caption_token_accuracy", *PLAIN}
    assert found["bleu_4_plain"] < 10
