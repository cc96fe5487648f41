"""Data sets in the formats that others publish: class folders, Tiny ImageNet, COCO, Parquet, plain pictures."""
