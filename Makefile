PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
NEWEST_KERNEL := .cache/ipykernel-newest

.PHONY: lab demo test check samples notebooks

lab: $(VENV)/.lab       ## open JupyterLab on the notebook series
	$(BIN)/segnb lab

demo: $(VENV)/.lab      ## run the quickstart without a browser, into demo/
	$(BIN)/segnb demo

test: check $(NEWEST_KERNEL)  ## everything: style, layers, unit tests, notebooks, browser
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests --ignore=tests/browser -n 2 --dist worksteal
	$(BIN)/python -m pytest tests/browser notebooks

check: $(VENV)/.test    ## style and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

samples: $(VENV)/.lab   ## draw the shipped sample pictures again
	$(BIN)/python -m segnb.data.samples data_samples

notebooks: $(VENV)/.lab ## execute the notebooks and save them with their pictures
	$(BIN)/python notebooks/save.py notebooks/*.ipynb

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit("segnb needs Python 3.10 or newer; set PYTHON=python3.12, say" if sys.version_info < (3, 10) else 0)'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.lab: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install -q -e ".[lab,export]"
	touch $@

$(VENV)/.test: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install -q -e ".[test]"
	touch $@

# Widgets must also work on the newest kernel, whichever one segnb installs.
$(NEWEST_KERNEL): | $(VENV)/bin/python
	$(BIN)/python -m pip install -q --no-deps --target $@ ipykernel
