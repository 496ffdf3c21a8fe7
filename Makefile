# make demo, make test: a fresh machine needs nothing else. make gpu: on a machine with CUDA.
PYTHON ?= python3
BIN := .venv/bin
LOWEST := .venv-versions
# the oldest Python that is promised, where there is one
OLDEST ?= $(firstword $(shell command -v python3.10) $(PYTHON))

.PHONY: demo test quick lint versions bench gpu clean

.venv/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[demo,dev]'
	touch $@

.venv/.trainers: .venv/.installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test-integrations]'
	touch $@

demo: .venv/.installed
	$(BIN)/gpusampler demo

lint: .venv/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# What an edit breaks first: all that is not marked slow, of the folders that an edit is made for.
QUICK := bits plans cpu index ops stream samplers reference kernels/test_parity.py \
	guarantees/test_golden.py guarantees/test_guarantees.py guarantees/test_histories.py \
	project/test_house.py project/test_errors.py project/test_keywords.py

quick: lint
	$(BIN)/python -m pytest -m "not slow" $(addprefix tests/,$(QUICK)) gpusampler

test: lint .venv/.trainers
	$(BIN)/python -m pytest

$(LOWEST)/.installed: pyproject.toml constraints-lowest.txt
	test -x $(LOWEST)/bin/python || $(OLDEST) -m venv $(LOWEST)
	$(LOWEST)/bin/python -m pip install --quiet --constraint constraints-lowest.txt --editable '.[demo,dev]'
	touch $@

# On the lowest versions that pyproject.toml promises. Not the trainers, which have versions of their
# own, nor the statistics of streams, half of the time: golden files and parity hold the streams.
# Two warnings that these versions have of each other are no errors: numpy 1.26's of Triton's
# interpreter, and torch 2.11's of a sparse tensor whose invariants it was told to check.
versions: $(LOWEST)/.installed
	$(LOWEST)/bin/python -m pytest --ignore tests/integrations \
		--ignore-glob '*test_statistics*' --ignore-glob '*test_slow_kinds*' \
		--ignore-glob '*test_permutation*' \
		-W 'ignore:Conversion of an array with ndim:DeprecationWarning' \
		-W 'ignore:Sparse invariant checks:UserWarning'

# torchsampler asks for torchvision only to look at types: without it, a rival less to download
bench: .venv/.installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[bench]'
	$(BIN)/python -m pip install --quiet --no-deps torchsampler pandas
	$(BIN)/python -m pytest bench --write-results
	$(BIN)/python bench/cost.py
	$(BIN)/python bench/cooccurrence.py
	$(BIN)/python bench/mixing.py

# On a machine with CUDA, with the Python whose torch drives it.
gpu:
	$(PYTHON) -m pip install --quiet --no-deps --no-build-isolation --editable .
	$(PYTHON) -m pytest tests --ignore tests/project/test_demo.py --ignore tests/project/test_house.py \
		--ignore tests/project/test_package.py --ignore tests/project/test_types.py
	$(PYTHON) -m pytest bench/test_build.py bench/test_batch.py --write-results

clean:
	rm -rf .venv $(LOWEST) build dist *.egg-info
