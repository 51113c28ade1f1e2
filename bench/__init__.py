"""Benchmarks: run `make bench`, or `python -m bench latency pages …`."""
