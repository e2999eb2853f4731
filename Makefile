PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
EXTRAS := sevennet,pyscf,gpaw,mongod,dev

.PHONY: run test setup

run: setup
	$(BIN)/al-loop run configs/quickstart.yaml

test: setup
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest

setup: .venv/.installed

# gpaw is built from its source distribution and needs a C++ compiler in place of the C one.
.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --quiet torch==2.13.0 -c constraints.txt
	CC=g++ CXX=g++ $(BIN)/python -m pip install --quiet --quiet -c constraints.txt -e '.[$(EXTRAS)]'
	$(BIN)/python -c "import _gpaw"  # a wheel without its compiled part installs in silence
	touch $@
