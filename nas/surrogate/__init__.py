"""Models of the objectives, which searchers and schedulers share.

`fit(trials)` answers what error to expect of a network at the end of training, and how surely."""

from nas.surrogate.error_model import ErrorModel, fit

__all__ = ["ErrorModel", "fit"]
