"""Kills of a preparation at moments that nobody chose: no shard half done, none done twice, and the same bytes in the end."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.e2e.runs import ROOT, alive, descendants, wait_for_end
from tests.unit.trainables.datasets.prepare import public
from tests.unit.trainables.datasets.prepare.memory import noisy_pictures
from trainables.datasets.prepare.form import PROGRESS, SHARDS

KILLS = 10
PATIENCE_S = 600.0


def test_ten_kills_leave_whole_shards_and_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    table, out, chance = noisy_pictures(tmp_path / "own", 600), tmp_path / "out", random.Random(1)
    words = f"--kind tsv --root {table} --shard-pictures 5 --workers 2 --out {out}".split()
    seen: dict[str, int] = {}
    for _ in range(KILLS):
        process = subprocess.Popen(
            [sys.executable, "-m", "trainables.datasets.prepare", *words],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        before, deadline = len(seen), time.monotonic() + PATIENCE_S
        while process.poll() is None and len(list((out / SHARDS).glob("t*.arrow"))) <= before:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 0.3))
        family = descendants(process.pid)
        process.send_signal(signal.SIGKILL)
        process.wait()
        wait_for_end(family, patience_s=60)
        assert not any(map(alive, family)), "processes that make shards outlive the command"
        now = {path.name: path.stat().st_mtime_ns for path in (out / SHARDS).glob("t*.arrow")}
        kept = {path.stem for path in (out / PROGRESS / "records").glob("*.json")}
        assert all(now[name] == when for name, when in seen.items() if Path(name).stem in kept)
        seen = {name: when for name, when in now.items() if Path(name).stem in kept}
    assert public.prepare("tsv", table, out, "--shard-pictures", "5") == 0
    assert public.prepare("tsv", table, tmp_path / "whole", "--shard-pictures", "5") == 0
    assert public.manifest(out) == public.manifest(tmp_path / "whole")
    for path in (tmp_path / "whole" / SHARDS).iterdir():
        assert path.read_bytes() == (out / SHARDS / path.name).read_bytes()
