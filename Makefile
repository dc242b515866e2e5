# `make demo` runs the main job, `make test` the tests; both do all of the set-up.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.ONESHELL:
.PHONY: setup demo test bench check format lock clean

PYTHON ?=
venv := .venv
py := $(venv)/bin/python
stamp := $(venv)/.ready

setup: $(stamp)

# The lock holds names, versions and hashes; pip fetches them from wherever this machine's pip is set up to.
$(stamp): requirements.lock pyproject.toml
	@found=""
	for candidate in $(PYTHON) python3.13 python3.12 python3.11 python3 python; do
	  if "$$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then found=$$candidate; break; fi
	done
	if [ -z "$$found" ]; then echo "error: no Python 3.11, 3.12 or 3.13 found; install one, or name it: make setup PYTHON=/path/to/python" >&2; exit 6; fi
	echo "setting up $(venv) with $$($$found --version) (a few minutes, once)"
	$(py) -m pip --version >/dev/null 2>&1 || "$$found" -m venv --clear $(venv)
	$(py) -m pip install -qq --disable-pip-version-check --require-hashes -r requirements.lock
	$(py) -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $(stamp)

demo: $(stamp)
	@$(py) run_suite.py run examples/demo.toml --root results/demo
	$(py) run_suite.py table --root results/demo
	echo
	$(py) run_suite.py table aligned --root results/demo
	echo
	$(py) run_suite.py report demo --root results/demo -o results/demo/report.html
	echo
	echo "next:  $(py) run_suite.py results --root results/demo       # every run, and with --json every figure"
	echo "       $(py) run_suite.py plan examples/cluster.toml        # what a real sweep costs, before it runs"
	echo "       $(py) run_suite.py --help"

test: $(stamp)
	@$(py) -m pytest -n auto --maxprocesses 4 --dist loadgroup

bench: $(stamp)
	@$(py) -m bench.speed

check: $(stamp)
	@$(py) -m ruff format --check .
	$(py) -m ruff check .
	$(py) -m mypy

format: $(stamp)
	@$(py) -m ruff format .
	$(py) -m ruff check --fix .

# Renew the lock for Python 3.11 to 3.13 (needs uv); no host is written into it.
lock:
	@uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-annotate --no-header --quiet --output-file requirements.lock

clean:
	@rm -rf $(venv) results .mypy_cache .ruff_cache .pytest_cache .hypothesis build *.egg-info
