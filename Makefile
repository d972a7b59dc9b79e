# Every target sets up what it needs first; on a bare machine `make lab` and `make test` are enough.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON := .venv/bin/python
RUN := $(PYTHON) tests/tools/run_tests.py
# Roles and modules are looked up by their full names, so this checkout stands in a collections path of its own.
export ANSIBLE_COLLECTIONS_PATH := $(CURDIR)/.collections
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "%-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## Make the virtual environment from the locked requirements
	@tests/tools/setup.sh

.PHONY: engine
engine: setup
	@tests/tools/setup.sh engine

.PHONY: browser
browser: setup
	@tests/tools/setup.sh browser

.PHONY: lab
lab: engine ## Start the whole estate on this machine and show how to look at it
	@$(PYTHON) tests/lab/lab.py lab

.PHONY: test
test: engine browser ## Everything that CI runs: lint, sanity, unit and module tests, the scenarios, end to end
	@$(RUN) all

.PHONY: lint
lint: setup ## ansible-lint (profile production) and yamllint
	@$(RUN) lint

.PHONY: sanity
sanity: setup ## ansible-test sanity
	@$(RUN) sanity

.PHONY: units
units: setup ## Unit tests; ARGS="-k name" picks some
	@$(PYTHON) -m pytest -q tests/unit $(ARGS)

.PHONY: integration
integration: engine ## Module tests against real servers; ARGS="-k name" picks some
	@$(PYTHON) -m pytest -q tests/integration $(ARGS)

.PHONY: molecule
molecule: engine $(if $(filter estate,$(SCENARIO)),browser) ## One Molecule scenario: make molecule SCENARIO=postgres
	@$(RUN) molecule:$(or $(SCENARIO),$(error SCENARIO is missing; one of: $(notdir $(patsubst %/,%,$(dir $(wildcard molecule/*/molecule.yml))))))

# First what a user feels.
LATENCY := tests/bench/bench_latency.py
BENCHES := $(LATENCY) $(filter-out $(LATENCY),$(sort $(wildcard tests/bench/bench_*.py)))

.PHONY: bench
bench: engine ## Measure, side by side with the peers; nothing here fails on a speed
	@failed=; for bench in $(BENCHES); do echo "== $$bench"; $(PYTHON) $$bench || failed="$$failed $$bench"; done; \
	  if [ -n "$$failed" ]; then echo "Not measured to the end:$$failed" >&2; exit 1; fi

.PHONY: build
build: setup ## Build the collection's artifact into build/
	@$(RUN) artifact

.PHONY: dev
dev: engine ## The sample app by its own Dockerfile, with live code, at http://127.0.0.1:5000
	@examples/todomvc/dev.sh

.PHONY: clean
clean: setup ## Take the lab down and remove what was built
	@$(PYTHON) tests/lab/lab.py down
	@rm -rf build .pytest_cache .hypothesis
