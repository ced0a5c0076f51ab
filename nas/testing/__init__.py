"""Checks for code of your own: module types, searchers and data keep the contracts that `nas` relies on.

Call them from your tests; they raise AssertionError with the point that is broken."""

from nas.testing.data_check import check_data
from nas.testing.module_check import check_module
from nas.testing.searcher_check import check_searcher

__all__ = ["check_data", "check_module", "check_searcher"]
