# The commands for work on this project; `make` alone lists them. They need make and a Python of at least 3.11 with its
# venv module, and install everything else into .venv.

# The Python that .venv is created with (default: the first usable one on the PATH).
PYTHON ?=

SHELL = /bin/sh
RUN = .venv/bin/python
INSTALLED = .venv/.installed
SYSTEM_INSTALLED = .venv/.installed-system

.DEFAULT_GOAL = help
.PHONY: help demo ui test search test-stores test-system test-oldest lint format hooks check-wheel dist constraints clean

help:  ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1#/p' Makefile | while IFS='#' read -r name what; do \
		printf '  make %-12s %s\n' "$$name" "$$what"; \
	done

demo: $(INSTALLED)  ## record a meeting with real Airflow and the emulator, and make a report of the recording
	@exec $(RUN) -m scripts.demo

ui: $(INSTALLED)  ## run the demo, and leave Airflow's web pages open until Ctrl-C
	@exec $(RUN) -m scripts.demo --stay

test: $(INSTALLED)  ## run the tests, including those that start a real Airflow on this machine
	@exec $(RUN) -m pytest -p no:cacheprovider

search: $(INSTALLED)  ## run the random tests with fresh seeds: SECONDS=300, or RUNS=1; SEED=7 repeats a run
	@exec $(RUN) -m scripts.search $(if $(SECONDS),--seconds $(SECONDS)) $(if $(RUNS),--runs $(RUNS)) \
		$(if $(SEED),--seed $(SEED))

test-stores: $(INSTALLED)  ## test downloads against real S3, Azure and SFTP servers on this machine
	@exec sh scripts/test_stores.sh

test-system: $(SYSTEM_INSTALLED)  ## kill workers, triggerers and services of an Airflow on Celery while it records
	@sh scripts/install_services.sh
	@exec $(RUN) -m pytest tests/distributed

test-oldest:  ## run the tests that need no running Airflow on the oldest Airflow that is supported
	@PYTHON="$(PYTHON)" sh scripts/check_oldest.sh

lint: $(INSTALLED)  ## check style and types
	$(RUN) -m ruff check
	$(RUN) -m ruff format --check
	$(RUN) -m mypy

format: $(INSTALLED)  ## format the code, and fix what ruff can fix by itself
	$(RUN) -m ruff format
	$(RUN) -m ruff check --fix

hooks: $(INSTALLED)  ## check style and types before each commit from now on
	$(RUN) -m pre_commit install

check-wheel: $(INSTALLED)  ## build the wheel, install it into an empty environment, and check its contents
	@exec sh scripts/check_wheel.sh

dist: $(INSTALLED)  ## build the wheel and the source distribution into dist/
	@rm -rf dist
	$(RUN) -m uv build --quiet --build-constraints constraints.txt

constraints:  ## update constraints.txt to the newest versions
	@PYTHON="$(PYTHON)" sh scripts/make_venv.sh .venv
	@exec sh scripts/constraints.sh

clean:  ## remove everything that these commands created, .venv included
	rm -rf .venv .demo .mypy_cache .pytest_cache .ruff_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Installs once, and again whenever the list of packages or their versions change.
$(INSTALLED): pyproject.toml constraints.txt
	@PYTHON="$(PYTHON)" sh scripts/make_venv.sh .venv
	@sh scripts/install.sh .venv -e '.[emulator,examples]' --group dev
	@touch $(INSTALLED)

$(SYSTEM_INSTALLED): $(INSTALLED)
	@sh scripts/install.sh .venv -e '.[emulator,examples]' --group dev --group system
	@touch $(SYSTEM_INSTALLED)
