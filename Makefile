# Everything runs in .venv, which the first command creates; each command may be repeated.
PYTHON ?= python3
BIN := .venv/bin
# One process per core; threads in each would only wait for one another.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal

.PHONY: demo test slow lint types clean

demo: .venv/installed
	$(BIN)/python -m mlgraph demo

test: .venv/installed-test
	$(PYTEST)

slow: .venv/installed-test
	$(PYTEST) -m slow

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/installed-dev
	$(BIN)/mypy --strict -p mlgraph -p mlgraph_nodes

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/installed: .venv/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

.venv/installed-%: .venv/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable ".[$*]"
	touch $@ .venv/installed

clean:
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
