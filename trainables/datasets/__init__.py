"""Data sets, by the name that `dataset.kind` or `--dataset KIND:...` gives."""

from spaces.plugins import Table

DATASETS: Table = {
    "jsonl": "trainables.datasets.jsonl:JsonlDataset",
    "scenes": "trainables.datasets.scenes.dataset:ScenesDataset",
}
