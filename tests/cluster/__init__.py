"""A real Kubernetes control plane for tests: etcd, API server, controllers, scheduler and simulated nodes.

`build` compiles it once per machine, `control_plane` starts one, as the quickstart does, and `shared` starts
one per test run.
"""
