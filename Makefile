# make install: .venv with sepjax.  make demo: train, evaluate and report on the shipped
# music.  make box SONGS=DIR: the small separator of the package anew.  make test: all
# checks.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
RUN ?= runs/demo
BEAM := $(VENV)-beam

.PHONY: install demo box test test-beam lint clean

install: $(VENV)/.core

# glibc: keep freed memory, in huge pages; a training step is a fifth faster on CPU.
demo box: export GLIBC_TUNABLES = glibc.malloc.hugetlb=1
demo box: export MALLOC_MMAP_MAX_ = 0
demo box: export MALLOC_TRIM_THRESHOLD_ = 1099511627776
demo: $(VENV)/.core
	$(BIN)/python run_experiment.py --config=configs/demo.py --workdir=$(RUN)

box: $(VENV)/.core
	$(BIN)/python tools/box.py music runs/box_music
	$(BIN)/python run_experiment.py --config=configs/box.py --workdir=runs/box \
		--config.data.root=$(SONGS) --config.train.teacher_music=runs/box_music
	$(BIN)/python tools/box.py weights runs/box sepjax/weights/shipped/small

test: $(VENV)/.test lint
	$(BIN)/python -m pytest -n auto --dist loadfile -m "not slow and not gpu"

test-beam: $(BEAM)/.beam
	$(BEAM)/bin/python -m pytest tests/data_pipelines/test_tfds_stems.py

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) $(BEAM) .cache build *.egg-info

# A stamp is newer than what it was made from: a second call installs nothing.
$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "sepjax needs Python 3.11 or newer: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.core: setup.py setup.cfg constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install -q -c constraints.txt -e .
	touch $@

$(VENV)/.test: setup.py constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[data,media,onnx,test]'
	touch $(VENV)/.core $@

# Apache Beam refuses these packages as new as constraints.txt has them.
OLDER := beartype|numpy|pillow|protobuf|pyarrow|python-dateutil

$(BEAM)/.beam: setup.py constraints.txt
	$(PYTHON) -m venv $(BEAM)
	grep -viE '^($(OLDER))==' constraints.txt > $(BEAM)/constraints.txt
	$(BEAM)/bin/python -m pip install -q -c $(BEAM)/constraints.txt -e '.[beam,data,test]'
	touch $@
