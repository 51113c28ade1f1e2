"""Values and rules: what a deployment is and what follows from what.

Standard library only; no clock, logger, I/O or asyncio. Facts come in as arguments, decisions go
out as values, and each decision carries its reason as a sentence.
"""
