"""A Kubernetes cluster on this machine, without containers: a real control plane with a simulated node.

Its pods have the statuses of running pods, but run nothing. `make cluster` builds the control plane's binary,
which is no part of this package. For the quickstart, and for tests.
"""
