# Everything runs in .venv, which the first command creates; each command may be repeated.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test slow lint types clean

demo: .venv/installed
	$(BIN)/python -m mlgraph demo

test: .venv/installed-test
	$(BIN)/python -m pytest

slow: .venv/installed-test
	$(BIN)/python -m pytest -m slow

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
