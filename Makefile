# Two commands for users: `make demo` and `make test`. The environment is made on first use, in .venv.
PYTHON ?= python3
BIN := .venv/bin
ARGS ?=

.PHONY: demo test check format clean

.venv/.made: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

demo: .venv/.made
	@$(BIN)/python examples/demo/play.py $(ARGS)

test: .venv/.made
	$(BIN)/python -m pytest -n auto $(ARGS)

check: .venv/.made
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/.made
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
