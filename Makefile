# Everything here sets itself up: `make demo` and `make test` work from a clean clone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PIP := $(BIN)/pip --disable-pip-version-check --quiet
# Named first and pinned: an open range pulls gigabytes of GPU libraries.
TORCH ?= torch==2.13.0

.PHONY: setup demo test lint format commands

setup: $(READY)

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "irr needs Python 3.11 or newer: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	@echo "installing into $(VENV): some minutes, about 1.5 GB"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) install $(TORCH)
	@$(PIP) install --editable ".[dev]"
	@touch $@

demo: $(READY)
	@$(BIN)/python -m eval.demo

test: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/pytest

lint: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: $(READY)
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

commands: $(READY)
	@$(BIN)/python -m eval.commands
