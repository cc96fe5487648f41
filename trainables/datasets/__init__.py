"""Data sets, by the name that `dataset.kind` or `--dataset KIND:...` gives."""

from spaces.plugins import Table

DATASETS = Table(
    "datasets",
    {
        "coco": "trainables.datasets.formats.coco:CocoDataset",
        "imagefolder": "trainables.datasets.formats.imagefolder:ImageFolderDataset",
        "jsonl": "trainables.datasets.jsonl:JsonlDataset",
        "objects": "trainables.datasets.objects.dataset:ObjectsDataset",
        "parquet": "trainables.datasets.formats.parquet:ParquetDataset",
        "pictures": "trainables.datasets.formats.plain:PicturesDataset",
        "prepared": "trainables.datasets.prepare.dataset:PreparedDataset",
        "scenes": "trainables.datasets.scenes.dataset:ScenesDataset",
        "tiny_imagenet": "trainables.datasets.formats.tiny_imagenet:TinyImageNetDataset",
    },
)

PLACES = ("file", "root", "image_root")
"""Options of data sets that are places: they may differ between two runs of one data set, and move."""

_FOLDERS = frozenset({"coco", "imagefolder", "parquet", "pictures", "prepared", "tiny_imagenet"})


def place_option(kind: str) -> str:
    """Return the option that `--dataset KIND:PLACE` sets: `root`, or `file` of what has a file, and of kinds not known here."""
    return "root" if kind in _FOLDERS else "file"
