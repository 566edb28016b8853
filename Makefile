# Every target first sets up .venv, once; a repeated call is a no-op and needs no network.
PYTHON ?= python3
BIN     = .venv/bin
STAMP   = .venv/.ready
UV      = uv==0.13.9
JOBS   ?= 2

.PHONY: help setup run test lab check lock clean
help:
	@echo "make run    set up, export, run the course, show the results table"
	@echo "make test   the test suite: the tools, the library, and every notebook"
	@echo "make lab    JupyterLab on the notebooks"
	@echo "make lock   compile requirements.txt anew from pyproject.toml"
	@echo "make clean  remove the environment, caches and downloads"

setup: $(STAMP)

# uv installs in parallel and compiles the bytecode; plain pip is the way back where uv is not to be had.
# The .pth file lets `exp` be imported from any folder and by every Jupyter front end.
$(STAMP): requirements.txt tools/setup_env.py
	$(PYTHON) tools/setup_env.py .venv $(UV)
	@touch $@
