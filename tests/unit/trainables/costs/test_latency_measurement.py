"""Latency: what is recorded, and that measuring leaves the process as it was."""

from dataclasses import replace

import pytest
import torch

from tests.unit.trainables.costs.subjects import ALL, SMALL, passes, subject_of
from trainables.costs import COSTS
from trainables.costs.hardware import hardware
from trainables.costs.latency import REPEATS, WARM_UP, Latency, measure_latency
from trainables.families.blip.architecture import EncoderConfig
from trainables.families.blip.model import Blip

SUBJECT = subject_of(SMALL, *ALL)
RETRIEVAL = subject_of(SMALL, "retrieval")
MODES = ("answer", "decoder", "fused", "image", "text")


def test_a_latency_tells_how_it_was_measured() -> None:
    latency = measure_latency(SUBJECT)
    assert latency.repeats == REPEATS >= 25
    assert (latency.dtype, latency.threads, latency.batch) == ("float32", 1, 1)
    assert latency.device == hardware()["cpu"]
    assert tuple(latency.modes) == MODES
    assert all(time > 0 for time in latency.modes.values())
    assert latency.latency_ms > 0
    assert latency.wall_ms > 0
    assert latency.spread_ms >= 0


def test_median_and_interquartile_range_are_taken_over_the_sums_of_the_passes_times_their_repeats(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # texts of 8 tokens: 7 steps to a caption, 2 to an answer, one of each other pass: 12 runs an example
    assert [repeats for _, _, repeats in passes(SUBJECT)] == [2, 7, 1, 1, 1]
    times = iter([(100.0, 100.0)] * 5 * WARM_UP + [(float(r), 2.0 * r) for r in range(5) for _ in range(5)])
    monkeypatch.setattr("trainables.costs.latency._cpu_clock", lambda run: next(times))
    latency = measure_latency(SUBJECT, repeats=5)
    assert latency.latency_ms == 12 * 2.0  # sums 0, 12, 24, 36, 48; the warm-up is not among them
    assert latency.spread_ms == 36.0 - 12.0
    assert (latency.wall_ms, latency.wall_spread_ms) == (48.0, 48.0)
    assert latency.modes == {"answer": 4.0, "decoder": 14.0, "fused": 2.0, "image": 2.0, "text": 2.0}
    assert not list(times)  # each pass is run once a repeat, however often it counts


def test_retrieval_alone_is_timed_on_its_two_passes() -> None:
    assert tuple(measure_latency(RETRIEVAL, repeats=2).modes) == ("image", "text")


def test_number_of_threads_and_random_state_are_restored() -> None:
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    torch.set_num_threads(2)
    try:
        measure_latency(SUBJECT, repeats=2)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(state, torch.get_rng_state())


def test_number_of_threads_is_restored_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no memory")

    monkeypatch.setattr(Blip, "run_pass", fail)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pytest.raises(RuntimeError, match="no memory"):
            measure_latency(SUBJECT, repeats=2)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)


def test_a_deeper_image_encoder_takes_longer() -> None:
    deep = subject_of(replace(SMALL, image=EncoderConfig(width=64, depth=12, heads=2)), "retrieval")
    assert (
        measure_latency(deep, repeats=9).modes["image"]
        > 2 * measure_latency(RETRIEVAL, repeats=9).modes["image"]
    )


def test_the_table_gives_the_median(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainables.costs.latency._cpu_clock", lambda run: (1.5, 2.0))
    assert COSTS["latency_ms"](RETRIEVAL) == 3.0


def test_a_latency_survives_json() -> None:
    latency = measure_latency(RETRIEVAL, repeats=2)
    assert Latency.from_dict(latency.to_dict()) == latency


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_is_timed_by_its_own_events() -> None:
    latency = measure_latency(SUBJECT, device="cuda")
    assert latency.device == torch.cuda.get_device_name()
    assert 0 < latency.latency_ms <= 1.5 * latency.wall_ms


def test_hardware_is_plain_data() -> None:
    facts = hardware()
    assert set(facts) == {"cpu", "cores", "memory_gib", "gpus", "platform", "python", "torch"}
    assert facts["cores"] >= 1
    assert facts["memory_gib"] > 0
    assert facts["torch"] == torch.__version__
