# Everything a developer does here. `make help` explains each target; none destroys data unasked.
SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PACKAGES := libs/common libs/domain libs/cli libs/devstack services/api services/workflow_engine services/context_service
STAMP := $(VENV)/.installed

.PHONY: help setup up down demo test check format bench charts guide-coverage lock images clean test-ops

help: ## Show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

setup: $(STAMP) ## Install everything into .venv

$(STAMP): requirements/bootstrap.txt requirements/dev.txt $(PACKAGES:=/pyproject.toml)
	@PYTHON=$(PYTHON) scripts/setup $(VENV) $(PACKAGES)
	@touch $@

up: $(STAMP) ## Start PostgreSQL, Redis and the three services; Ctrl-C ends all of it
	@$(BIN)/copilot up

down: $(STAMP) ## Stop what `copilot up --detach` started
	@$(BIN)/copilot down

demo: $(STAMP) ## Show the main job on real documents, end to end; no key and no network needed
	@$(BIN)/copilot demo

test: $(STAMP) ## Run every test against a real PostgreSQL and Redis
	@$(BIN)/pytest -n 2 --ignore=tests/ops $(ARGS)

test-ops: $(STAMP) ## Run the tests that need packages of the distribution; COPILOT_OPS=required: skip none
	@$(BIN)/pytest tests/ops $(ARGS)

check: $(STAMP) ## Format, lint, types, import contracts, Dockerfiles
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/hadolint services/*/Dockerfile

format: $(STAMP) ## Rewrite the code as `make check` wants it
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: $(STAMP) ## Measure speed against the issue's targets and the peers; prints a table, writes bench/results/
	@$(BIN)/python -m bench $(ARGS)

charts: ## Put what the Helm charts share (helm/copilot-lib, dashboards/) into each of them
	@$(PYTHON) scripts/charts

guide-coverage: $(STAMP) ## Write docs/guide-coverage.md: what of the deployment guide is where, and which test proves it
	@PYTHONPATH=tests $(BIN)/python -m support.coverage

lock: $(STAMP) ## Pin requirements/*.txt again from the pyproject files
	@scripts/lock

images: ## Build the images with Docker: REGISTRY=… VERSION=… PYTHON_IMAGE=… SOURCE=… DOCKER=…
	@REGISTRY="$(REGISTRY)" VERSION="$(VERSION)" PYTHON_IMAGE="$(PYTHON_IMAGE)" SOURCE="$(SOURCE)" DOCKER="$(DOCKER)" scripts/images

clean: ## Delete caches and .venv (keeps .copilot/, the stack's data)
	@rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -not -path './.copilot/*' -prune -exec rm -rf {} +
