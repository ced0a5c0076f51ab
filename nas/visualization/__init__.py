"""Plots, and drawings of networks."""
