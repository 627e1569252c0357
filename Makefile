# Everything that can be done from the command line; `make` alone lists it.
#
#   make reproduce ARGS="--only 02_metrics_and_baselines"     options for reid-lib reproduce
#   make test ARGS="-k ranking -x"                            options for pytest
#   make test PYTHON=python3.13                               the Python that .venv is made with
#   make test VENV=build/venv                                 another environment than .venv

PYTHON ?= python3
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help reproduce test oldest dist lint lab site benchmarks clean

help:
	@echo "make reproduce   run the notebooks and write their tables and figures (profile demo, built-in data)"
	@echo "make test        lint, unit tests, and every notebook under the smoke profile"
	@echo "make oldest      the same tests with the oldest versions that pyproject.toml allows (build/oldest)"
	@echo "make dist        build the wheel and the source archive: build/dist"
	@echo "make lint        formatting and static checks"
	@echo "make lab         open JupyterLab at the first notebook"
	@echo "make site        build results, notebooks, documents and the API as pages: build/site/index.html"
	@echo "make benchmarks  measure speed and memory as ratios to the plain way"
	@echo "make clean       remove caches and smoke results (keeps .venv and committed results)"

# Made by the first target that needs it and renewed when pyproject.toml changes. An environment whose pip does not run
# (interrupted, or its Python is gone) is made afresh.
$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(not (3, 11) <= v[:2] <= (3, 13))' || { \
	  echo "Python 3.11, 3.12 or 3.13 is needed, $(PYTHON) is `$(PYTHON) --version 2>&1`;" \
	       "name another one, for example: make $(or $(firstword $(MAKECMDGOALS)),test) PYTHON=python3.13" >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check -e '.[dev]'
	@touch $@

reproduce: $(STAMP)
	$(BIN)/reid-lib reproduce $(ARGS)

# One call for unit tests and notebooks, so that pytest's closing line counts both. nbval starts the kernel of the
# interpreter that runs pytest. One thread unless OMP_NUM_THREADS says otherwise; the tests pass with any number.
test: lint
	OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} REID_LIB_PROFILE=smoke \
	  $(BIN)/python -m pytest --nbval-lax --nbval-current-env tests notebooks $(ARGS)

# An environment of its own. pip reads the constraints from the variable. An old library beside a new one may call what
# that has deprecated: here such warnings are no errors.
oldest:
	mkdir -p build
	$(PYTHON) tests/oldest.py > build/oldest.txt
	PIP_CONSTRAINT=$(CURDIR)/build/oldest.txt $(MAKE) test VENV=build/oldest \
	  ARGS="-W default::DeprecationWarning -W default::FutureWarning $(ARGS)"

dist: $(STAMP)
	$(BIN)/python -m build --outdir build/dist

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

lab: $(STAMP)
	$(BIN)/jupyter lab notebooks/00_start_here.ipynb

site: $(STAMP)
	$(BIN)/reid-lib site $(ARGS)

benchmarks: $(STAMP)
	$(BIN)/python -m benchmarks $(ARGS)

clean:
	rm -rf .cache .pytest_cache .ruff_cache build results/smoke
	find benchmarks notebooks reid_lib tests -type d \( -name __pycache__ -o -name .ipynb_checkpoints \) -prune -exec rm -rf {} +
