# Two commands do all the set-up on a fresh machine with Python 3.11+: `make run` and `make test`.

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
PORT ?= 8080
CLIENTS ?= 5
ROUNDS ?= 10
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: run test lint types layers check bench clean

run: $(VENV)/.installed  ## set up, then a real federation on the embedded data
	@mkdir -p .fedanomaly
	@$(PY) run_clients.py --clients $(CLIENTS) --port $(PORT) > .fedanomaly/run_clients.log 2>&1 & \
	$(PY) server.py --clients $(CLIENTS) --rounds $(ROUNDS) --port $(PORT); status=$$?; wait; exit $$status

test: $(VENV)/.installed-dev lint types layers  ## set up, then lint, types, layers and tests
	$(PY) -m pytest -n 2 --dist worksteal

lint: $(VENV)/.installed-dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

types: $(VENV)/.installed-dev
	$(VENV)/bin/mypy

layers: $(VENV)/.installed-dev
	$(VENV)/bin/lint-imports

bench: $(VENV)/.installed-dev  ## ratios measured side by side; see benchmarks/README.md
	$(PY) -m benchmarks

clean:
	rm -rf $(VENV) .fedanomaly .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache

$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version.split()[0] + "; try: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(PY) requirements.txt
	@echo "installing the pinned packages (some minutes, once) ..."
	$(PY) -m pip install -q -r requirements.txt
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed pyproject.toml
	$(PY) -m pip install -q -r requirements.txt -e ".[dev]"
	@touch $@
