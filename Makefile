# Every target first sets up .venv, once; a repeated call is a no-op and needs no network.
PYTHON ?= python3
UV     := uv==0.13.9
JOBS   ?= 2
DIR    ?= nbs
BIN    := .venv/bin
STAMP  := .venv/.ready

# The course's own runs use the built-in data, so that everyone gets the committed results.
export COURSE_OFFLINE ?= 1
# Bytecode is compiled at set-up; nothing here may switch that off.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup run test student site lab bench readme lock clean chapter
help:
	@echo "make run     set up, export, run the course, show the results table"
	@echo "make test    everything that must hold: modules, tools, library, notebooks"
	@echo "make student the course without the solutions, in student/"
	@echo "make site    the course as a website, in site/; make site CHECK=1 also looks at it in a browser"
	@echo "make chapter NUMBER=12 TITLE=\"Text\"  a new chapter from a template that runs"
	@echo "make lab     JupyterLab on the notebooks; DIR=student on your copies; CHECK=1 tries it in a browser"
	@echo "make bench   the benchmarks; each prints ratios"
	@echo "make readme  README.md's results table and picture and the instructors' table anew, from results.json and the notebooks"
	@echo "make lock    requirements.txt anew from pyproject.toml"
	@echo "make clean   remove the environment and the caches; data you fetched stays"

setup: $(STAMP)

# uv installs side by side and compiles the bytecode; where it is not to be had, pip does the same, slower.
# The .pth file makes `exp` importable from any folder and in every Jupyter front end.
$(STAMP): requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version.split()[0] + "; name another one: make PYTHON=python3.12")'
	@echo "Setting up .venv: once, some minutes and 7 GB on Linux (torch comes with its GPU libraries)"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@if $(BIN)/python -m pip install -q --disable-pip-version-check $(UV); then \
		$(BIN)/uv pip sync -q --python $(BIN)/python --compile-bytecode requirements.txt; \
	else \
		echo "uv is not to be had here: installing with pip"; \
		$(BIN)/python -m pip install -q --disable-pip-version-check --compile -r requirements.txt; \
	fi
	@$(BIN)/python -c 'import os, sysconfig; open(os.path.join(sysconfig.get_path("purelib"), "course.pth"), "w").write(os.getcwd() + "\n")'
	@touch $@

run: $(STAMP)
	@$(BIN)/python notebook2script.py
	@$(BIN)/python run_notebook.py --jobs $(JOBS)

test: $(STAMP)
	$(BIN)/python notebook2script.py --check
	$(BIN)/python -m pytest
	$(BIN)/python run_notebook.py --jobs $(JOBS) --exercises

student: $(STAMP)
	@$(BIN)/python -m coursekit.exercises student

# Made of the stored outputs, offline: Sphinx, its theme and MathJax are in requirements.txt.
site: $(STAMP)
	@$(BIN)/python -m coursekit.site
	@$(if $(CHECK),$(BIN)/python -m coursekit.site check)

# NUMBER and TITLE reach the recipe through its environment, so that no quote in a title can harm.
chapter: $(STAMP)
	@$(BIN)/python -m coursekit.newchapter "$$NUMBER" "$$TITLE"

# Students may fetch the real data: the network is not switched off here.
lab: $(STAMP)
	$(if $(CHECK),$(BIN)/python -m coursekit.lab,cd $(DIR) && COURSE_OFFLINE= JUPYTER_PREFER_ENV_PATH=1 $(CURDIR)/$(BIN)/jupyter lab $(LAB_ARGS))

# bench/recipes.py trains for half an hour and more: python bench/recipes.py --set mnist
bench: $(STAMP)
	@for b in $(filter-out bench/corpus.py bench/recipes.py,$(wildcard bench/*.py)); do echo "== $$b"; $(BIN)/python $$b || exit 1; done

readme: $(STAMP)
	$(BIN)/python run_notebook.py --readme
	$(BIN)/python -m coursekit.pictures
	$(BIN)/python -m coursekit.chapters

lock: $(STAMP)
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --all-extras --no-header --no-annotate \
		--no-emit-index-url pyproject.toml -o requirements.txt

clean:
	rm -rf .venv .course .pytest_cache .hypothesis site
	find . -name __pycache__ -prune -exec rm -rf {} +
