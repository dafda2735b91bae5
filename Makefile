# Two commands are the contract: `make demo` and `make test`. Both set up what they need in $(VENV) first.
PYTHON ?= python3
VENV ?= .venv
RUN = $(VENV)/bin/python -m
OUT ?= runs/demo

.PHONY: demo test lint docs bench clean

# A stamp per set of extras, renewed when what is to be installed changes.
$(VENV)/.installed-%: pyproject.toml constraints.txt
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --constraint constraints.txt --editable '.[$*]'
	touch $@

demo: $(VENV)/.installed-all
	$(RUN) offramp demo --out $(OUT)

test: $(VENV)/.installed-dev
	$(RUN) pytest --numprocesses auto --maxprocesses 8 --dist loadfile

lint: $(VENV)/.installed-dev
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy
	$(VENV)/bin/lint-imports
	$(RUN) mkdocs build --strict --quiet --site-dir build/site

docs: $(VENV)/.installed-dev
	$(RUN) mkdocs serve

bench: $(VENV)/.installed-dev
	for script in benchmarks/[a-z]*.py; do $(VENV)/bin/python $$script || exit 1; done

clean:
	rm -rf build dist runs $(VENV)
