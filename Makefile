# Everything runs in a virtual environment of its own, .venv; all it takes is Python 3.11 or newer and make.
#
#   make quickstart   the main experiment in miniature
#   make test         the tests
#   make check        the tests at full counts
#   make lint         style, types and layers
#   make clean        remove .venv and what tools left behind

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet -c constraints.txt

.PHONY: quickstart test check lint clean
.NOTPARALLEL:

quickstart: $(VENV)/installed-bench
	$(BIN)/centralpath quickstart

test: $(VENV)/installed-dev
	$(BIN)/python -m pytest -n 2 -m 'not full'

check: $(VENV)/installed-dev
	$(BIN)/python -m pytest -n 2 -m ''

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .ruff_cache .hypothesis .import_linter_cache

# A stamp says what is installed; it is older than its sources once these change.
$(VENV)/created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "centralpath needs Python 3.11 or newer; name one: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(VENV)/installed-bench: $(VENV)/created pyproject.toml constraints.txt
	@echo "installing the packages into $(VENV): some minutes, once"
	$(PIP) -e '.[bench]'
	@touch $@

$(VENV)/installed-dev: $(VENV)/created pyproject.toml constraints.txt
	@echo "installing the packages and the developers' tools into $(VENV): some minutes, once"
	$(PIP) -e '.[dev]'
	@touch $(VENV)/installed-bench $@
