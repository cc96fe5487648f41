"""`latency`: on what a student will run."""

from collections.abc import Callable
from pathlib import Path

import pytest

from spaces.load import dump_space, load_space
from spaces.schema import Space
from spaces.target import AUTO, DEVICES, DTYPES, RUNTIMES
from trainables.costs import target
from trainables.costs.target import Target

Load = Callable[..., Space]
Problems = Callable[..., list[str]]

LAST = "  trials: 8\n"


def with_latency(text: str) -> tuple[str, str]:
    return LAST, f"{LAST}latency: {text}\n"


def test_a_space_without_the_section_has_one_thread_of_the_device_of_its_trials(load: Load) -> None:
    section = load().latency
    assert section.model_dump() == {
        "device": "auto", "runtime": "eager", "dtype": "float32", "batch": 1, "threads": 1, "samples": 100,
    }  # fmt: skip


def test_a_flag_sets_a_part_of_it(load: Load, tmp_path: Path) -> None:
    space = load(overrides=["latency.threads=4", "latency.device=cpu"])
    assert (space.latency.threads, space.latency.device, space.latency.runtime) == (4, "cpu", "eager")
    (tmp_path / "again.yaml").write_text(dump_space(space))
    assert load_space(tmp_path / "again.yaml") == space


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{device: gpu}", "device: got 'gpu'; allowed: auto, cpu, cuda."),
        ("{device: cuda:1}", "device: got 'cuda:1'; allowed: auto, cpu, cuda."),
        ("{runtime: onnx}", "runtime: got 'onnx'; allowed: eager, compiled, onnxruntime."),
        ("{dtype: int8}", "dtype: got 'int8'; allowed: float32, bfloat16, float16."),
        ("{batch: 0}", "batch: got 0; allowed: a whole number"),
        ("{threads: 1.5}", "threads: got 1.5; allowed: a whole number"),
        ("{threads: {choice: [1, 2]}}", "threads: got a domain;"),
        ("{workers: 2}", "workers: got an unknown key"),
    ],
)
def test_what_is_no_target_is_told_with_its_line(problems: Problems, text: str, message: str) -> None:
    (told,) = problems(with_latency(text))
    assert f"latency.{message}" in told


def test_the_words_are_those_that_can_be_measured() -> None:
    assert ((AUTO, *target.DEVICES), target.RUNTIMES, target.DTYPES) == (DEVICES, RUNTIMES, DTYPES)
    assert set(Target().to_dict()) == {"device", "runtime", "dtype", "batch", "threads"}


def test_the_target_is_no_part_of_a_candidate(load: Load, toy) -> None:
    one, other = load(), load(with_latency("{threads: 2, batch: 8}"))
    assert one.build(one.default_values(), toy, 0) == other.build(other.default_values(), toy, 0)
