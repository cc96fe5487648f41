"""Public data sets and own pictures, brought into one sharded Arrow form ahead of a search."""
