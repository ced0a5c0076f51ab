PYTHON ?= python
JOBS ?= auto

.PHONY: test test-all test-lowest audit lint docs bench same-results

test:  ## the quick tests, under two minutes
	$(PYTHON) -m pytest -q -n $(JOBS) --dist loadfile -m "not slow"

test-all: JOBS = $$(($$(getconf _NPROCESSORS_ONLN) + 1))  # many tests wait for processes of their own
test-all:  ## every test; files of slow tests first, as tests/conftest.py has them
	$(PYTHON) -m pytest -q -n $(JOBS) --dist loadfile --no-loadscope-reorder

test-lowest:  ## the quick tests on the lowest versions that pyproject.toml allows; torch as pip finds it
	$(PYTHON) -m venv build/lowest
	build/lowest/bin/pip install -q uv
	build/lowest/bin/uv pip compile -q --no-deps --no-annotate --resolution lowest-direct --extra dev \
		pyproject.toml | grep -v "^torch==" > build/lowest.txt
	build/lowest/bin/pip install -q -c build/lowest.txt -e ".[dev]"
	$(MAKE) test PYTHON=build/lowest/bin/python

audit:  ## what the databases of advisories say of the versions that are installed
	$(PYTHON) -m venv build/audit
	build/audit/bin/pip install -q pip-audit
	$(PYTHON) -m pip freeze --exclude-editable > build/installed.txt
	build/audit/bin/pip-audit --no-deps --disable-pip -r build/installed.txt

lint:  ## style and types
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy

docs:  ## the pages, into site/; warnings are errors
	$(PYTHON) -m mkdocs build --strict

PROPOSALS ?= 200
same-results:  ## compare with another commit: make same-results BASE=commit; exit code 1 where results differ
	$(PYTHON) benchmarks/same_results.py --base $(BASE) --proposals $(PROPOSALS)

NEED_DATA = study analysis_macro full_recipe rate_cycles same_results train_table
TAKE_HOURS = mutation
NEED_GPU = gpu gpu_parts gpu_devices
bench:  ## the benchmarks that ask for no data and no GPU, one after the other
	for script in $(filter-out $(NEED_DATA:%=benchmarks/%.py) $(TAKE_HOURS:%=benchmarks/%.py) $(NEED_GPU:%=benchmarks/%.py),$(wildcard benchmarks/*.py)); do \
		echo "== $$script"; $(PYTHON) $$script || exit 1; done
