# Thin names for `python bootstrap.py ...`, which works where there is no make.
PYTHON ?= python3

.PHONY: demo test test-oldest test-newest lint docs linkcheck setup clean

demo test lint docs setup clean:
	@$(PYTHON) bootstrap.py $@

test-oldest:
	@$(PYTHON) bootstrap.py $@

test-newest:
	@$(PYTHON) bootstrap.py $@

linkcheck:
	@$(PYTHON) bootstrap.py docs linkcheck
