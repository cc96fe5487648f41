"""The files of a run: facts, tables, rungs, and going on with them."""
