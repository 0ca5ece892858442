# Every target works on a fresh Debian 12 with Python 3.11 to 3.13 and make, again at once, and in any order.
.DEFAULT_GOAL := help
.PHONY: help venv demo run test check docs lock debian-packages bench clean

# The first interpreter that really runs and is of a supported version (a version manager's shim may exist and not run).
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo $$p && break; done)
# The first of the seven ports of a new ./run/, 2500 when nothing is said.
PORTS ?=
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check -qq
PACKAGES := mssante tls espace_confiance annuaire smtp_in smtp_out imap portail

help:
	@echo "make demo    plays the whole story between two operators and the citizens' mailboxes, then stops"
	@echo "make run     serves a ready-to-use operator in ./run/ until interrupted"
	@echo "make test    installs what the tests talk to, then runs every check and every test"
	@echo "make check   style, types and directions of imports only"
	@echo "make docs    writes the generated pages of docs/ anew"
	@echo "make venv    builds .venv only; .venv/bin/mssante is the command"
	@echo "make bench   measures this operator beside Postfix and Dovecot on this machine (root)"
	@echo "make lock    writes requirements*.txt anew from pyproject.toml"
	@echo "make clean   removes .venv, ./run/ and what the tools leave"

venv: .venv/installed

# Nothing is resolved here: every file that pip takes has its hash in requirements*.txt.
.venv/installed: requirements.txt requirements-dev.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "make: no Python 3.11 to 3.13 found: install one, or say make PYTHON=/path/of/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || test "$$(id -u)" != 0 || \
		{ apt-get update -q && apt-get install -q -y --no-install-recommends python3-venv; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "make: $(PYTHON) has no venv: apt-get install python3-venv" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "building .venv with $$($(PYTHON) -V) ..."
	@$(PIP) --require-hashes -r requirements.txt -r requirements-dev.txt
	@$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

demo: venv
	$(BIN)/python -P -m mssante.demo

run: venv
	$(BIN)/python -P -m mssante.demo.ready run $(PORTS)
	$(BIN)/mssante -c run/mssante.toml serve

check: venv
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

test: check debian-packages
	$(BIN)/pytest

# Real clients that the tests drive. Without root the tests that need a missing one say so.
debian-packages:
	@missing=$$(for p in $$(cat tests/debian-packages.txt); do \
		dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q '^install ok installed$$' || echo $$p; done); \
	if [ -n "$$missing" ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $$missing; \
	elif [ -n "$$missing" ]; then echo "make: not installed, their tests are skipped:" $$missing; fi

docs: venv
	$(BIN)/python docs/generate.py

bench: venv
	bench/run.sh quick

# No registry's name and no path of this machine gets into the files.
LOCK := $(BIN)/uv pip compile pyproject.toml -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url
lock: venv
	$(PIP) uv
	$(LOCK) --upgrade -o requirements.txt
	$(LOCK) --upgrade --group dev -c requirements.txt -o requirements-dev.txt

clean:
	rm -rf .venv run .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find $(PACKAGES) tests -name __pycache__ -prune -exec rm -rf {} +
