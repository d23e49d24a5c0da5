# Everything runs from a fresh clone: python3, make and a network are all it takes.
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
# Locks hold everything that is installed, as wheels: nothing is looked up, and nothing is built with tools that no lock holds.
PIP := -m pip --disable-pip-version-check --quiet install --no-deps --only-binary :all: --require-hashes
UV := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-strip-extras --no-header --upgrade
ENGINE ?= $(shell for engine in docker podman buildah; do $$engine info >/dev/null 2>&1 && echo $$engine && break; done)
VERSION ?= $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
TAG ?= approval-resource:$(VERSION)
BUILD_ARGS = VERSION=$(VERSION) REVISION=$(shell git rev-parse HEAD) $(if $(SOURCE),SOURCE=$(SOURCE)) $(if $(BASE_IMAGE),BASE_IMAGE=$(BASE_IMAGE))
# A base that is named NAME@DIGEST is told by the image itself, in the labels that OCI has for it.
BASE_LABEL := org.opencontainers.image.base
BASE_PARTS = $(subst @, ,$(BASE_IMAGE))
LABELS = $(if $(word 2,$(BASE_PARTS)),$(BASE_LABEL).name=$(word 1,$(BASE_PARTS)) $(BASE_LABEL).digest=$(word 2,$(BASE_PARTS)))
BILL ?= build/sbom.cdx.json

.PHONY: help cli demo playground test test-service screenshots coverage soak fuzz test-contract image test-image sbom bench bench-against stories docs lint format lock clean

help: ## say what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort | awk -F'\t' '{printf "make %-14s %s\n", $$1, $$2}'

.venv/runtime: requirements/runtime.txt pyproject.toml
	@echo "Installing what the program needs into .venv: half a minute, once" >&2
	$(PYTHON) -m venv .venv
	$(BIN)/python $(PIP) -r requirements/runtime.txt
	echo "$(CURDIR)" > "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/approval-resource.pth"
	printf '#!%s\nfrom approval_resource.__main__ import main\n\nmain()\n' "$(CURDIR)/$(BIN)/python" > $(BIN)/approvals && chmod +x $(BIN)/approvals
	touch $@

.venv/service: .venv/runtime requirements/service.txt
	$(BIN)/python $(PIP) -r requirements/service.txt
	touch $@

.venv/dev: .venv/service requirements/dev.txt
	$(BIN)/python $(PIP) -r requirements/dev.txt
	touch $@

.venv/browser: .venv/dev requirements/browser.txt
	$(BIN)/python $(PIP) -r requirements/browser.txt
	touch $@

tests/browser/node_modules: tests/browser/package-lock.json
	cd tests/browser && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	touch $@

.venv-engine/ministack: requirements/engine.txt
	@echo "Installing an engine for demo and tests into .venv-engine: half a minute, once" >&2
	$(PYTHON) -m venv .venv-engine
	.venv-engine/bin/python $(PIP) -r requirements/engine.txt
	touch $@

.venv-engine/moto: .venv-engine/ministack requirements/moto.txt
	.venv-engine/bin/python $(PIP) -r requirements/moto.txt
	touch $@

.venv-sbom/cyclonedx: requirements/sbom.txt
	$(PYTHON) -m venv .venv-sbom
	.venv-sbom/bin/python $(PIP) -r requirements/sbom.txt
	touch $@

cli: .venv/runtime ## install what the command line needs, for .venv/bin/approvals or .venv/bin/python cli.py

demo: .venv/runtime .venv-engine/ministack ## play the README's pipeline on an embedded engine
	$(BIN)/python -m demo

playground: .venv/service .venv-engine/ministack ## start the same engine and the reviewers' service for three people, and print what to try by hand
	$(BIN)/python -m demo.playground

QUICK = -m "not long" --numprocesses 2 --dist worksteal --ignore tests/image --ignore tests/browser
UNMEASURED = tests/soak tests/fuzz
test: .venv/dev .venv-engine/moto ## every test but the long ones; MEASURED=1 keeps their coverage for `make coverage MORE=1`
ifdef MEASURED
	$(BIN)/python -m pytest $(QUICK) --cov --cov-report= --cov-fail-under=0 $(addprefix --ignore ,$(UNMEASURED)) tests
	$(BIN)/python -m pytest $(QUICK) $(UNMEASURED)
else
	$(BIN)/python -m pytest $(QUICK) tests
endif

coverage: .venv/dev .venv-engine/moto ## the tests, the long ones too but not the soak's, with branch coverage of all processes; MORE=1 runs the long ones alone
	$(BIN)/python -m pytest $(if $(MORE),-m long --cov-append) --numprocesses 2 --dist worksteal --cov --cov-report=term:skip-covered --ignore tests/soak --ignore tests/fuzz --ignore tests/image --ignore tests/browser tests

