"""Grades: how far a claim reaches, and which gates decide it."""
