"""Schedulers decide which trainings go on: successive halving."""
