"""Comparison of two networks, or of two runs."""
