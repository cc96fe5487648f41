"""What we learned: readers of a run's tables, fronts, figures and the report. No torch, no ray."""
