"""Two networks, or two runs, side by side."""
