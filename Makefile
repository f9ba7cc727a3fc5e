# Two commands for everyone: `make demo` and `make test`. The others are for those who change the code.
# All need Python 3.11 or newer and pip's package index, nothing else.

PYTHON ?= python3
VENV := .venv
DEMO_VENV := .venv-demo
BIN := $(VENV)/bin
PIP := -m pip --disable-pip-version-check install --quiet --constraint constraints.txt

.PHONY: help demo test quick check docs format setup chromium clean

help: ## List the commands
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: $(DEMO_VENV)/.ready ## Denoise a photo, without torch
	@mkdir -p demo-output
	@$(DEMO_VENV)/bin/pellucid denoise demo/night.jpg -o demo-output/night_denoised.jpg --overwrite
	@echo "compare demo/night.jpg with demo-output/night_denoised.jpg"

test: $(VENV)/.ready chromium ## Run all tests
	$(BIN)/python -m pytest

quick: $(VENV)/.ready ## Run the fast tests
	$(BIN)/python -m pytest -m "not slow"

check: $(VENV)/.ready ## Lint, types, import layers, wording, docs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python dev/check_words.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict --site-dir build/site

docs: $(VENV)/.ready ## Build the documentation into build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --site-dir build/site

format: $(VENV)/.ready ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

setup: $(VENV)/.ready ## Create the environment that the tests use

# The page is tested in Chromium, which pip does not have. Where this cannot install it, those tests fail and say so.
chromium:
	@test -x /usr/bin/chromium || test "$$(id -u)" != 0 || ! command -v apt-get > /dev/null || \
	    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y chromium > /dev/null; }

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
