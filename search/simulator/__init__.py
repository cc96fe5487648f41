"""Searches on a virtual clock: the searchers and schedulers of real runs, driven over a table of known results."""
