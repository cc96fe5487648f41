"""Signals: what is shielded is done as a whole, what was to be ignored stays ignored, and nobody else takes them."""

import os
import signal
import threading

import pytest

from spaces.interruption import Interrupted, exit_code_of, handled, kept_handlers, quitting, shielded


def kill(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


def test_a_signal_waits_for_the_end_of_what_is_shielded() -> None:
    done = []

    def work() -> None:
        with quitting(), shielded():
            with shielded():
                kill(signal.SIGTERM)
            done.append("inner")
            kill(signal.SIGTERM)
            done.append("outer")

    with pytest.raises(Interrupted) as caught:
        work()
    assert done == ["inner", "outer"]
    assert caught.value.exit_code == exit_code_of(caught.value) == 143
    with shielded():
        pass  # it was raised once, and is forgotten


def test_pythons_own_interruption_is_that_of_ctrl_c() -> None:
    assert exit_code_of(KeyboardInterrupt()) == 130


def test_what_nohup_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with quitting():
            kill(signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_nobody_else_takes_sigterm_meanwhile() -> None:
    heard: list[int] = []
    plain = signal.signal
    with handled(lambda number, frame: heard.append(number)):
        with kept_handlers():
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        kill(signal.SIGTERM)
    assert heard == [signal.SIGTERM]
    assert signal.signal is plain


def test_beside_the_main_thread_nothing_is_touched() -> None:
    before, seen = signal.getsignal(signal.SIGTERM), list[object]()

    def visit() -> None:
        with quitting(), kept_handlers(), shielded():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=visit)
    thread.start()
    thread.join()
    assert seen == [before]
