# Every target is one command line that works without make too; `make help` prints them.
RECIPE ?= hls_projects/jet_tagger/recipe.yaml
JETS ?= 100000
SEED ?= 1
OUT ?= datasets/jets.root
BENCH ?= search_vs_uniform
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
TESTED := $(VENV)/.ready-to-test

.DEFAULT_GOAL := help
.PHONY: help hls data test quick lint docs dist bench clean

help: ## print what can be made
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 16

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("hepprune needs Python 3.11 or newer, $(PYTHON) is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[hls,rtl,jets,report,digits]'
	@touch $@

$(TESTED): $(READY) requirements-dev.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --requirement requirements-dev.txt
	@touch $@

hls: $(READY) ## the main job: jets -> smaller network -> firmware -> measured figures (RECIPE=path.yaml)
	$(BIN)/hepprune run $(RECIPE)

data: $(READY) ## make jets with Pythia (JETS=100000 SEED=1 OUT=datasets/jets.root)
	$(BIN)/hepprune data make --jets $(JETS) --seed $(SEED) --out $(OUT)

test: $(TESTED) ## the whole test suite
	$(BIN)/hepprune prepare
	$(BIN)/python -m pytest -n 2 --dist loadgroup

quick: $(TESTED) ## the tests that are not marked slow
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m 'not slow'

lint: $(TESTED) ## ruff, mypy --strict, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(TESTED) ## the pages of docs/ as a site in docs/_build/html; a warning is an error
	$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html

dist: $(TESTED) ## sdist, the wheel that is built of it, and a small run of that wheel in a clean environment
	rm -rf dist
	$(BIN)/python -m build --outdir dist .
	$(PYTHON) -m venv dist/clean
	dist/clean/bin/python -m pip install --quiet --constraint constraints.txt torch
	dist/clean/bin/python -m pip install --quiet --constraint constraints.txt "$$(echo dist/*.whl)[hls,rtl,report]"
	cd dist && clean/bin/hepprune run ../tests/small.yaml --build run --no-plots

bench: $(READY) ## a side-by-side comparison of benchmarks/, results as JSON in benchmarks/results (BENCH=search_vs_uniform)
	$(BIN)/python benchmarks/$(BENCH).py

clean: ## remove what runs have built (not the jets)
	rm -rf dist hls_projects/*/build benchmarks/results .pytest_cache .mypy_cache .ruff_cache .hypothesis docs/_build
