# Everything starts from a bare Python: the first call of a target makes .venv, later calls find its stamps and are
# instant, and a changed lock file installs again. Nothing is ever uninstalled by switching between targets.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

# Tried in this order, newest first; the first that really runs and is supported makes the environment.
# `make run PYTHON=/path/to/python` asks for a certain one.
PYTHON ?=
PYTHONS := python3.13 python3.12 python3.11 python3 python

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
RUN_READY := .venv/.ready-run
DEV_READY := .venv/.ready-dev
REFEREE_READY := .referee/.ready
CLIENTS_READY := .clients/.ready
PAGE_SOURCES := $(shell find dashboard -name node_modules -prune -o -type f -print)
ARGS ?=

.PHONY: help run test coverage check format bench soak swarm equality proofs fuzz trace referees clients referee-metrics dashboard lock clean

help: ## Say what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 17

run: $(RUN_READY) ## Start Surefoot; give it options with ARGS="..."
	@exec $(BIN)/surefoot run $(ARGS)

test: $(DEV_READY) ## Run all tests; ARGS="tests/core -k fill" narrows them
	@$(BIN)/python -m pytest -n auto --dist worksteal --durations=20 $(ARGS)

coverage: $(DEV_READY) ## Run all tests and say which share of lines and branches they run: takes twice as long
	@$(BIN)/python -m pytest -n auto --dist worksteal --cov --cov-report=json:coverage.json $(ARGS)

check: $(DEV_READY) ## Format, lint, types and import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: $(DEV_READY) ## Put the source in its format and mend what the linter can
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

bench: $(DEV_READY) ## Measure speed, also against other programs; ARGS="--only fast", ARGS=--json
	@$(BIN)/python -m bench.run $(ARGS)

soak: $(DEV_READY) ## The trader under 20 000 messages a second for an hour: SECONDS=600 for ten minutes
	@$(BIN)/python -m bench.soak --seconds $(if $(SECONDS),$(SECONDS),3600) $(ARGS)

swarm: $(DEV_READY) ## Hunt with random faults: SEED=7 repeats one, SEEDS=200 tries many
	@$(if $(SEED),SUREFOOT_SEED=$(SEED)) $(if $(SEEDS),SUREFOOT_SWARM_SEEDS=$(SEEDS)) \
	  $(BIN)/python -m pytest tests/swarm -n auto --dist worksteal $(ARGS)

equality: $(DEV_READY) ## Compare the two backtest engines on 500 random configurations: SEED=7 repeats one
	@$(if $(SEED),SUREFOOT_SEED=$(SEED)) SUREFOOT_FULL=1 $(BIN)/python -m pytest \
	  tests/research/test_fast_equals_exact.py -k random -n 0 $(ARGS)

proofs: $(DEV_READY) ## Long forms of tests: a day of broken streams, ten minutes of flood, fifty kills, twenty cuts, the guardian
	@SUREFOOT_FULL=1 $(BIN)/python -m pytest -n 0 -s tests/binance/test_day_of_streams.py tests/binance/test_flood.py \
	  tests/e2e/test_kill.py tests/e2e/test_cuts.py tests/e2e/test_guardian.py $(ARGS)

fuzz: $(DEV_READY) ## Try the whole API against its own description for long: SEED=7 repeats one
	@SUREFOOT_FULL=1 $(if $(SEED),SUREFOOT_SEED=$(SEED)) $(BIN)/python -m pytest -n 0 -s tests/api/test_schema.py $(ARGS)

trace: $(DEV_READY) ## Table of requirement ids and the tests that show them
	@$(BIN)/python -m tests.trace

referees: $(CLIENTS_READY) ## Let third-party clients trade on the simulated exchange, and print what each could do
	@$(BIN)/python -m tests.referees $(ARGS)

clients: $(CLIENTS_READY) ## Only make the environment of these clients, for `make test` to use

# CI does not ask for it: formulas do not change by themselves, and the library drags some forty packages along.
referee-metrics: $(DEV_READY) $(REFEREE_READY) ## Compare the metrics with an independent library, in its own environment
	@$(BIN)/python -m pytest -n 0 -q -s tests/research/test_metrics_referee.py $(ARGS)

