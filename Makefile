# Everything is installed into .venv, pinned by constraints.txt; nothing else on the machine is touched.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
JOBS ?= 2

.PHONY: demo test lint types unit docs bench clean

demo: $(VENV)/ready
	$(BIN)/python examples/demo.py --out out

test: lint types unit

lint: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/ready
	$(BIN)/mypy

# one thread a worker: several workers with several threads each would fight for the cores
unit: $(VENV)/ready
	OMP_NUM_THREADS=1 $(BIN)/pytest -n $(JOBS) --dist loadfile

# warnings are errors; the gallery is run, one thread a script, with real tables where their folder lies beside the
# repository
ifneq ($(wildcard ../shared/data),)
docs: export PROBMIX_DATA ?= $(abspath ../shared/data)
endif
docs: $(VENV)/docs-ready
	OMP_NUM_THREADS=1 $(BIN)/sphinx-build -W --keep-going -q -j $(JOBS) -d docs/_build/doctrees docs docs/_build/html
	@echo "docs/_build/html/index.html"

# ratios in one run, on a quiet machine
bench: $(VENV)/ready
	$(BIN)/python benchmarks/step.py --rounds 3
	$(BIN)/python benchmarks/scores.py --rows 20000 --rounds 3

# torch comes first and alone: left to the resolver, a range can pull in gigabytes of another build
$(VENV)/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "$$(grep '^torch==' constraints.txt)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	touch $@

# what only the documentation needs, so that tests do without
$(VENV)/docs-ready: $(VENV)/ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[docs]"
	touch $@

clean:
	rm -rf $(VENV) out build *.egg-info .mypy_cache .pytest_cache .ruff_cache
	rm -rf docs/_build docs/_static/made docs/api/generated docs/gallery
