PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
EXTRAS := sevennet,chgnet,tblite,pyscf,gpaw,mongod,dev

.PHONY: run test setup

run: setup
	$(BIN)/al-loop run configs/quickstart.yaml

test: setup
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest

setup: .venv/.installed

# gpaw is built from its source distribution and needs a C++ compiler in place of the C one. With GPAW_BUILD_JOBS its
# wheel comes out without the compiled part, and pip's cache keeps such a wheel: it is then built once more, uncached.
PIP_INSTALL := env -u GPAW_BUILD_JOBS CC=g++ CXX=g++ $(BIN)/python -m pip install --quiet --quiet -c constraints.txt

.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(PIP_INSTALL) torch==2.13.0
	$(PIP_INSTALL) -e '.[$(EXTRAS)]'
	$(BIN)/python -c "import _gpaw" || $(PIP_INSTALL) --force-reinstall --no-deps --no-cache-dir gpaw
	touch $@
