"""Dimension letters used in names and docstrings of this room.

A tensor's name ends in its shape: `logits_BC`, `tokens_BPD`.

| letter | dimension |
| --- | --- |
| B | batch: examples |
| N | rows of a fused pass: positives first, then negatives |
| T | text tokens, padding included |
| P | image tokens, class token included |
| D | width of an encoder |
| E | width of the joint embedding |
| H | attention heads |
| L | layers |
| C | classes |
| V | vocabulary |
"""
