"""A real Kubernetes control plane for tests: etcd, API server, controllers, scheduler and simulated nodes.

`build` compiles it once per machine, `control_plane` starts one, and `shared` starts one per test run.
"""
