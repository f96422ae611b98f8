# Thin names for `python bootstrap.py ...`, which works where there is no make.
PYTHON ?= python3

.PHONY: demo test lint docs linkcheck setup clean

demo test lint docs setup clean:
	@$(PYTHON) bootstrap.py $@

linkcheck:
	@$(PYTHON) bootstrap.py docs linkcheck
