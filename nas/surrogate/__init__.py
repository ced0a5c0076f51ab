"""Models of the objectives, which searchers and schedulers share."""
