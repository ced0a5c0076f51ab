PYTHON ?= python
JOBS ?= auto

.PHONY: test test-all lint docs bench

test:  ## the quick tests, under two minutes
	$(PYTHON) -m pytest -q -n $(JOBS) --dist loadfile -m "not slow"

test-all:  ## every test
	$(PYTHON) -m pytest -q -n $(JOBS) --dist loadfile

lint:  ## style and types
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy

docs:  ## the pages, into site/; warnings are errors
	$(PYTHON) -m mkdocs build --strict

bench:  ## every benchmark, one after the other
	for script in benchmarks/*.py; do echo "== $$script"; $(PYTHON) $$script || exit 1; done
