# Each target sets itself up; nothing needs to be done before. Needs Python 3.11 or newer and make.
SHELL := /bin/sh
.DEFAULT_GOAL := help

# The first of these that works and is new enough. PYTHON=/path/to/python overrides.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3 python; do \
	"$$p" -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$p"; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet --no-input
# Times of sources do not change the environment: stamps say which requirements are in it.
RUNTIME := $(VENV)/.runtime
DEV := $(VENV)/.dev
# Any further words for pytest: make test ARGS="-k cancel"
ARGS ?=
# Processes of make test, each with a broker of its own; most tests wait most of their time.
WORKERS ?= 3

.PHONY: help demo test lint check cover compiled bench kafka-matrix soak soak-calls soak-webhooks game-day format clean

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

demo: $(RUNTIME) ## Watch orders go from cart to paid, with Python alone
	@$(BIN)/orderflow demo $(ARGS)

test: $(DEV) ## Run all tests but the soak; says which Kafka it ran on
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

lint: $(DEV) ## Format, lint, types and imports
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache >$(VENV)/imports.log || { cat $(VENV)/imports.log; exit 1; }

check: lint ## What must hold before a push: lint, and the tests that need no Kafka of their own
	@$(BIN)/python -m pytest -q tests/unit tests/property tests/architecture tests/cli -m "not kafka and not soak" $(ARGS)

cover: $(DEV) ## Prove that the tests reach every branch of the pure core
	@$(BIN)/python -m pytest -q -n $(WORKERS) tests/unit/statemachine -m "not kafka and not soak" --cov=statemachine --cov-branch --cov-fail-under=100 --cov-report=term-missing:skip-covered $(ARGS)

COMPILED := build/compiled
# The wheel is in dist/; the tests import it unpacked, before the sources.
compiled: $(DEV) ## Build the wheel whose core is compiled, which needs a C compiler, and run the core's tests on it
	@rm -rf $(COMPILED) dist/compiled
	@HATCH_BUILD_HOOK_ENABLE_CUSTOM=1 $(BIN)/python -m hatchling build --target wheel --directory dist/compiled
	@$(BIN)/python -m zipfile -e dist/compiled/*.whl $(COMPILED)
	@ORDERFLOW_TEST_COMPILED=1 $(BIN)/python -m pytest -q -o pythonpath="$(COMPILED) ." tests/unit/statemachine tests/compiled --ignore=tests/unit/statemachine/test_mutants.py $(ARGS)

bench: $(DEV) ## Measure one decision, and the order lane beside Kafka Streams, Quix and others; ARGS=--full
	@$(BIN)/python -m benchmarks.decision
	@$(BIN)/python -m benchmarks.command_lane
	@$(BIN)/python -m benchmarks.peers $(ARGS)

kafka-matrix: $(DEV) ## Run a chosen set of the tests on Kafka 3.9, 4.0 and 4.3; ARGS="--versions 3.9.1" or --write
	@$(BIN)/python -m tests.kafka.matrix $(ARGS)

soak: $(DEV) ## Run the tests that take minutes
	@$(BIN)/python -m pytest -m soak $(ARGS)

soak-calls: $(DEV) ## Put 20,000 commands through faults of all kinds; ARGS="--commands 2000 --seed 7"
	@$(BIN)/python -m tests.soak.run $(ARGS)

soak-webhooks: $(DEV) ## Lose, double and reorder webhooks of 1,000 orders, then lose them all; ARGS="--orders 100 --seed 7"
	@$(BIN)/python -m tests.soak.webhooks $(ARGS)

game-day: $(DEV) ## Repair 10,000 orders after a bad release, an outage and a bad sender, with the verbs only; ARGS="--orders 1000"
	@$(BIN)/python -m tests.game_day.run $(ARGS)

format: $(DEV) ## Format the code
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix --quiet .

clean: ## Remove what the targets made
	rm -rf $(VENV) .kafka .bench .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist *.egg-info

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "orderflow needs Python 3.11 or newer with venv, and found none (make PYTHON=/path/to/python3)" >&2; exit 1; }
	@echo "setting up $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv --clear $(VENV)

# hatchling is in the environment, so that installing orderflow itself fetches nothing.
$(RUNTIME): requirements.txt requirements-build.txt pyproject.toml | $(BIN)/python
	@$(PIP) install --require-hashes --only-binary :all: -r requirements.txt -r requirements-build.txt
	@$(PIP) install --no-deps --no-build-isolation --no-index --editable .
	@touch $@

$(DEV): requirements-dev.txt $(RUNTIME) | $(BIN)/python
	@$(PIP) install --require-hashes --only-binary :all: -r requirements-dev.txt
	@touch $@
