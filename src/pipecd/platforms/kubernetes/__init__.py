"""The Kubernetes platform. Not registered yet: applications of the kind KUBERNETES are refused.

`cluster` calls the API of a cluster.
"""
