# Everything runs from a fresh clone: python3, make and a network are all it takes.
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
PIP := -m pip --disable-pip-version-check --quiet install

.PHONY: help cli demo playground test coverage soak fuzz test-contract lint format lock clean

help: ## say what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort | awk -F'\t' '{printf "make %-14s %s\n", $$1, $$2}'

.venv/runtime: requirements/runtime.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python $(PIP) --require-hashes -r requirements/runtime.txt
	echo "$(CURDIR)" > "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/approval-resource.pth"
	touch $@

.venv/dev: .venv/runtime requirements/dev.txt
	$(BIN)/python $(PIP) --require-hashes -r requirements/dev.txt
	touch $@

.venv-engine/ministack: requirements/engine.txt
	$(PYTHON) -m venv .venv-engine
	.venv-engine/bin/python $(PIP) --require-hashes -r requirements/engine.txt
	touch $@

.venv-engine/moto: .venv-engine/ministack requirements/moto.txt
	.venv-engine/bin/python $(PIP) --require-hashes -r requirements/moto.txt
	touch $@

cli: .venv/runtime ## install what cli.py needs, for .venv/bin/python cli.py

demo: .venv/runtime .venv-engine/ministack ## play the README's pipeline on an embedded engine
	$(BIN)/python -m demo

playground: .venv/runtime .venv-engine/ministack ## start the same engine and print lines to try by hand
	$(BIN)/python -m demo.playground

test: .venv/dev .venv-engine/moto ## every test but the long ones
	$(BIN)/python -m pytest -m "not long" --numprocesses 2 --dist worksteal tests

coverage: .venv/dev .venv-engine/moto ## the tests, the long ones too but not the soak's, with branch coverage of all processes
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal --cov --cov-report=term:skip-covered --ignore tests/soak --ignore tests/fuzz tests

soak: .venv/dev .venv-engine/moto ## kills, faults, races and hostile input, as much as twenty minutes hold; prints what was tried
	$(BIN)/python -m pytest --soak --numprocesses 2 --dist worksteal --timeout 1200 tests/soak tests/fuzz

fuzz: .venv/dev .venv-engine/moto ## 20,000 hostile inputs
	$(BIN)/python -m pytest --soak --numprocesses 2 --dist worksteal --timeout 1200 tests/fuzz

test-contract: .venv/dev .venv-engine/moto ## the store's contract on whatever DYNAMODB_ENDPOINT names
	$(BIN)/python -m pytest tests/contract

lint: .venv/dev ## ruff, its format, mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/dev ## let ruff rewrite what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: .venv/dev ## take newer versions of everything, with hashes
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --upgrade --no-header --extra rego pyproject.toml -o requirements/runtime.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --upgrade --no-header -c requirements/runtime.txt requirements/dev.in -o requirements/dev.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --upgrade --no-header requirements/engine.in -o requirements/engine.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --upgrade --no-header -c requirements/engine.txt requirements/moto.in -o requirements/moto.txt

clean: ## remove what make made
	rm -rf .venv .venv-engine build *.egg-info .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache
