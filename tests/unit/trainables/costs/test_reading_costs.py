"""A student that reads its teacher when it is deployed costs what both cost; alone it costs what it is."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.trainables.costs.subjects import ALL, SMALL, subject_of
from tests.unit.trainables.costs.test_static_costs import macs_by_hand, params_by_hand
from tests.unit.trainables.reader import IMAGE, KIND, LOGITS, TEXT, ReaderArchitecture, installed
from trainables.costs import COSTS
from trainables.costs.latency import measure_whole
from trainables.costs.static import measure_static
from trainables.costs.store import CostStore
from trainables.costs.subject import Subject, reading, source_of
from trainables.costs.target import Target
from trainables.families.base import Blueprint
from trainables.signals import Serving, Want, Wants
from trainables.tasks.base import wants_of
from trainables.tasks.evaluation import make_tasks

TEACHER = Blueprint("blip", SMALL)
E, FILES = SMALL.embedding, 1000
BOTH = ReaderArchitecture(image=E, text=E, embedding=4)
SEEING = ReaderArchitecture(image=E, text=0, embedding=4, classes=3, meaning="three")


@pytest.fixture(autouse=True)
def reader() -> Iterator[None]:
    with installed():
        yield


def of(architecture: ReaderArchitecture, wants: Wants, *servings: Serving) -> Subject:
    blueprint = Blueprint(KIND, architecture).deployed(wants)
    alone = Subject(blueprint=blueprint, servings=servings, tokenizer_bytes=FILES)
    return reading(alone, source_of(blueprint, wants), TEACHER)


def retrieval() -> Subject:
    return of(BOTH, frozenset({IMAGE, TEXT}), Serving(mode="image"), Serving(mode="text"))


def test_costs_are_the_sums_of_the_student_and_of_what_it_reads() -> None:
    subject = retrieval()
    teacher, mine = params_by_hand(SMALL, ("retrieval",)), 2 * (E * 4 + 4)
    costs, alone = measure_static(subject), measure_static(subject.head)
    assert (costs.params, alone.params) == (teacher + mine, mine)
    macs = macs_by_hand(SMALL, ("retrieval",))
    assert costs.flops_by_mode == {
        "image": 2 * E * 4,
        "text": 2 * E * 4,
        "teacher.image": 2 * macs["image"],
        "teacher.text": 2 * macs["text"],  # over the longest text that the teacher takes
    }
    assert alone.flops_by_mode == {"image": 2 * E * 4, "text": 2 * E * 4}
    assert costs.flops == sum(costs.flops_by_mode.values())
    assert costs.size_mib == (4 * (teacher + mine) + FILES) / 2**20  # the tokenizer once
    assert alone.size_mib == 4 * mine / 2**20  # the teacher reads the texts
    for name in ("params", "flops", "size_mib"):
        assert COSTS[name](subject) == getattr(costs, name)


def test_only_the_modes_that_are_read_are_passed_and_a_text_is_as_long_as_the_task_has_it() -> None:
    seen = of(SEEING, frozenset({LOGITS}), Serving(mode="image"))
    assert seen.reads is not None
    assert [(one.mode, one.tokens) for one in seen.reads.servings] == [("image", 0)]
    assert set(measure_static(seen).flops_by_mode) == {"image", "teacher.image"}
    texts = params_by_hand(SMALL, ("retrieval",)) - measure_static(seen.reads).params
    D, V, inner = 32, SMALL.vocabulary.size, 128
    layer = 4 * (D * D + D) + 2 * D + 2 * D * inner + inner + D + 2 * D
    assert (
        texts == V * D + SMALL.max_tokens * D + 2 * D + 2 * layer + D * E + E
    )  # the text side is left behind
    assert seen.reads.files_bytes == seen.files_bytes == 0
    assert measure_static(seen).flops_by_mode["image"] == 2 * (E * 4 + 4 * 3)
    short = of(BOTH, frozenset({TEXT}), Serving(mode="text", tokens=5))
    assert short.reads is not None
    assert [(one.mode, one.tokens) for one in short.reads.servings] == [("text", 5)]


def test_a_tokenizer_stays_with_a_student_that_reads_texts_itself() -> None:
    own = subject_of(SMALL, "retrieval", tokenizer_bytes=FILES)
    both = reading(own, frozenset({IMAGE}), TEACHER)
    assert both.reads is not None
    assert (both.files_bytes, both.reads.files_bytes) == (FILES, 0)


def test_what_is_read_in_training_alone_is_no_cost() -> None:
    wants = wants_of(make_tasks({name: {} for name in ALL}).values())
    assert source_of(TEACHER, wants) == frozenset()  # though its negatives are drawn by what the teacher says
    mined = frozenset({Want("fused", "labels")})
    assert TEACHER.on_meta().inputs(mined).source
    subject = subject_of(SMALL, *ALL)
    assert reading(subject, frozenset(), TEACHER) is subject
    assert subject.head is subject


def test_a_signal_that_the_teacher_does_not_say_is_told() -> None:
    with pytest.raises(ValueError, match=r"reads image\.depth, which its teacher does not say"):
        reading(retrieval().head, frozenset({Want("image", "depth")}), TEACHER)


def test_every_pass_of_both_is_really_run() -> None:
    latency = measure_whole(retrieval(), rounds=2)
    assert set(latency.modes) == {"image", "text", "teacher.image", "teacher.text"}
    assert latency.modes["teacher.image"] > latency.modes["image"] > 0


def test_the_teachers_part_is_kept_once_for_all_students(tmp_path: Path) -> None:
    store = CostStore(tmp_path)
    wide = of(
        replace(BOTH, embedding=8), frozenset({IMAGE, TEXT}), Serving(mode="image"), Serving(mode="text")
    )
    first, second = retrieval(), wide
    costs = [store.static(subject) for subject in (first, second, first.head)]
    assert len(list(tmp_path.glob("static-*"))) == 3  # two students, one teacher
    assert costs[0] == measure_static(first)
    assert costs[1].params - costs[0].params == 2 * (E * 4 + 4)
    assert costs[2] == measure_static(first.head)
    latency, alone = store.latency(first), store.latency(first.head)
    assert first.reads is not None
    assert latency.latency_ms == pytest.approx(alone.latency_ms + store.latency(first.reads).latency_ms)
    assert store.table(Target()).known(first) == latency
    assert store.table(Target()).known(second) is None  # its own passes are others
    assert {mode: time for mode, time in latency.modes.items() if mode in alone.modes} == alone.modes
