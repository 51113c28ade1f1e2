"""Calls the Kubernetes API, without kubectl.

`kubeconfig` finds the address and the credentials, `api` sends requests, `errors` turns answers into errors,
`discovery` finds the resource of a kind, and `watch` follows objects.
"""