dashboard: | .venv ## Build the dashboard's page anew, from dashboard/
	@rm -rf src/surefoot/dashboard
	@$(PIP) install --quiet --no-deps -e .

lock: ## Resolve the lock files anew from pyproject.toml (needs uv)
	@uv=$$(command -v .venv/bin/uv || command -v uv) || { echo "make lock needs uv: pip install uv" >&2; exit 1; }; \
	compile="$$uv pip compile --quiet --universal --generate-hashes --no-header --python-version 3.11 pyproject.toml"; \
	$$compile -o requirements.lock; \
	$$compile --group dev --constraints requirements.lock -o requirements-dev.lock; \
	echo "quantstats==0.0.86" | $$uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate \
	  --python-version 3.11 - -o requirements-referee.lock; \
	printf '%s\n' ccxt==4.5.90 python-binance==1.0.37 binance-sdk-spot==13.3.0 \
	  binance-sdk-derivatives-trading-usds-futures==18.1.0 | $$uv pip compile --quiet --universal --generate-hashes \
	  --no-header --no-annotate --python-version 3.11 - -o requirements-clients.lock

clean: ## Remove the environment and everything that tools left behind
	rm -rf .venv .bench .referee .clients .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage .coverage.* coverage.json build dist dashboard/node_modules src/surefoot/dashboard
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# pip is asked for the locked set with hashes first, and only then for the project itself, both without dependencies: the
# lock names all of them, so nothing else can come in, and a release newer than the lock cannot upset the resolver (an
# extra such as coverage[toml] makes pip look at it). An order-only .venv keeps its time of change out of the comparison.
$(RUN_READY): requirements.lock pyproject.toml hatch_build.py $(PAGE_SOURCES) | .venv
	@echo "Installing the runtime dependencies (requirements.lock) ..."
	@$(PIP) install --quiet --require-hashes --no-deps -r requirements.lock
	@$(PIP) install --quiet --no-deps -e .
	@touch $@

# The development lock holds everything of the runtime lock, hence both stamps.
$(DEV_READY): requirements-dev.lock requirements.lock pyproject.toml hatch_build.py $(PAGE_SOURCES) | .venv
	@echo "Installing the runtime and development dependencies (requirements-dev.lock) ..."
	@$(PIP) install --quiet --require-hashes --no-deps -r requirements-dev.lock
	@$(PIP) install --quiet --no-deps -e .
	@touch $(RUN_READY) $@

# Made from the same Python, with nothing of the project in it: what judges shares no code with what is judged.
$(REFEREE_READY): requirements-referee.lock | $(DEV_READY)
	@echo "Installing the referee of the metrics (requirements-referee.lock) ..."
	@rm -rf .referee && $(BIN)/python -m venv .referee
	@.referee/bin/python -m pip --disable-pip-version-check --no-input install --quiet --require-hashes --no-deps -r $<
	@touch $@

# Their pins would dictate ours, so they live apart; judges again.
$(CLIENTS_READY): requirements-clients.lock | $(DEV_READY)
	@echo "Installing third-party clients (requirements-clients.lock) ..."
	@rm -rf .clients && $(BIN)/python -m venv .clients
	@.clients/bin/python -m pip --disable-pip-version-check --no-input install --quiet --require-hashes --no-deps -r $<
	@touch $@

# A name on the path proves nothing (version managers leave shims that fail), so each candidate is run. A failed attempt
# leaves no half-made .venv behind.
.venv:
	@bare=""; trap "rm -rf .venv" INT TERM; \
	for python in $(or $(PYTHON),$(PYTHONS)); do \
	  "$$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1 || continue; \
	  "$$python" -c 'import ensurepip, ssl, venv' >/dev/null 2>&1 || { bare="$${bare:-$$python}"; continue; }; \
	  echo "Making .venv with $$("$$python" --version) ($$python) ..."; \
	  "$$python" -m venv .venv || { rm -rf .venv; exit 1; }; \
	  exit 0; \
	done; \
	if [ -n "$$bare" ]; then \
	  echo "$$bare has no venv module with pip: install it (Debian, Ubuntu: apt install python3-venv) and call make again." >&2; \
	else \
	  echo "No Python 3.11, 3.12 or 3.13 runs here: install one, or name it with PYTHON=/path/to/python." >&2; \
	fi; \
	exit 1
