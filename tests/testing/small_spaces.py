"""Spaces so small that tests can search them for real."""

TINY = """
name: tiny
description: Two blocks of two types.
vary: block
stem: {type: conv, width: 4}
modules:
  residual: {}
  fractal: {columns: [1, 2]}
stages:
  - {depth: [1, 2], width: [4, 8]}
head: {type: pool}
"""
LARGER = TINY.replace("{depth: [1, 2], width: [4, 8]}", "{depth: [1, 2, 3], width: [4, 6, 8, 12]}")
