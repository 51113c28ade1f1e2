"""Figures, not tests: `make bench`, or `python -m bench latency pages …`."""
