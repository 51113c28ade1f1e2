"""Values and decision rules for applications and deployments.

Standard library only; no clock, logger, I/O or asyncio. Inputs are arguments, decisions are return values,
and each decision carries its reason as a sentence.
"""
