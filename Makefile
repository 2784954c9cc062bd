# `make demo` and `make test` need Python >= 3.11 and make alone; both create .venv on first use.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

# NumPy and SciPy each bring an OpenBLAS; two thread pools on few cores slow small products down several times
export OPENBLAS_NUM_THREADS ?= 1

.PHONY: demo test test-oldest test-newest test-random mutants lint types docs gallery format clean
.DELETE_ON_ERROR:

demo: $(VENV)/.with-problems
	$(BIN)/actionopt plot adjoints problems/digits.py --set samples=1797 --out out/adjoints.png
	$(BIN)/actionopt run problems/iris.py --out out/iris

test: $(VENV)/.with-test
	$(BIN)/python -m pytest

# the quick tests in environments of their own: the oldest versions that setup.cfg admits, and the newest there are
test-oldest: $(VENV)-oldest/.made
	$(VENV)-oldest/bin/python -m pytest -m "not slow"

test-newest: $(VENV)-newest/.made
	$(VENV)-newest/bin/python -m pytest -m "not slow"

# the properties with fresh seeds and more of them, as a machine does at night
test-random: $(VENV)/.with-test
	ACTIONOPT_RANDOM=1 $(BIN)/python -m pytest tests/fuzz tests/test_invariants.py tests/metric tests/ops

# small faults in the files that differ from main, or FILES=, which their tests, or TESTS=, do not notice
mutants: $(VENV)/.with-test $(VENV)/.with-dev
	FILES="$(FILES)" TESTS="$(TESTS)" VENV="$(VENV)" .ci/mutants

lint: $(VENV)/.with-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.with-dev
	$(BIN)/mypy

# out/site/index.html, strict, nothing from the network; its search needs a server: python -m http.server -d out/site
docs: $(VENV)/.with-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet

# the figures of the gallery again, from the scripts of plots/
gallery: $(VENV)/.with-problems
	$(BIN)/python docs/gallery.py

format: $(VENV)/.with-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf out build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis

# a stamp an extra: installing again only when the requirements change
$(VENV)/.with-%: setup.cfg pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --config-settings editable_mode=compat --editable '.[$*]'
	touch $@

$(VENV)-oldest/.made: PINS := --constraint .ci/oldest.txt
$(VENV)-newest/.made: PINS := --upgrade --upgrade-strategy eager
$(VENV)-%/.made: setup.cfg pyproject.toml .ci/oldest.txt
	$(PYTHON) -m venv --clear $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check $(PINS) \
	  --config-settings editable_mode=compat --editable '.[test]'
	touch $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else \
	  "actionopt needs Python >= 3.11, got " + sys.version.split()[0] + "; name one with make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
