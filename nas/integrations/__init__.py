"""Other tools beside nas: Ray Tune, trackers of experiments, notebooks."""
