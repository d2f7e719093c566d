# `make profile` and `make test` are all a newcomer needs. Both make .venv on first use.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
BATCH ?= 16
FUZZ_S ?= 60

.PHONY: profile test test-slow fuzz lint clean

profile: $(VENV)/.installed
	$(BIN)/layerscope profile --batch $(BATCH)

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n 2 --dist worksteal

# What takes minutes: compiling models, clusters, TensorBoard's own plugin.
test-slow: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n 2 --dist worksteal -m slow

# A minute of hostile bytes for the trace reader.
fuzz: $(VENV)/.installed-dev
	$(BIN)/python scripts/fuzz_trace.py build/fuzz -max_total_time=$(FUZZ_S) -max_len=8192 \
		-rss_limit_mb=0 -verbosity=0 -print_final_stats=1

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) build dist
