"""The parts behind `notebook2script.py` and `run_notebook.py`: one file per concern."""
