"""Models of the error that searchers and schedulers ask."""
