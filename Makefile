# make demo, make test: a fresh machine needs nothing else. make gpu: on a machine with CUDA.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint bench gpu clean

.venv/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[demo,dev]'
	touch $@

demo: .venv/.installed
	$(BIN)/gpusampler demo

lint: .venv/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	$(BIN)/python -m pytest

clean:
	rm -rf .venv build dist *.egg-info
