# The course's commands. `make help` lists them; CONTRIBUTING.md says when to use which.

# The Python that .venv is made with, how many notebooks and tests run at once, and which build of
# torch to install: empty for the one in the lock, or cpu, cu130, auto.
PYTHON ?= python3
JOBS ?= $(shell nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)
TORCH_BACKEND ?=

BIN := .venv/bin
.DEFAULT_GOAL := help
.PHONY: environment book test lab serve student bench links lint format lock address chapter clean help

environment:  ## make .venv ready (every command below does it when needed)
	@$(PYTHON) tools/environment.py --torch-backend "$(TORCH_BACKEND)"

book: environment  ## execute the chapters, build the site (FRESH=1: nothing from the cache)
	@$(BIN)/python tools/build.py --jobs $(JOBS) $(if $(FRESH),--fresh)

test: book  ## run every test: library, notebooks, tools, site
	@$(BIN)/pytest -n $(JOBS) --dist loadfile --nbval-lax --nbval-current-env tests book

lab: environment  ## open the chapters in JupyterLab
	@$(BIN)/jupyter-lab book

serve: environment  ## build, show the site on localhost, rebuild what changes
	@$(BIN)/python tools/serve.py

student: environment  ## write the student edition, without solutions, into _build/student
	@$(BIN)/python tools/student.py

bench: environment  ## time each operation against its twins: ARGS="--quick --only conv2d"
	@$(BIN)/python -m benchmarks $(ARGS)

links: environment  ## ask every address outside the site whether it still answers
	@$(BIN)/python tools/links.py

lint: environment  ## check style, format and types
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy

format: environment  ## put the code into its format
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

lock: environment  ## lock the versions anew (UPGRADE=1: take the newest)
	@$(BIN)/python tools/lock.py $(if $(UPGRADE),--upgrade)

address: environment  ## stamp the repository's address: URL=https://... [SITE=https://...]
	@$(BIN)/python tools/address.py $(if $(URL),--url "$(URL)") $(if $(SITE),--site "$(SITE)")

chapter: environment  ## lay out a new chapter: NAME=pooling PART=foundations
	@$(BIN)/python tools/chapter.py "$(NAME)" "$(PART)"

clean:  ## remove what was built; .venv stays
	rm -rf _build .cache dist .pytest_cache .hypothesis .mypy_cache .ruff_cache
	find book course_lib tests tools site benchmarks -name __pycache__ -prune -exec rm -rf {} +

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo 'Variables: JOBS=n  PYTHON=python3.12  TORCH_BACKEND=cpu|cu130|auto'
