# make demo writes a song and separates it; make test runs the tests. All install into .venv first.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: install demo test check

install: .venv/installed

# The stamp is older than pyproject.toml when the dependencies have changed.
.venv/installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'  # older ones know no dependency groups
	$(BIN)/python -m pip install --editable . --group dev
	touch $@

demo: install
	$(BIN)/stemsplit demo --output demo

test: install
	$(BIN)/python -m pytest --cov

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
