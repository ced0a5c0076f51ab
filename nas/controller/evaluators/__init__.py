"""Evaluators train candidates: in this process, or on Ray."""
