"""Kinds of data that can be prepared: name -> the function that lists it, and the flags that it reads."""

KINDS = {
    "coco": "trainables.datasets.prepare.kinds.coco:coco",
    "csv": "trainables.datasets.prepare.kinds.tables:comma_separated",
    "flickr30k": "trainables.datasets.prepare.kinds.coco:flickr30k",
    "folder": "trainables.datasets.prepare.kinds.folder:folder",
    "jsonl": "trainables.datasets.prepare.kinds.tables:json_lines",
    "nlvr2": "trainables.datasets.prepare.kinds.nlvr2:nlvr2",
    "parquet": "trainables.datasets.prepare.kinds.columns:parquet",
    "tsv": "trainables.datasets.prepare.kinds.tables:tab_separated",
    "vqav2": "trainables.datasets.prepare.kinds.vqav2:vqav2",
    "webdataset": "trainables.datasets.prepare.kinds.webdataset:webdataset",
}

_SHARES = frozenset({"val_ratio", "test_ratio", "seed"})
_COLUMNS = frozenset({"image_root", "image_column", "caption_column", "split_column"}) | _SHARES

READS = {
    "coco": frozenset({"image_root", "annotations", "split", "year", "test_ratio", "seed"}),
    "csv": _COLUMNS,
    "flickr30k": frozenset({"image_root", "annotations"}),
    "folder": _SHARES,
    "jsonl": _COLUMNS,
    "nlvr2": frozenset({"image_root"}),
    "parquet": _COLUMNS,
    "tsv": _COLUMNS,
    "vqav2": frozenset({"image_root", "vg", "test_ratio", "seed"}),
    "webdataset": _SHARES,
}
"""Flags of `Asked` that each kind reads, beside those that all do; another one is refused, so that none is ignored."""
