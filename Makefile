PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
NEWEST_KERNEL := .cache/ipykernel-newest

COLAB := .cache/colab
MMSEG := .cache/mmseg
MMSEG_PYTHON ?= python3.11

.PHONY: lab demo test check samples notebooks student parity

lab: $(VENV)/.lab       ## open JupyterLab on the notebook series
	$(BIN)/segnb lab

demo: $(VENV)/.lab      ## run the quickstart without a browser, into demo/
	$(BIN)/segnb demo

test: check $(NEWEST_KERNEL) $(COLAB)  ## everything: style, layers, unit tests, notebooks, browser
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests --ignore=tests/browser -n 2 --dist worksteal
	$(BIN)/python -m pytest tests/browser notebooks

check: $(VENV)/.test    ## style and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

parity: $(VENV)/.test $(MMSEG)/.done  ## compare with MMSegmentation itself, in an environment of its own; every method learns by heart
	$(MMSEG)/bin/python tests/parity/mmsegmentation/make.py .cache/mmseg-answers
	SEGNB_MMSEG_ANSWERS=.cache/mmseg-answers $(BIN)/python -m pytest tests/parity
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/test_overfitting.py -m "long or not long" -n 2

samples: $(VENV)/.lab   ## draw the shipped sample pictures again
	$(BIN)/python -m segnb.data.samples data_samples

notebooks: $(VENV)/.lab ## execute the notebooks and save them with their pictures
	$(BIN)/python notebooks/save.py notebooks/*.ipynb

student: $(VENV)/.lab   ## the notebooks for students, without solutions, and for instructors, solved, into editions/
	$(BIN)/python notebooks/editions.py editions

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

# Colab's kernel and its ipywidgets 7, in the classic notebook of their age; needs a Python 3.13 on the machine.
$(COLAB): tests/browser/colab.txt tests/browser/colab.py | $(VENV)/bin/python
	$(BIN)/python tests/browser/colab.py $@

# MMSegmentation needs an old mmcv, and a Python that has it.
$(MMSEG)/.done: tests/parity/mmsegmentation/requirements.txt
	$(MMSEG_PYTHON) -m venv $(MMSEG)
	$(MMSEG)/bin/pip install -q -r $<
	$(MMSEG)/bin/pip install -q --no-deps mmdet==3.3.0 mmpretrain==1.2.0
	touch $@