soak: .venv/dev .venv-engine/moto ## kills, faults, races and hostile input, as much as twenty minutes hold; prints what was tried
	$(BIN)/python -m pytest --soak --numprocesses 2 --dist worksteal --timeout 1200 tests/soak tests/fuzz tests/contract/test_edits.py tests/contract/test_torn.py tests/contract/test_lost_and_late.py tests/notify/test_kills.py

fuzz: .venv/dev .venv-engine/moto ## 20,000 hostile inputs
	$(BIN)/python -m pytest --soak --numprocesses 2 --dist worksteal --timeout 1200 tests/fuzz

test-contract: .venv/dev .venv-engine/moto ## the store's contract on whatever DYNAMODB_ENDPOINT names
	$(BIN)/python -m pytest tests/contract

test-service: .venv/browser .venv-engine/ministack tests/browser/node_modules ## the service in a real browser (Debian's chromium, node), at a certified provider
	@test -x /usr/bin/chromium || { echo "no /usr/bin/chromium; apt-get install chromium" >&2; exit 1; }
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile tests/browser

screenshots: .venv/browser .venv-engine/ministack tests/browser/node_modules ## take docs/service/*.png anew
	$(BIN)/python -m pytest tests/browser/screenshots.py

image: ## build the image with docker, podman or buildah, whichever works here; TAG=, VERSION=, BASE_IMAGE=, TARGET=service say what else
	@test -n "$(ENGINE)" || { echo "no docker, podman or buildah works here; install one of them" >&2; exit 1; }
	$(ENGINE) build $(addprefix --build-arg ,$(BUILD_ARGS)) $(addprefix --label ,$(LABELS)) $(addprefix --target ,$(TARGET)) --tag $(TAG) .

test-image: .venv/dev .venv-engine/ministack ## build the image without registry or engine, look at it and run the scripts' tests inside (root, Debian)
	$(BIN)/python -m pytest -s --timeout 1800 --numprocesses 2 --dist loadfile tests/image

bench: .venv/dev .venv-engine/ministack ## measure it beside what it is to beat, say which budgets hold, and write docs/performance.md
	$(BIN)/python -m tests.bench

BASE ?= HEAD~1
bench-against: .venv/dev .venv-engine/ministack ## time it against another commit, BASE=HEAD~1, and say what got slower; WAITS=1 times gates and contention, too
	$(BIN)/python -m tests.bench.against $(BASE)

sbom: .venv-sbom/cyclonedx ## write build/sbom.cdx.json, the bill of materials; IMAGE= adds what that one has from its base (docker, podman)
	rm -rf build/bill && $(PYTHON) -m venv --without-pip build/bill
	.venv-sbom/bin/python -m pip --python build/bill/bin/python --disable-pip-version-check --quiet install --no-deps --only-binary :all: --require-hashes -r requirements/runtime.txt
	.venv-sbom/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible --output-file build/bill/packages.json build/bill/bin/python
ifdef IMAGE
	container="$$($(ENGINE) create $(if $(PLATFORM),--platform $(PLATFORM)) $(IMAGE) true)" && \
	trap '$(ENGINE) rm "$$container" >/dev/null' EXIT && \
	base="$$($(ENGINE) inspect --format '{{index .Config.Labels "$(BASE_LABEL).name"}}@{{index .Config.Labels "$(BASE_LABEL).digest"}}' "$$container")" && \
	$(ENGINE) export --output build/bill/image.tar "$$container" && \
	$(PYTHON) image/bill.py build/bill/packages.json "$$base" < build/bill/image.tar > build/bill/whole.json
	mv build/bill/whole.json $(BILL)
else
	mv build/bill/packages.json $(BILL)
endif

stories: .venv/dev .venv-engine/ministack ## play what five people see, and write docs/stories, docs/json.md and the README's picture
	RECORD_STORIES=1 $(BIN)/python -m pytest -q -n0 tests/docs/test_stories.py tests/docs/test_json.py

docs: .venv/dev ## write docs/cli.md, every command's help, from the program
	$(BIN)/python -m tests.docs.help_page

lint: .venv/dev ## ruff, its format, mypy, hadolint, zizmor
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/hadolint Dockerfile
	$(BIN)/zizmor --offline --quiet .github

format: .venv/dev ## let ruff rewrite what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: .venv/dev ## take newer versions of everything, with hashes
	$(UV) --extra rego pyproject.toml -o requirements/runtime.txt
	$(UV) -c requirements/runtime.txt requirements/service.in -o requirements/service.txt
	$(UV) -c requirements/runtime.txt requirements/dev.in -o requirements/dev.txt
	$(UV) -c requirements/runtime.txt -c requirements/dev.txt -c requirements/service.txt requirements/browser.in -o requirements/browser.txt
	$(UV) requirements/sbom.in -o requirements/sbom.txt
	$(UV) requirements/engine.in -o requirements/engine.txt
	$(UV) -c requirements/engine.txt requirements/moto.in -o requirements/moto.txt

clean: ## remove what make made
	rm -rf .venv .venv-engine .venv-sbom build *.egg-info .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache
