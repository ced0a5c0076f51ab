"""A search: its settings, its loop, its callbacks and its evaluators."""
