"""Data sets, by the name that `dataset.kind` or `--dataset KIND:...` gives."""

from spaces.plugins import Table

DATASETS = Table(
    "datasets",
    {
        "jsonl": "trainables.datasets.jsonl:JsonlDataset",
        "scenes": "trainables.datasets.scenes.dataset:ScenesDataset",
    },
)
