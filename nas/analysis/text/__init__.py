"""The analysis as text and as JSON."""
