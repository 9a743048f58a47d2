# `make demo` and `make test` do all set-up themselves. PYTHON chooses the interpreter.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export TF_CPP_MIN_LOG_LEVEL ?= 3

.PHONY: demo test test-slow lint format docs benchmark clean

# What the package needs, and on top of it what its tests need: a first `make demo` waits for less.
$(VENV)/package: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

$(VENV)/installed: $(VENV)/package
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	touch $@

# The whole walk on the data inside the package: train, evaluate, convert, export, verify, report.
demo: $(VENV)/package
	$(BIN)/python examples/walk.py

# The aim is 12 minutes on 2 cores without AVX-512; the slowest tests are listed at the end.
test: $(VENV)/installed
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow" --durations=15

test-slow: $(VENV)/installed
	$(BIN)/python -m pytest -n 2 --dist worksteal -m slow

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: $(VENV)/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The documentation as a site: build/site/index.html. Strict: a link that leads nowhere is an error.
docs: $(VENV)/installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# The figures of docs/benchmarks.md: 10 epochs on the full data set, half an hour on 2 cores.
benchmark: $(VENV)/installed
	$(BIN)/python benchmarks/fashion_mnist.py

clean:
	rm -rf $(VENV) runs build dist
