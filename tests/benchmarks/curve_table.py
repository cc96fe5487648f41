"""The learning curves of a run as one small table, in the schema that `search/simulate.py` reads.

    python search/run.py --space spaces/dlip.yaml --seed 7 --out runs/curves --set search.trials=105 \\
        --set search.scheduler.rungs='[1,2,3,5]' --set search.scheduler.reduction_factor=1000
    python tests/benchmarks/curve_table.py runs/curves tests/benchmarks/tables/embedded_curves.arrow

With a reduction factor above the number of candidates nobody is stopped, so every curve is whole. That is how the
table beside this file was recorded: 105 students of the embedded teacher, 9 epochs each, 5,187 s of CPU in all.
"""

import argparse
from pathlib import Path

import pyarrow as pa

from search.simulator.recorded_run import load_run

METRICS = ("retention", "mean_recall", "vqa_accuracy", "caption_token_accuracy")
COSTS = ("params", "flops", "latency_ms", "size_mib")


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description="Write the learning curves of a run as one table.")
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    table = load_run(options.run)
    of_row = [i for i in range(len(table)) for _ in range(table.starts[i], table.starts[i + 1])]
    columns = {
        "candidate_id": [table.ids[i] for i in of_row],
        "epoch": table.epochs,
        **{name: table.column(name) for name in (*METRICS, *COSTS)},
        "epoch_cost": table.costs,
    }
    for name in table.fields:
        values = [table.values[i][name] for i in of_row]
        mixed = any(isinstance(value, str) for value in values)
        columns[name] = [str(value) if mixed else value for value in values]
    written = pa.table(columns)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    small = pa.ipc.IpcWriteOptions(compression="zstd")
    with (
        pa.OSFile(str(options.out), "wb") as sink,
        pa.ipc.new_file(sink, written.schema, options=small) as writer,
    ):
        writer.write_table(written)
    print(
        f"{options.out}: {len(table)} candidates, {written.num_rows} rows, {options.out.stat().st_size / 1024:.0f} KiB"
    )


if __name__ == "__main__":
    main()
