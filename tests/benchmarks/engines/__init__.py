"""Parts of the benchmark `search_engines.py`: our searchers and schedulers beside those of other tools."""
