"""What several seeds say together: cells of a grid, arms of an ablation, intervals and verdicts."""
