# Needs Python >= 3.11, make and PyPI; everything else is put into .venv. `make help` lists the commands.
PYTHON ?= python3
PYTHONS ?=
PROCESSES ?= 2
ROUNDS ?= 20
SEED ?= 1
ARGS ?=

BIN := .venv/bin
# What is installed follows from setup.cfg's content: the name of a stamp has the extra and a checksum.
SUM := $(shell cksum < setup.cfg | cut -d ' ' -f 1)
# One order of the tests and one set of examples, so that a run tells the same of the same tree.
STEADY = --randomly-seed=$(SEED) --hypothesis-profile=ci

.DEFAULT_GOAL := help
.PHONY: setup run test test-pythons check coverage coverage-of-requirements requirements bench torture docs screenshots lock help

setup: .venv/installed-dev-$(SUM) ## make .venv and install everything for work on the project

.venv/installed-%-$(SUM): | $(BIN)/pip
	@echo 'Installing into .venv what setup.cfg lists as [$*]; the first time takes a minute.'
	@$(BIN)/python -m pip --disable-pip-version-check install --quiet --editable '.[$*]'
	@rm -f .venv/installed-$*-*
	@touch $@

$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo 'Python 3.11 or newer is needed: make PYTHON=/path/to/python3 ...'; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2> /dev/null || \
		{ echo 'python3-venv is missing: apt-get install python3-venv'; exit 1; }
	$(PYTHON) -m venv .venv

run: setup ## start the service with demo data at http://127.0.0.1:8000 (PORT=...)
	@exec $(BIN)/python -m tools.demo

test: setup ## run all tests against real servers, started from wheels (ARGS='-k name', SEED=2: another order)
	$(BIN)/pytest -n $(PROCESSES) $(STEADY) $(ARGS)

test-pythons: setup ## run the engine's tests on other Pythons (PYTHONS='python3.12 /opt/bin/python3')
	$(BIN)/python -m tools.pythons $(PYTHONS)

check: setup ## check style, types, import rules and the list of requirements; count those with a test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	@$(BIN)/python -m tools.requirements_table --check
	@$(BIN)/python -m tools.coverage_of_requirements --quiet

coverage: setup ## run all tests and show the lines that none of them ran
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -n $(PROCESSES) $(ARGS)
	-$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

coverage-of-requirements: setup ## list the requirements and promises that no test names
	@$(BIN)/python -m tools.coverage_of_requirements

requirements: setup ## write docs/requirements.md: each requirement with the tests that show it
	@$(BIN)/python -m tools.requirements_table

bench: setup .venv/installed-bench-$(SUM) ## measure us beside raw dramatiq and other job queues
	$(BIN)/python -m benchmarks $(ARGS)

torture: setup ## run each integration test many times, in random order (ROUNDS=20)
	$(BIN)/pytest tests/integration -n $(PROCESSES) --torture-rounds $(ROUNDS) $(ARGS)

docs: setup .venv/installed-docs-$(SUM) ## build the documentation into docs/_build/html
	$(BIN)/sphinx-build -W -b html docs docs/_build/html

screenshots: setup ## take the pictures of the dashboard in docs/images anew, with the Chromium that is installed
	@$(BIN)/python -m tools.screenshots

lock: setup ## pin what a deployment installs into requirements.txt (ARGS=--upgrade: the newest)
	$(BIN)/uv pip compile setup.cfg --extra service --universal --python-version 3.11 --generate-hashes \
		--no-annotate --no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock' \
		--quiet --output-file requirements.txt $(ARGS)

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 28
