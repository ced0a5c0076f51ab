"""Integrations with other tools: Ray Tune, trackers of experiments, notebooks."""
