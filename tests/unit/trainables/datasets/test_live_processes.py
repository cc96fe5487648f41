"""Processes that decode pictures ahead of a training: one is lost, or a picture cannot be decoded in it."""

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from spaces.errors import DatasetError, ResourceError
from tests.unit.trainables.datasets.formats.made_data import png
from trainables.datasets import live
from trainables.datasets.live import Decoder, LivePixels
from trainables.preprocess import Framing

FRAMING = Framing(8)


@dataclass(frozen=True)
class Kept:
    """A picture in memory; the system kills who reads it, as often as a file says."""

    number: int
    kills: Path

    def content(self) -> bytes:
        left = int(self.kills.read_text() or 0) if self.kills.exists() else 0
        if left:
            self.kills.write_text(str(left - 1))
            os.kill(os.getpid(), signal.SIGKILL)
        return png(self.number)


@dataclass(frozen=True)
class Gone:
    """A picture whose shard is gone."""

    def content(self) -> bytes:
        raise DatasetError("train-00003.arrow: is not there any more.\nPrepare the data again.")


def batches_of(pixels: LivePixels) -> Iterator[np.ndarray]:
    """Yield all pictures, one a batch, as a training reads them."""
    batches = [{"picture": np.array([row])} for row in range(len(pixels))]
    never = np.zeros((1, 1), dtype=np.int64)
    for batch in pixels.ahead(iter(batches), lambda batch: [(batch["picture"], never)], seed=5):
        yield pixels[batch["picture"]][0]


def epoch(pixels: LivePixels) -> list[np.ndarray]:
    return list(batches_of(pixels))


def test_lost_processes_are_replaced_a_few_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kills, others = tmp_path / "kills", set(multiprocessing.active_children())
    places = [Kept(number, kills if number == 3 else tmp_path / "none") for number in range(6)]
    decoder = Decoder(places=places, framing=FRAMING)
    want = [decoder.one(row) for row in range(6)]
    pixels = LivePixels(decoder, workers=1)

    kills.write_text("1")
    monkeypatch.setattr(live, "RESTARTS", 0)
    told = (
        r"^dataset\.workers: a process that decodes .* Lower it from 1 \(with 0 the training decodes itself\)"
    )
    with pytest.raises(ResourceError, match=told):
        epoch(pixels)

    kills.write_text("1")
    monkeypatch.setattr(live, "RESTARTS", 1)
    assert np.array_equal(epoch(pixels), want), "neither this loss nor the one in the training before matters"
    assert "new ones are started (1 of 1)" in capsys.readouterr().err
    assert len(set(multiprocessing.active_children()) - others) == 1, "of those before none is left"
    assert np.array_equal(epoch(pixels), want)


def test_a_process_that_is_killed_while_it_hands_over_pixels_is_replaced(tmp_path: Path) -> None:
    others = set(multiprocessing.active_children())
    places = [Kept(number, tmp_path / "none") for number in range(6)]
    decoder = Decoder(places=places, framing=Framing(512))  # more than fits into a pipe
    pixels = LivePixels(decoder, workers=1)
    found, want = batches_of(pixels), [decoder.one(row) for row in range(6)]
    assert np.array_equal(next(found), want[0])
    time.sleep(0.5)  # until it has begun to write the second; if it has not, it is lost all the same
    (process,) = set(multiprocessing.active_children()) - others
    process.kill()
    process.join()
    assert np.array_equal(list(found), want[1:])


@pytest.mark.parametrize("workers", [0, 1])
def test_what_is_wrong_with_a_picture_comes_back_as_it_was_said(tmp_path: Path, workers: int) -> None:
    good = Kept(1, tmp_path / "none")
    pixels = LivePixels(Decoder(places=[good, Gone(), good], framing=FRAMING), workers=workers)
    with pytest.raises(DatasetError) as caught:
        epoch(pixels)
    assert str(caught.value) == "train-00003.arrow: is not there any more.\nPrepare the data again."
