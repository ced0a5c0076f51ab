"""Builders and places that several test files share."""
