# What one types here. Needed are make and a Python of at least 3.11 with venv; all else is installed into .venv.

# The Python that .venv is made with. Empty: the first usable one of a few names.
PYTHON ?=

SHELL = /bin/sh
RUN = .venv/bin/python
INSTALLED = .venv/.installed
SYSTEM_INSTALLED = .venv/.installed-system

.DEFAULT_GOAL = help
.PHONY: help demo ui test test-stores test-system lint format constraints clean

help:  ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1#/p' Makefile | while IFS='#' read -r name what; do \
		printf '  make %-12s %s\n' "$$name" "$$what"; \
	done

demo: $(INSTALLED)  ## record a meeting with real Airflow and an emulated RealtimeKit
	@exec $(RUN) -m scripts.demo

ui: $(INSTALLED)  ## the same, and keep Airflow up to look around, until Ctrl-C
	@exec $(RUN) -m scripts.demo --stay

test: $(INSTALLED)  ## run all tests, those on real Airflow included
	@exec $(RUN) -m pytest

test-system: $(SYSTEM_INSTALLED)  ## kill parts of Airflow on Celery, Redis and PostgreSQL while it records
	@sh scripts/install_services.sh
	@exec $(RUN) -m pytest tests/distributed

test-stores: $(INSTALLED)  ## run the tests of downloads on S3, Azure and SFTP servers, which it installs
	@exec sh scripts/test_stores.sh

lint: $(INSTALLED)  ## check style and types
	$(RUN) -m ruff check
	$(RUN) -m ruff format --check
	$(RUN) -m mypy

format: $(INSTALLED)  ## put the style right where that can be done by itself
	$(RUN) -m ruff format
	$(RUN) -m ruff check --fix

constraints:  ## renew constraints.txt with the newest versions
	@PYTHON="$(PYTHON)" sh scripts/make_venv.sh .venv
	@exec sh scripts/constraints.sh

clean:  ## remove whatever was made here, .venv too
	rm -rf .venv .demo .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Installed once, and again when what is to be installed has changed.
$(INSTALLED): pyproject.toml constraints.txt
	@PYTHON="$(PYTHON)" sh scripts/make_venv.sh .venv
	@sh scripts/install.sh .venv -e '.[dev]'
	@touch $(INSTALLED)

$(SYSTEM_INSTALLED): $(INSTALLED)
	@sh scripts/install.sh .venv -e '.[system]'
	@touch $(SYSTEM_INSTALLED)
