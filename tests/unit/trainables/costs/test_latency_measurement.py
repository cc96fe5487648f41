"""Latency: what is recorded, and that measuring leaves the process as it was."""

from dataclasses import replace

import pytest
import torch

from trainables.costs.hardware import hardware
from trainables.costs.latency import REPEATS, WARM_UP, Latency, measure_latency
from trainables.models.blip import Blip
from trainables.models.config import BlipConfig, EncoderConfig, VocabularyConfig

CONFIG = BlipConfig(
    image=EncoderConfig(width=32, depth=1, heads=2),
    text=EncoderConfig(width=32, depth=2, heads=2),
    fusion=(1,),
    embedding=16,
    image_size=32,
    patch_size=16,
    max_tokens=8,
    vocabulary=VocabularyConfig(size=30, pad=0, cls=2, sep=3, dec=4, enc=5),
)


def test_a_latency_tells_how_it_was_measured() -> None:
    latency = measure_latency(CONFIG)
    assert latency.repeats == REPEATS >= 25
    assert (latency.dtype, latency.threads, latency.batch) == ("float32", 1, 1)
    assert latency.device == hardware()["cpu"]
    assert set(latency.modes) == {"image", "text", "fused", "decoder"}
    assert all(time > 0 for time in latency.modes.values())
    assert latency.latency_ms > 0
    assert latency.wall_ms > 0
    assert latency.spread_ms >= 0


def test_median_and_interquartile_range_are_taken_over_the_sums_of_the_modes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    times = iter([(100.0, 100.0)] * 4 * WARM_UP + [(float(r), 2.0 * r) for r in range(5) for _ in range(4)])
    monkeypatch.setattr("trainables.costs.latency._cpu_clock", lambda run: next(times))
    latency = measure_latency(CONFIG, repeats=5)
    assert latency.latency_ms == 4 * 2.0  # sums 0, 4, 8, 12, 16; the warm-up is not among them
    assert latency.spread_ms == 12.0 - 4.0
    assert (latency.wall_ms, latency.wall_spread_ms) == (16.0, 16.0)
    assert latency.modes == dict.fromkeys(("image", "text", "fused", "decoder"), 2.0)


def test_a_dual_encoder_is_timed_on_its_two_modes() -> None:
    assert set(measure_latency(replace(CONFIG, fusion=()), repeats=2).modes) == {"image", "text"}


def test_number_of_threads_and_random_state_are_restored() -> None:
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    torch.set_num_threads(2)
    try:
        measure_latency(CONFIG, repeats=2)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(state, torch.get_rng_state())


def test_number_of_threads_is_restored_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no memory")

    monkeypatch.setattr(Blip, "encode_text", fail)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pytest.raises(RuntimeError, match="no memory"):
            measure_latency(CONFIG, repeats=2)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)


def test_a_deeper_image_encoder_takes_longer() -> None:
    deep = replace(CONFIG, image=EncoderConfig(width=64, depth=12, heads=2))
    assert (
        measure_latency(deep, repeats=9).modes["image"]
        > 2 * measure_latency(CONFIG, repeats=9).modes["image"]
    )


def test_a_shared_core_is_told_from_wall_and_cpu_time() -> None:
    latency = measure_latency(CONFIG, repeats=2)
    assert replace(latency, latency_ms=1.0, wall_ms=1.6).disturbed
    assert not replace(latency, latency_ms=1.0, wall_ms=1.1).disturbed


def test_a_latency_survives_json() -> None:
    latency = measure_latency(CONFIG, repeats=2)
    assert Latency.from_dict(latency.to_dict()) == latency


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_is_timed_by_its_own_events() -> None:
    latency = measure_latency(CONFIG, device="cuda")
    assert latency.device == torch.cuda.get_device_name()
    assert 0 < latency.latency_ms <= 1.5 * latency.wall_ms


def test_hardware_is_plain_data() -> None:
    facts = hardware()
    assert set(facts) == {"cpu", "cores", "memory_gib", "gpus", "platform", "python", "torch"}
    assert facts["cores"] >= 1
    assert facts["memory_gib"] > 0
    assert facts["torch"] == torch.__version__
