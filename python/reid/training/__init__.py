"""The loop that every method runs in: rounds, checkpoints, the run folder, the log."""
