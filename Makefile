# Thin names for `python bootstrap.py ...`, which works where there is no make.
PYTHON ?= python3

.PHONY: demo test lint setup clean

demo test lint setup clean:
	@$(PYTHON) bootstrap.py $@
