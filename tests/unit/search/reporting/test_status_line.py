"""A line that is rewritten in place on a terminal, and comes seldom elsewhere."""

import io

from search.reporting.status_line import StatusLine


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    now = 50.0

    def __call__(self) -> float:
        return self.now


def test_elsewhere_a_line_is_due_every_ten_seconds() -> None:
    clock, stream = Clock(), io.StringIO()
    line = StatusLine(stream, clock=clock)
    due = []
    for second in range(21):
        clock.now = 50.0 + second
        if line.due:
            due.append(line.elapsed_s)
            line.show(f"{second}")
    line.close(keep=False)
    assert due == [0.0, 10.0, 20.0]
    assert stream.getvalue() == "0\n10\n20\n"


def test_a_terminal_is_left_clean_or_keeps_its_last_line() -> None:
    for keep, end in ((True, "\n"), (False, "\r\x1b[K")):
        stream = Terminal()
        line = StatusLine(stream, columns=lambda: 5)
        line.show("a long line")
        line.close(keep=keep)
        assert stream.getvalue() == f"\r\x1b[Ka lo{end}"
