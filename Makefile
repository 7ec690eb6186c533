# Two commands matter: `make run` and `make test`. Both install what they need.

NEW_ENOUGH := -c 'import sys; sys.exit(sys.version_info < (3, 11))'
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do $$p $(NEW_ENOUGH) 2>/dev/null && echo $$p && break; done)
VENV   := .venv
BIN    := $(VENV)/bin
ARGS   ?=

.DEFAULT_GOAL := help
.PHONY: help run chat test check fix generate bench clean

help: ## say what there is
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):[^#]*## (.*)/  make \1\t\2/' | expand -t 18

run: $(VENV)/installed ## install, then start the gateway with the echo agent (ARGS="--port 9000 --demo")
	@echo "Starting. When it says ready, try in another terminal:"
	@echo "  $(BIN)/gateway chat"
	@echo "  $(BIN)/gateway call session.send '{\"key\":\"hello\",\"content\":\"hello world\",\"create\":{\"agent\":\"echo\"},\"wait\":true}'"
	@echo "  $(BIN)/gateway sessions list"
	@$(BIN)/gateway serve --log-format console $(ARGS)

chat: $(VENV)/installed ## talk to the echo agent of the running gateway
	@$(BIN)/gateway chat $(ARGS)

test: $(VENV)/installed-dev ## install, then run every test (ARGS="tests/e2e -x")
	@$(BIN)/python -m pytest $(ARGS)

check: $(VENV)/installed-dev ## lint, format, types, layers, generated files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python scripts/generate.py --check

fix: $(VENV)/installed-dev ## mend what a machine can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

generate: $(VENV)/installed-dev ## write openrpc.json and REFERENCE.md anew
	$(BIN)/python scripts/generate.py

bench: $(VENV)/installed-dev ## measure, as ratios against a floor of the same run
	$(BIN)/python scripts/bench $(ARGS)

clean: ## remove what was built; never ./data
	rm -rf $(VENV) dist build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@test -n "$(PYTHON)" && $(PYTHON) $(NEW_ENOUGH) \
		|| { echo "Python 3.11 or newer is needed: install it, or name it with PYTHON=…"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[speed]'
	@touch $@

$(VENV)/installed-dev: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[speed,dev]'
	@touch $@ $(VENV)/installed
