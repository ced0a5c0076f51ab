"""Paired comparisons of module types."""
