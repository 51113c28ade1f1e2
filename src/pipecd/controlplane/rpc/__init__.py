"""Calls that are served: one table of methods, two doors, and the handlers, one package a service."""
