# make demo writes a song and separates it; make test runs the tests. All install into .venv first.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: install demo test coverage torture check docs constraints

install: .venv/installed

# The stamp is older than these files when the dependencies have changed. Users may have newer versions than we test with.
.venv/installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'  # older ones know no dependency groups
	$(BIN)/python -m pip install --editable . --group dev --constraint constraints.txt
	touch $@

demo: install
	$(BIN)/stemsplit demo --output demo

# A process per core, with a thread each. Left to itself, xdist takes files of few tests last, which are the long ones.
SPREAD = -n auto --dist loadfile --no-loadscope-reorder

test: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(SPREAD)

# The same, and which lines the tests run. To count them takes time.
coverage: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --cov $(SPREAD)

torture: install
	PYTHONPATH=tests $(BIN)/python -m torture

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The site in build/site; a link that leads nowhere is an error. While you write: .venv/bin/mkdocs serve
docs: install
	$(BIN)/python -m pip install --quiet --group docs --constraint constraints.txt
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# The newest versions that pyproject.toml admits, for every Python and system; PyTorch stays where it was until TORCH says
# otherwise: `make constraints TORCH=2.14.0`. Needs uv.
TORCH ?= $(shell sed -n 's/^torch==\([0-9.]*\).*/\1/p' constraints.txt)
constraints:
	echo 'torch==$(TORCH)' | uv pip compile --quiet --universal --upgrade --python-version 3.10 --no-annotate \
		--custom-compile-command 'make constraints' --constraint - --group dev --group docs --output-file constraints.txt pyproject.toml
