"""Genotypes and search spaces: decisions, YAML, sampling and mutation."""
