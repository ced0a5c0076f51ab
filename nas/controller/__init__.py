"""The search: its settings, its loop and its evaluators."""
