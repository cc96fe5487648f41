"""The default space with checkpoints that lack a part: what needs it is left out and told, or refused where it is asked for."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from search.inputs.inputs import Inputs
from search.reporting.plan import describe
from search.run_folder.resume import moved
from spaces.errors import SpaceError
from spaces.load import Override, load_space
from tests.house.tree import ROOT
from tests.unit.trainables.teachers.blip.asked import EQUAL, KINDS
from tests.unit.trainables.teachers.published import save
from trainables.teachers.naming import TeacherName

DECODER = {"lm_logit", "decoder_hidden", "decoder_attention"}
CONTRAST = {"itc", "image_embedding", "text_embedding", "itc_logit", "itm", "text_hidden", "text_attention"}
FUSED = {"fused_hidden", "cross_attention"}
LEFT_OUT = {
    "retrieval": DECODER | {"lm", "vqa", "answer_logit"},
    "captioning": CONTRAST | FUSED | {"vqa", "answer_logit"},
    "vqa": CONTRAST | FUSED | DECODER | {"lm"},
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published")
    for task, kind in KINDS.items():
        save(folder / task, *EQUAL, kind=kind)
    rows: list[dict[str, Any]] = []
    for number in range(24):
        Image.new("RGB", (40, 32), (10 * number, 90, 200)).save(folder / f"{number}.png")
        colour = ("red", "blue", "green")[number % 3]
        rows.append(
            {
                "image": f"{number}.png",
                "caption": f"a {colour} {('circle', 'square')[number % 2]}",
                "question": "the left of the square",
                "answer": colour,
                "split": "train" if number < 12 else "val",
            }
        )
    (folder / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


def made(root: Path, teacher: str, *changes: str, **more: Any) -> Inputs:
    data = f"dataset={{kind: jsonl, file: {root / 'pairs.jsonl'}}}"
    return Inputs(
        load_space(ROOT / "spaces" / "dlip.yaml", [data, f"teacher='{teacher}'", *changes]),
        say=more.pop("say", lambda line: None),
        **more,
    )


@pytest.mark.parametrize("task", KINDS)
def test_exactly_what_a_checkpoint_lacks_is_left_out_and_told(root: Path, task: str) -> None:
    inputs = made(root, str(root / task))
    assert list(inputs.students.made) == [task]
    assert set(inputs.left_out) == LEFT_OUT[task]
    told = [line for line in inputs.notes if "is left out and not searched" in line]
    assert len(told) == len(LEFT_OUT[task])
    assert any(
        line.startswith(f"tasks: {task} (all that teacher and data allow; without") for line in inputs.notes
    )


@pytest.mark.parametrize(
    ("task", "change", "told"),
    [
        ("retrieval", "tasks=[captioning]", "tasks.captioning: got captioning, but it needs decoder.logits"),
        ("captioning", "tasks=[retrieval, captioning]", "tasks.retrieval: got retrieval, but it needs"),
        ("vqa", "losses.lm_logit.weight=1", "losses.lm_logit: needs decoder.logits of the teacher"),
        ("captioning", "losses.itc_logit={weight: {log: [1, 2]}}", "losses.itc_logit: needs contrast.temperature"),
        ("retrieval", "objectives={vqa_accuracy: max, params: min}", "objectives.vqa_accuracy: got vqa_accuracy"),
    ],
)  # fmt: skip
def test_a_space_that_asks_for_it_is_refused(root: Path, task: str, change: str, told: str) -> None:
    with pytest.raises(SpaceError) as caught:
        made(root, str(root / task), change)
    assert told in str(caught.value)


def test_together_they_leave_nothing_out(root: Path) -> None:
    inputs = made(root, ",".join(f"{task}={root / task}" for task in KINDS))
    assert sorted(inputs.students.made) == sorted(KINDS)
    assert inputs.left_out == {}
    lines = describe(inputs, measure=False)
    for task in KINDS:
        assert any(f"{task}={root / task} says " in line for line in lines)
    assert sum("pixels are those of BlipImageProcessorPil" in line for line in lines) == 1


def test_a_temperature_is_found_once_told_and_goes_with_the_name(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    name, said = str(root / "retrieval"), list[str]()
    inputs = made(root, name, say=said.append)
    assert any("its checkpoint holds no ITC temperature" in line for line in describe(inputs, measure=False))
    before = inputs.fingerprints["teacher"]
    lines = describe(inputs)
    told = TeacherName.parsed(inputs.trial_teacher(name))
    assert told.whole == name
    assert told.temperature is not None
    assert any(f"ITC temperature {told.temperature:g}, the most likely one" in line for line in lines)
    assert sum("finding its ITC temperature" in line for line in said) == 1
    assert any("pairs of the validation split" in line for line in said)
    assert inputs.fingerprints["teacher"] != before
    again = list[str]()
    kept = made(root, name, say=again.append)
    describe(kept)
    assert kept.fingerprints == inputs.fingerprints
    assert not any("finding its" in line for line in again)
    given = made(root, inputs.trial_teacher(name))
    assert given.fingerprints == inputs.fingerprints


def test_a_resume_has_the_temperature_that_the_run_found(tmp_path: Path) -> None:
    facts = {"objectives": {}, "teacher": {"places": {"/a": "/a,temperature=0.05"}}}
    (tmp_path / "run.json").write_text(json.dumps(facts))
    assert moved(tmp_path, []).places == {"/a": "/a,temperature=0.05"}
    there = [Override("--teacher /b", "teacher", "/b")]
    assert moved(tmp_path, there).places == {"/b": "/b,temperature=0.05"}
    told = [Override("--teacher", "teacher", "/b,temperature=0.1")]
    assert moved(tmp_path, told).places == {}
