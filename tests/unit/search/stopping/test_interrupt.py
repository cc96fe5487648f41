"""Signals: the first asks, the second forces, and the old handlers come back."""

import os
import pickle
import signal
import threading

import pytest

from search.stopping.interrupt import Interrupt
from search.tune.tuner import SearchStopper


def test_the_first_signal_asks_and_is_announced_once(capfd: pytest.CaptureFixture[str]) -> None:
    with Interrupt(notice="ending") as interrupt:
        stopper = SearchStopper(lambda: interrupt.requested)
        assert not stopper.stop_all()
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupt.requested
        assert stopper.stop_all()
        assert not stopper("trial", {})
    assert capfd.readouterr().err == "\nending\n"
    assert interrupt.exit_code == 130


def test_the_second_signal_forces() -> None:
    with Interrupt() as interrupt:
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert interrupt.exit_code == 143


def test_the_old_handlers_come_back() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(RuntimeError), Interrupt() as interrupt:
        raise RuntimeError
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    assert interrupt.exit_code == 0


def test_ray_can_pickle_the_stopper_while_it_is_in_use() -> None:
    with Interrupt(notice="x") as interrupt:
        assert not pickle.loads(pickle.dumps(SearchStopper(lambda: interrupt.requested))).stop_all()


def test_beside_the_main_thread_no_signal_is_listened_to() -> None:
    before, entered = signal.getsignal(signal.SIGINT), list[object]()

    def enter() -> None:
        with Interrupt() as interrupt:
            entered.extend([signal.getsignal(signal.SIGINT), interrupt.requested, interrupt.exit_code])

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert entered == [before, False, 0]


@pytest.mark.parametrize(
    ("number", "code", "name"),
    [(signal.SIGINT, 130, "Ctrl-C"), (signal.SIGTERM, 143, "SIGTERM"), (signal.SIGHUP, 129, "SIGHUP")],
)
def test_every_signal_asks_first_and_has_its_exit_code(number: signal.Signals, code: int, name: str) -> None:
    before = signal.signal(
        number, signal.SIG_DFL
    )  # under nohup the suite ignores SIGHUP, and so does what it tests
    try:
        with Interrupt() as interrupt:
            os.kill(os.getpid(), number)
            assert interrupt.requested
    finally:
        signal.signal(number, before)
    assert (interrupt.exit_code, interrupt.name) == (code, name)


def test_where_it_says_at_once_the_first_signal_forces() -> None:
    with Interrupt(notice="ending") as interrupt:
        with pytest.raises(KeyboardInterrupt), interrupt.at_once():
            os.kill(os.getpid(), signal.SIGTERM)
        assert interrupt.exit_code == 143


def test_a_notice_without_a_terminal_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", None)
    with Interrupt(notice="ending") as interrupt:
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupt.requested
