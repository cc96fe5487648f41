"""The figures of a run: each file has an *info* (frozen data, tested by equality) and a *draw* (plotly)."""
