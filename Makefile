# make install: .venv with sepjax.  make demo: train, evaluate and report on the shipped
# music.  make box SONGS=DIR: the small separator of the package anew.  make test: all
# checks.  make docs: the documentation site.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
RUN ?= runs/demo
BEAM := $(VENV)-beam

.PHONY: install demo box docs notebook test test-beam lint clean

install: $(VENV)/.core

demo: $(VENV)/.core
	$(BIN)/sepjax demo --workdir=$(RUN)

box: $(VENV)/.core
	$(BIN)/python tools/box.py music runs/box_music
	$(BIN)/sepjax train --config=box --workdir=runs/box --keep_memory \
		--config.data.root=$(SONGS) --config.train.teacher_music=runs/box_music
	$(BIN)/python tools/box.py weights runs/box sepjax/weights/shipped/small

notebook: $(VENV)/.docs
	$(BIN)/jupyter execute --inplace docs/notebooks/*.ipynb

docs: $(VENV)/.docs
	$(BIN)/python -m sphinx -W -n --keep-going -q -b html -d .cache/docs docs build/site
	$(BIN)/python tools/documentation.py check build/site

test: $(VENV)/.test lint
	$(BIN)/python -m pytest -n auto --dist loadfile -m "not slow and not gpu"

test-beam: $(BEAM)/.beam
	$(BEAM)/bin/python -m pytest tests/data_pipelines/test_tfds_stems.py

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) $(BEAM) .cache build docs/api *.egg-info

# A stamp is newer than what it was made from: a second call installs nothing.
$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "sepjax needs Python 3.11 or newer: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.core: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install -q -c constraints.txt -e .
	touch $@

$(VENV)/.test: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[data,onnx,test]'
	touch $(VENV)/.core $@

$(VENV)/.docs: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[data,docs,onnx]'
	touch $(VENV)/.core $@

# Apache Beam refuses these packages as new as constraints.txt has them.
OLDER := beartype|numpy|pillow|protobuf|pyarrow|python-dateutil

$(BEAM)/.beam: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(BEAM)
	grep -viE '^($(OLDER))==' constraints.txt > $(BEAM)/constraints.txt
	$(BEAM)/bin/python -m pip install -q -c $(BEAM)/constraints.txt -e '.[beam,data,test]'
	touch $@
