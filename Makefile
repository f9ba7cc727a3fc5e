# Two commands for everyone: `make demo` and `make test`. The others are for those who change the code.
# All need Python 3.11 or newer and pip's package index, nothing else.

PYTHON ?= python3
VENV := .venv
DEMO_VENV := .venv-demo
BIN := $(VENV)/bin
PIP := -m pip --disable-pip-version-check install --quiet --constraint constraints.txt

.PHONY: help demo test quick check format setup clean

help: ## Say what there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: $(DEMO_VENV)/.ready ## Denoise a photo, without torch
	@mkdir -p demo-output
	@$(DEMO_VENV)/bin/pellucid denoise demo/night.jpg -o demo-output/night_denoised.jpg --overwrite
	@echo "compare demo/night.jpg with demo-output/night_denoised.jpg"

test: $(VENV)/.ready ## Run all tests
	$(BIN)/python -m pytest

quick: $(VENV)/.ready ## Run the tests that take seconds
	$(BIN)/python -m pytest -m "not slow"

check: $(VENV)/.ready ## Lint, types, and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.ready ## Put the code in its form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

setup: $(VENV)/.ready ## Make the environment that the tests use

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python $(PIP) --editable '.[dev]'
	@touch $@

$(DEMO_VENV)/.ready: pyproject.toml constraints.txt $(shell find src -name '*.py' -o -name '*.onnx' -o -name '*.toml')
	$(PYTHON) -m venv $(DEMO_VENV)
	$(DEMO_VENV)/bin/python $(PIP) .
	@touch $@

clean: ## Remove what was made here
	rm -rf $(VENV) $(DEMO_VENV) demo-output .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist
