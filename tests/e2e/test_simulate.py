"""`search/simulate.py` from the command line to its files, and how it ends on a mistake."""

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from search.simulate import main
from tests.e2e.runs import PATIENCE_S, ROOT, environment

PROGRAM = ROOT / "search/simulate.py"
GOALS = ("--objectives", "min:val_loss", "min:params[log]")


def write_table(path: Path, candidates: int = 24) -> Path:
    """Write a table of candidates of 3 or 6 epochs: the wider, the better and the more costly."""
    rng = random.Random(0)
    with path.open("w", newline="") as stream:
        written = csv.writer(stream)
        written.writerow(["candidate_id", "epoch", "val_loss", "params", "epoch_cost", "width", "act"])
        for number in range(candidates):
            width, act = rng.choice([8, 16, 32, 64]), rng.choice(["relu", "gelu"])
            for epoch in range(1, rng.choice([3, 6]) + 1):
                loss = 4 / width + 1 / epoch + 0.1 * (act == "relu") + rng.random() / 100
                written.writerow([f"c{number}", epoch, loss, width * width, width / 8, width, act])
    return path


def without_times(result: Any) -> Any:
    """Return a JSON result less the real times of proposals, which no seed repeats."""
    if isinstance(result, dict):
        return {key: without_times(part) for key, part in result.items() if not key.startswith("proposal_ms")}
    return [without_times(part) for part in result] if isinstance(result, list) else result


def test_a_comparison_from_table_to_files_without_torch(tmp_path: Path) -> None:
    table = write_table(tmp_path / "t.csv")
    flags = ["--searcher", "random", "--scheduler", "none", "moasha", "--workers", "3", "--seeds", "3"]
    command = [sys.executable, "-X", "importtime", str(PROGRAM), "--table", table.name, *GOALS, *flags]
    results = []
    for number in (1, 2):
        out = tmp_path / f"{number}.json"
        done = subprocess.run(
            [*command, "--json", out.name, "--set", "moasha.reduction_factor=2"],
            cwd=tmp_path,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if "|" in line}
        assert "search.simulator.simulation" in imported
        assert not imported & {"torch", "timm", "transformers"}
        results.append(json.loads(out.read_text()))
    assert without_times(results[0]) == without_times(results[1])
    full, early = results[0]["engines"]
    assert (full["name"], early["name"]) == ("random", "random + moasha")
    assert full["median"]["share"] == pytest.approx(1.0)
    assert full["median"]["front_found"] == 1.0
    assert full["median"]["compute"] == pytest.approx(results[0]["table"]["full_compute"])
    assert early["median"]["compute"] < full["median"]["compute"]
    assert results[0]["rungs"] == ["1/9", "1/3"]
    assert "searched: width (choice of 4), act (choice of 2)" in done.stdout
    assert "random + moasha" in done.stdout
    pages = sorted(path.name for path in (tmp_path / "runs").iterdir())
    assert pages == ["simulation-2.html", "simulation.html"]
    assert (tmp_path / "runs/simulation.html").read_text().startswith("<!DOCTYPE html>")


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--objectives", "min:val_los"], "no column is called 'val_los'"),
        (["--objectives", "val_loss"], "got 'val_loss'; allowed: min:COLUMN or max:COLUMN"),
        ([*GOALS, "--searcher", "randm"], "Did you mean 'random'?"),
        ([*GOALS, "--scheduler", "mosha"], "Known: asha, moasha, none"),
        ([*GOALS, "--set", "searcher.populaton=3"], "--set random.populaton: got an unknown option"),
        ([*GOALS, "--rungs", "8"], "at which no candidate is judged; measured before the end: 1, 2, 3, 4, 5"),
        ([*GOALS, "--rungs", "1", "1/3"], "allowed: rising epochs (1 3), or rising fractions"),
        ([*GOALS, "--workers", "0"], "--workers: got 0; allowed: above 0"),
        ([*GOALS, "--compute", "nan"], "--compute: got nan; allowed: above 0"),
        ([*GOALS, "--compute", "inf"], "--compute: got inf; allowed: above 0, and finite"),
        ([*GOALS, "--rungs", "1/3", "--scheduler", "none"], "--rungs: got 1/3, but --scheduler none stops nobody"),
        ([*GOALS, "--scheduler", "none", "--set", "scheduler.reduction_factor=2"], "got 'scheduler'; allowed: searcher, random"),
        ([*GOALS, "--json", "one", "--html", "./one"], "got the same file twice; allowed: two files"),
        ([*GOALS, "--seeds", "0"], "--seeds: got 0; allowed: 1 or more"),
        ([*GOALS, "--json", "no/such/folder.json"], "there is no folder no/such"),
        ([*GOALS, "--ignore", "width", "act"], "nothing is searched"),
        ([], "needs --objectives"),
    ],
)  # fmt: skip
def test_a_mistake_ends_with_one_message_and_writes_nothing(
    flags: list[str],
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    write_table(tmp_path / "t.csv")
    assert main(["--table", "t.csv", *flags]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert told in said
    assert "Traceback" not in said
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


def test_ctrl_c_ends_with_130_and_writes_nothing(tmp_path: Path) -> None:
    table = write_table(tmp_path / "t.csv", candidates=300)
    process = subprocess.Popen(
        [sys.executable, str(PROGRAM), "--table", str(table), *GOALS, "--seeds", "100000"],
        cwd=tmp_path,
        env=environment(),
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        # a shell that starts the tests in the background has them ignore Ctrl-C, and their children would inherit that
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    assert "table" in process.stdout.readline()  # it is through with loading
    time.sleep(0.5)
    os.kill(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    assert said.splitlines()[-1] == "interrupted; nothing was written"
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]
