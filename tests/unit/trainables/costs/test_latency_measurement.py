"""Latency: how passes are timed and added up, and that measuring leaves the process as it was."""

from dataclasses import replace
from itertools import count

import pytest
import torch

from tests.unit.trainables.costs.subjects import ALL, SMALL, passes, subject_of
from trainables.costs import COSTS
from trainables.costs import latency as latencies
from trainables.costs.blocks import Counted, TimedPass, blocks_of, different, whole_passes
from trainables.costs.hardware import hardware
from trainables.costs.latency import BURST, FEWEST, Latency, added_up, measure_whole, timed
from trainables.costs.runtimes import Run
from trainables.costs.target import Target
from trainables.families.base import Blueprint, Family
from trainables.families.blip.architecture import EncoderConfig
from trainables.families.blip.model import Blip

SUBJECT = subject_of(SMALL, *ALL)
RETRIEVAL = subject_of(SMALL, "retrieval")
MODES = {"answer", "decoder", "fused", "image", "text"}


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The mode of every pass that was run, in order."""
    found: list[str] = []
    real = Blip.run_pass

    def told(model: Blip, mode: str, inputs: dict[str, torch.Tensor]) -> object:
        found.append(mode)
        return real(model, mode, inputs)

    monkeypatch.setattr(Blip, "run_pass", told)
    return found


class Injected:
    """A clock that says given times, over and over."""

    def __init__(self, *times: float) -> None:
        self.asked, self._times = 0, times

    def __call__(self, run: Run) -> float:
        """Run once, and return the next time."""
        run()
        self.asked += 1
        return self._times[(self.asked - 1) % len(self._times)]


def test_a_latency_tells_how_it_was_measured() -> None:
    latency = measure_whole(SUBJECT, rounds=3)
    assert latency.samples == 3
    assert not latency.composed
    assert (latency.dtype, latency.threads, latency.batch, latency.runtime) == ("float32", 1, 1, "eager")
    assert latency.device == hardware()["cpu"]
    assert set(latency.modes) == MODES
    assert all(time > 0 for time in latency.modes.values())
    assert latency.latency_ms == pytest.approx(sum(latency.modes.values()))
    assert latency.spread_ms >= 0
    assert Latency.from_dict(latency.to_dict()) == latency


def test_low_percentiles_count_as_often_as_a_pass_is_run_and_ranges_add_up_as_squares() -> None:
    once, twice = (TimedPass(blueprint=Blueprint("blip", SMALL), mode=mode) for mode in ("image", "text"))
    counted = [Counted("image", once, 1), Counted("text", twice, 3), Counted("fused", twice, 1)]
    one = [
        float(time) for time in range(1, 102)
    ]  # of 1 to 101 the p-th percentile is 1 + p, the range between quarters 50
    times = {once.digest: one, twice.digest: [10 * time for time in one]}
    latency = added_up(counted, times, Target(), composed=True)
    low = 1.0 + latencies.LOW
    assert latency.modes == pytest.approx({"image": low, "text": 30 * low, "fused": 10 * low})
    assert latency.latency_ms == pytest.approx(41 * low)
    assert latency.spread_ms == pytest.approx(
        (50**2 + (4 * 500) ** 2) ** 0.5
    )  # the same pass does not vary on its own
    assert (latency.samples, latency.composed) == (101, True)
    batch = added_up(counted, times, Target(batch=4), composed=True)
    assert batch.latency_ms == pytest.approx(latency.latency_ms / 4)  # of one example
    assert batch.spread_ms == pytest.approx(latency.spread_ms / 4)


def test_a_value_is_not_moved_by_what_disturbs_most_of_its_times() -> None:
    (one,) = (Counted("image", TimedPass(blueprint=Blueprint("blip", SMALL), mode="image"), 1),)
    quiet = [1.0 + 0.001 * number for number in range(100)]
    loud = [time if number % 10 == 0 else 2.0 * time for number, time in enumerate(quiet)]
    values = [
        added_up([one], {one.timed.digest: times}, Target(), composed=True).latency_ms
        for times in (quiet, loud)
    ]
    assert values[1] == pytest.approx(values[0], rel=0.05)


def test_passes_take_turns_and_the_fastest_of_a_burst_is_a_sample(ran: list[str]) -> None:
    passes = different(whole_passes(RETRIEVAL))
    clock = Injected(0.1)
    found = timed(passes, Target(), clock=clock, rounds=4)
    assert found == {one.digest: [0.1] * 4 for one in passes}
    builds = 2 * latencies.WARM_UP  # of two passes, before each of the four rounds
    assert len(ran) == clock.asked == 4 * (builds + 2 * BURST)
    slow = timed(passes, Target(), clock=Injected(100.0), rounds=2)
    assert all(times == [100.0] * 2 for times in slow.values())


@pytest.mark.parametrize(
    ("target", "largest", "builds"),
    [
        (Target(), latencies.CACHED_BYTES, latencies.BUILDS),
        (Target(), 1, 1),  # weights that lie in no cache
        (Target(runtime="compiled"), latencies.CACHED_BYTES, 1),
    ],
)
def test_models_that_caches_hold_are_built_anew_on_the_way(
    monkeypatch: pytest.MonkeyPatch, target: Target, largest: int, builds: int
) -> None:
    made = []
    real = Blueprint.build

    def told(plan: Blueprint) -> Family:
        made.append(plan)
        return real(plan)

    monkeypatch.setattr(Blueprint, "build", told)
    monkeypatch.setattr(latencies, "CACHED_BYTES", largest)
    monkeypatch.setattr(torch, "compile", lambda module, **_: module)
    found = timed(different(whole_passes(RETRIEVAL)), target, clock=Injected(100.0), rounds=40)
    assert len(made) == builds
    assert all(len(times) == 40 for times in found.values())


def test_the_fastest_run_of_a_burst_counts() -> None:
    (one,) = different(whole_passes(RETRIEVAL))[:1]
    clock = Injected(*[0.1] * latencies.WARM_UP, *range(BURST, 0, -1))
    assert timed([one], Target(), clock=clock, rounds=1)[one.digest] == [1]


def test_whole_passes_take_half_of_their_samples_where_even_and_odd_ones_agree() -> None:
    (one,) = different(whole_passes(RETRIEVAL))[:1]
    steady = timed([one], Target(), clock=Injected(100.0), rounds=100, halve=True)[one.digest]
    falls = count()  # each time 5 % below the one before
    moving = timed([one], Target(), clock=lambda run: 1e6 * 0.95 ** next(falls), rounds=100, halve=True)
    assert 50 <= len(steady) <= 52
    assert len(moving[one.digest]) == 100


def test_slow_passes_end_after_a_while_with_enough_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latencies, "PATIENCE_S", -1.0)
    (one,) = different(whole_passes(RETRIEVAL))[:1]
    assert len(timed([one], Target(), clock=Injected(100.0), rounds=60)[one.digest]) == FEWEST


def test_blocks_are_the_parts_of_all_passes_with_their_counts() -> None:
    # texts of 8 tokens: 7 steps to a caption, 2 to an answer; 2 text layers, of which one looks at the picture
    assert [repeats for _, _, repeats in passes(SUBJECT)] == [2, 7, 1, 1, 1]
    counted = [(one.mode, one.timed.mode, one.runs) for one in blocks_of(SUBJECT)]
    assert sorted(counted) == sorted(
        [
            ("image", "image.ends", 1), ("image", "image.layer", 1),
            ("text", "text.ends", 1), ("text", "text.layer", 2),
            ("fused", "fused.ends", 1), ("fused", "text.layer", 2), ("fused", "text.cross", 1),
            ("decoder", "decoder.ends", 7), ("decoder", "decoder.layer", 14), ("decoder", "text.cross", 7),
            ("answer", "decoder.ends", 2), ("answer", "decoder.layer", 4), ("answer", "text.cross", 2),
        ]
    )  # fmt: skip


def test_students_that_differ_in_depth_or_fusion_share_all_blocks() -> None:
    deeper = replace(
        SMALL, image=replace(SMALL.image, depth=3), text=replace(SMALL.text, depth=4), fusion=(0, 2, 3)
    )
    blocks = [{one.digest for one in different(blocks_of(subject_of(a, *ALL)))} for a in (SMALL, deeper)]
    assert blocks[0] == blocks[1]
    wider = replace(SMALL, image=EncoderConfig(width=64, depth=1, heads=2))
    other = {one.digest for one in different(blocks_of(subject_of(wider, *ALL)))}
    kept = {one.timed.mode for one in blocks_of(SUBJECT) if one.timed.digest in other}
    assert kept == {"text.ends", "text.layer", "fused.ends", "decoder.ends", "decoder.layer"}


def test_number_of_threads_gradients_default_type_and_random_state_are_restored() -> None:
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    torch.set_num_threads(2)
    try:
        measure_whole(SUBJECT, Target(dtype="bfloat16"), rounds=2)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(state, torch.get_rng_state())
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()
    assert torch.get_default_dtype() is torch.float32


def test_number_of_threads_is_restored_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no memory")

    monkeypatch.setattr(Blip, "run_pass", fail)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pytest.raises(RuntimeError, match="no memory"):
            measure_whole(SUBJECT)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_other_types_and_batches_are_really_run(monkeypatch: pytest.MonkeyPatch, dtype: str) -> None:
    seen = set()
    real = Blip.run_pass

    def told(model: Blip, mode: str, inputs: dict[str, torch.Tensor]) -> object:
        seen.update((str(one.dtype), len(one)) for one in inputs.values())
        return real(model, mode, inputs)

    monkeypatch.setattr(Blip, "run_pass", told)
    assert measure_whole(SUBJECT, Target(dtype=dtype, batch=3), rounds=1).dtype == dtype
    assert seen == {(f"torch.{dtype}", 3), ("torch.int64", 3), ("torch.bool", 3)}


def test_a_deeper_image_encoder_takes_longer() -> None:
    deep = subject_of(replace(SMALL, image=EncoderConfig(width=64, depth=12, heads=2)), "retrieval")
    assert (
        measure_whole(deep, rounds=9).modes["image"] > 2 * measure_whole(RETRIEVAL, rounds=9).modes["image"]
    )


def test_the_table_of_costs_gives_the_latency(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latencies, "wall_clock", lambda target: Injected(1.5))
    assert COSTS["latency_ms"](RETRIEVAL) == 3.0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_is_timed_by_its_own_events() -> None:
    passes = different(whole_passes(SUBJECT))
    own = timed(passes, Target(device="cuda"))
    whole = measure_whole(SUBJECT, Target(device="cuda"))
    assert whole.device == torch.cuda.get_device_name()
    assert all(min(times) > 0 for times in own.values())


def test_hardware_is_plain_data() -> None:
    facts = hardware()
    assert set(facts) == {"cpu", "cores", "memory_gib", "gpus", "platform", "python", "torch"}
    assert facts["cores"] >= 1
    assert facts["memory_gib"] > 0
    assert facts["torch"] == torch.__version__
