"""The integer stream against splitmix64 as published, computed here by its closed form."""

from collections import Counter

import numpy as np
import pytest

from trainables.datasets.scenes.integers import IntegerStream

GAMMA = 11400714819323198485  # floor(2**64 / golden ratio), odd


def splitmix64(seed: int, number: int) -> int:
    """Return output `number` (from 1) of the generator of Steele, Lea and Flood seeded with `seed`."""
    z = (seed + number * GAMMA) % 2**64
    z = (z ^ z // 2**30) * 13787848793156543929 % 2**64
    z = (z ^ z // 2**27) * 10723151780598845931 % 2**64
    return z ^ z // 2**31


def test_reference_formula_gives_the_published_outputs() -> None:
    published = {
        0: [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F, 0xF88BB8A8724C81EC],
        1234567: [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431],
    }
    for seed, outputs in published.items():
        assert [splitmix64(seed, n) for n in range(1, 5)] == outputs


def test_stream_without_key_is_splitmix64_of_seed_0() -> None:
    stream = IntegerStream()
    assert [stream.bits() for _ in range(6)] == [splitmix64(0, n) for n in range(1, 7)]


def test_keys_are_folded_into_the_seed_one_after_the_other() -> None:
    seed = 0
    for part in (11, 4, 2**40):
        seed = splitmix64(seed + part, 1)
    stream = IntegerStream(11, 4, 2**40)
    assert [stream.bits() for _ in range(6)] == [splitmix64(seed, n) for n in range(1, 7)]


@pytest.mark.parametrize("key", [(0, 0), (0, 1), (1, 0), (1, 1), (0, 0, 0)])
def test_every_key_has_a_stream_of_its_own(key: tuple[int, ...]) -> None:
    others = [(0, 0), (0, 1), (1, 0), (1, 1), (0, 0, 0)]
    first = {other: IntegerStream(*other).bits() for other in others}
    assert [other for other in others if first[other] == first[key]] == [key]


def test_bounded_draws_take_the_high_bits() -> None:
    stream = IntegerStream()
    expected = [splitmix64(0, n) * bound // 2**64 for n, bound in enumerate((8, 100, 3, 7), start=1)]
    assert [stream.below(bound) for bound in (8, 100, 3, 7)] == expected
    drawn = Counter(stream.between(-2, 2) for _ in range(5000))
    assert set(drawn) == {-2, -1, 0, 1, 2}
    assert all(850 < count < 1150 for count in drawn.values())


def test_chance_is_its_percentage() -> None:
    stream = IntegerStream(3)
    assert 2850 < sum(stream.chance(30) for _ in range(10_000)) < 3150
    assert not any(stream.chance(0) for _ in range(100))
    assert all(stream.chance(100) for _ in range(100))


def test_shuffle_is_fisher_and_yates_and_fair() -> None:
    draws = iter(splitmix64(0, n) for n in range(1, 10))
    order = list(range(6))
    for i in range(5, 0, -1):
        j = next(draws) * (i + 1) // 2**64
        order[i], order[j] = order[j], order[i]
    assert IntegerStream().shuffled(6) == order
    seen = Counter(tuple(IntegerStream(9, k).shuffled(3)) for k in range(6000))
    assert len(seen) == 6
    assert all(850 < count < 1150 for count in seen.values())


def test_grid_is_a_stream_of_its_own_seeded_by_one_draw() -> None:
    stream = IntegerStream()
    grid = stream.grid(50, -8, 8)
    seed = splitmix64(0, 1)
    expected = [splitmix64(seed, n) // 2**32 * 17 // 2**32 - 8 for n in range(1, 51)]
    assert grid.tolist() == expected
    assert grid.dtype == np.int64
    assert stream.bits() == splitmix64(0, 2)
