"""Processes that decode pictures ahead of a training: one is lost, or a picture cannot be decoded in it."""

import multiprocessing
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
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


@pytest.fixture(autouse=True)
def as_in_a_trial() -> Iterator[None]:
    """Leave aside how torch tells the main thread of lost processes, by way of a signal: a trial runs in another thread."""
    before = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGCHLD, before)


def epoch(pixels: LivePixels) -> list[np.ndarray]:
    """Return all pictures, one a batch, as a training reads them in a trial."""
    batches = [{"picture": np.array([row])} for row in range(len(pixels))]

    def read() -> list[np.ndarray]:
        ahead = pixels.ahead(
            iter(batches), lambda batch: [(batch["picture"], np.zeros((1, 1), dtype=np.int64))], seed=5
        )
        return [pixels[batch["picture"]][0] for batch in ahead]

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(read).result()


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
    assert len(set(multiprocessing.active_children()) - others) == 1, "of the lost loaders none is left"


@pytest.mark.parametrize("workers", [0, 1])
def test_what_is_wrong_with_a_picture_comes_back_as_it_was_said(tmp_path: Path, workers: int) -> None:
    good = Kept(1, tmp_path / "none")
    pixels = LivePixels(Decoder(places=[good, Gone(), good], framing=FRAMING), workers=workers)
    with pytest.raises(DatasetError) as caught:
        epoch(pixels)
    assert str(caught.value) == "train-00003.arrow: is not there any more.\nPrepare the data again."
