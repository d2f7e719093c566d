# `make profile` and `make test` are all a newcomer needs. Both make .venv on first use.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
BATCH ?= 16
FUZZ_S ?= 20
# The oldest transformers that pyproject.toml takes, and the hub's client that it asks for.
TRANSFORMERS ?= 5.17.0
HUB ?= huggingface-hub<2
MODELS := $(VENV)-transformers-$(TRANSFORMERS)
LINES_COUNTED := tests/integration/test_bad_input.py tests/integration/test_doctor.py
PYTEST := -m pytest -n 2 --dist worksteal

.PHONY: profile test test-slow test-long test-command test-models fuzz lint clean

profile: $(VENV)/.installed
	$(BIN)/layerscope profile --batch $(BATCH)

test: $(VENV)/.installed-dev
	$(BIN)/python $(PYTEST)

# What takes minutes: compiling models, clusters, TensorBoard's own plugin. A file stays with one worker: what its
# tests share takes longest to make.
test-slow: $(VENV)/.installed-dev
	$(BIN)/python $(PYTEST:worksteal=loadfile) -m 'slow and not long'

# More programs under `layerscope run`, more models compiled.
test-long: $(VENV)/.installed-dev
	$(BIN)/python $(PYTEST:worksteal=loadfile) -m long

# Every test that starts `layerscope`: for a new build of torch. Where lines on the terminal are counted each
# command is a fresh process, imports included; elsewhere they fork from one that has done the imports.
test-command: $(VENV)/.installed-dev
	LAYERSCOPE_TESTS_FRESH=1 $(BIN)/python $(PYTEST) -m 'command and not slow' $(LINES_COUNTED)
	$(BIN)/python $(PYTEST) -m 'command and not slow' $(LINES_COUNTED:%=--ignore=%)

# Every test that builds or runs a model, with another transformers in an environment of its own.
test-models: $(MODELS)/.installed
	$(MODELS)/bin/python $(PYTEST) -m 'models and not slow'

# Some time of hostile bytes for the trace reader.
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

# The packages that differ are its own; all others, and layerscope, are those of $(VENV), which stays as it is.
$(MODELS)/.installed: $(VENV)/.installed-dev
	$(BIN)/python -m venv --clear --without-pip $(MODELS)
	$(BIN)/python -c 'import sysconfig; print("import site; site.addsitedir(%r)" % sysconfig.get_path("purelib"))' \
		> "$$($(MODELS)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/rest.pth"
	$(BIN)/python -m pip --python $(MODELS)/bin/python install --quiet \
		'transformers==$(TRANSFORMERS)' '$(HUB)'
	touch $@

clean:
	rm -rf $(VENV) $(VENV)-transformers-* build dist
