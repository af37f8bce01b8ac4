# The two commands are `make demo` and `make test`; each sets up everything it needs.
# On Windows or without make: read the recipes, they are plain commands.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PYTEST_WORKERS ?= 2

.PHONY: help install demo test test-all lint format docs mutants clean

help:  ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(READY): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) not found: install Python 3.11 or run 'make PYTHON=/path/to/python3.11 ...'" >&2; exit 1; }
	@echo "installing into $(VENV): 3.5 GB, a few minutes the first time"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@# Two OpenCV builds share one folder; the headless one must be on top (no libGL on servers).
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --force-reinstall opencv-python-headless==5.0.0.93
	@touch $@

install: $(READY)  ## set up .venv and nothing more

demo: $(READY)  ## curate, train, distil, generate, evaluate and report, small (about 10 minutes on 2 cores)
	$(BIN)/lipforcing demo

test: $(READY)  ## the test suite (under 20 minutes on 2 cores)
	$(BIN)/python -m pytest -n $(PYTEST_WORKERS) --dist loadfile

test-all: $(READY)  ## the test suite with the slow tests
	$(BIN)/python -m pytest -m "not gpu and not weights"

lint: $(READY)  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(READY)  ## write anew what the papers derive from the code: tiers, corpora, the data dictionary
	$(BIN)/python -m lipforcing_core.seams.tiers README.md
	$(BIN)/python -m lipforcing_core.corpora.table docs/data-teams.md
	$(BIN)/lipforcing warehouse dictionary -o docs/data_dictionary.md

mutants:  ## plant faults in PACKAGE=lipforcing_core/... and count which ones its tests notice
	@test -n "$(PACKAGE)" || { echo "name a package: make mutants PACKAGE=lipforcing_core/diffusion [SAMPLE=200]" >&2; exit 1; }
	@$(MAKE) --no-print-directory install
	$(BIN)/python -m tests.mutation $(PACKAGE) $(if $(SAMPLE),--sample $(SAMPLE))

format: $(READY)  ## let ruff format and fix
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:  ## remove runs/ and state/, the record of all runs in the warehouse included (keeps .venv)
	rm -rf runs state build *.egg-info
