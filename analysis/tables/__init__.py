"""How tables of a run are put together."""
