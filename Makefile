# `make demo` and `make test` do all set-up themselves. PYTHON chooses the interpreter.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUNS := runs/demo
export TF_CPP_MIN_LOG_LEVEL ?= 3

.PHONY: demo test test-slow lint format docs benchmark clean

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	touch $@

# The whole walk on the data inside the package: train, evaluate, convert, export, verify, report.
demo: $(VENV)/installed
	rm -rf $(RUNS)
	$(BIN)/zoo train vae --epochs 10 --network mlp --latent-dim 8 --out $(RUNS)/vae
	$(BIN)/zoo train dcgan --epochs 10 --batch-size 64 --option ema=0.99 --out $(RUNS)/dcgan
	$(BIN)/zoo convert $(RUNS)/dcgan --to vae --out $(RUNS)/dcgan_to_vae
	$(BIN)/zoo train $(RUNS)/dcgan_to_vae --epochs 4
	$(BIN)/zoo convert $(RUNS)/vae --to gan --option ema=0.99 --out $(RUNS)/vae_to_gan
	$(BIN)/zoo train $(RUNS)/vae_to_gan --epochs 4
	for run in vae dcgan dcgan_to_vae vae_to_gan; do \
	  $(BIN)/zoo evaluate $(RUNS)/$$run && \
	  for format in saved_model onnx; do \
	    $(BIN)/zoo export $(RUNS)/$$run --format $$format --out $(RUNS)/$$run/export/$$format && \
	    $(BIN)/zoo verify $(RUNS)/$$run/export/$$format || exit 1; \
	  done || exit 1; \
	done
	$(BIN)/zoo report $(RUNS)/vae $(RUNS)/dcgan $(RUNS)/dcgan_to_vae $(RUNS)/vae_to_gan \
	  --out $(RUNS)/report.html

# At most 12 minutes on 2 cores without AVX-512; the slowest tests are listed at the end.
test: $(VENV)/installed
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow" --durations=15

test-slow: $(VENV)/installed
	$(BIN)/python -m pytest -m slow

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

# The headline figures of docs/benchmarks.md: 10 epochs on the full data set, about half an hour on 2 cores.
benchmark: $(VENV)/installed
	$(BIN)/python benchmarks/fashion_mnist.py

clean:
	rm -rf $(VENV) runs build dist
