# Everything here needs only make, Python 3.11 or newer and a package index.
SHELL := /bin/bash
PYTHON ?= python3
UV := $(shell command -v uv 2>/dev/null || echo .venv/bin/uv)
RUN := $(UV) run --no-sync
unexport VIRTUAL_ENV
TESTS ?= tests
# Tests wait more than they compute: three processes keep two cores busy.
TEST_PROCESSES ?= 3
SOURCES := activities api contracts domain infra loops readmodel seathold services workflows worker.py

.DEFAULT_GOAL := help
.PHONY: help setup dev demo test test-pg15 check lint types format audit sbom bench openapi mutants

help: ## Show this list
	@grep -hE '^[a-z0-9%-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

setup: .venv/.ready ## Bring uv and the locked dependencies

.venv/.ready: pyproject.toml uv.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	  || { echo "Seathold needs Python 3.11 or newer: install it, or name it with make PYTHON=..."; exit 1; }
	@command -v uv >/dev/null || test -x .venv/bin/uv || { echo "Bringing uv ..."; \
	  $(PYTHON) -m venv .venv >/dev/null \
	    || { echo "Seathold needs Python's venv module: install it (Debian: apt-get install python3-venv)."; exit 1; }; \
	  .venv/bin/python -m pip install --quiet --disable-pip-version-check 'uv>=0.9' \
	    || { echo "uv could not be installed: give pip a package index, or put uv on PATH."; exit 1; }; }
	@echo "Bringing the locked dependencies ..."
	@# --inexact keeps uv itself; compiled once, every process starts in half the time.
	@$(UV) sync --locked --inexact --compile-bytecode $$(test -t 2 || echo --quiet) \
	  --python $$(test -x .venv/bin/python && echo .venv/bin/python || command -v $(PYTHON))
	@touch $@

dev: setup ## Start the whole stack; Ctrl-C stops it and keeps the data
	@exec $(RUN) seathold dev

demo: setup ## Run the main job end to end and tell it as a story
	@exec $(RUN) seathold demo

test: setup ## Run the tests on real servers that they start themselves
	@$(RUN) pytest -n $(TEST_PROCESSES) --dist worksteal $(TESTS)

test-pg15: setup ## Run the tests on Debian's PostgreSQL 15 and Redis 7
	@$(RUN) python -m tests.debian -n $(TEST_PROCESSES) --dist worksteal $(TESTS)

check: lint types ## Lint, formats and types

lint: setup
	@$(RUN) ruff check .
	@$(RUN) ruff format --check .
	@$(RUN) lint-imports
	@$(RUN) python -m lints
	@$(RUN) bandit -q -c pyproject.toml -r $(SOURCES)

types: setup
	@$(RUN) mypy .

format: setup ## Put the code into its format
	@$(RUN) ruff check --fix .
	@$(RUN) ruff format .

audit: setup ## Known vulnerabilities of our dependencies; "not run" where that cannot be known
	@$(RUN) python -m lints.audit $(UV)

sbom: setup ## What the image has in it, from the lock file, as CycloneDX: dist/sbom.json
	@mkdir -p dist
	@$(UV) export --quiet --locked --no-dev --no-emit-project --format cyclonedx1.5 --output-file dist/sbom.json >/dev/null

openapi: setup ## Write the OpenAPI snapshot anew
	@$(RUN) seathold openapi > docs/openapi.json

bench: setup ## Run every benchmark; writes bench/results/
	@$(RUN) python -m bench

bench-%: setup ## Run one benchmark, such as bench-saga
	@$(RUN) python -m bench $*

campaign-%: setup ## Run one long campaign, such as campaign-race; ROUNDS=N for more or less
	@$(RUN) python -m bench campaign-$* $(if $(ROUNDS),--rounds $(ROUNDS))

mutants: setup ## Break the money path in each known way; fails if the tests do not notice
	@$(RUN) python -m bench.mutants $(MUTANTS)
