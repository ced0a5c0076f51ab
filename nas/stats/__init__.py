"""Statistics that any package may use: intervals, resampling, power."""
