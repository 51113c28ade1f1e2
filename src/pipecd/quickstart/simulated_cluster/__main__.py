"""Runs a simulated cluster until SIGTERM or SIGINT. Its directory keeps what it stores.

python -m pipecd.quickstart.simulated_cluster BINARY DIRECTORY PORT PORT PORT
"""

import signal
import sys
import threading
from pathlib import Path

from pipecd.quickstart.simulated_cluster import gateway
from pipecd.quickstart.simulated_cluster.control_plane import ControlPlane


def main(binary: str, directory: str, *ports: str) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    plane = ControlPlane(Path(binary), Path(directory), [int(port) for port in ports])
    with plane as cluster:
        gateway.define_routes(cluster)
        accepting = (cluster, threading.Event())
        threading.Thread(target=gateway.accept_routes, args=accepting, daemon=True).start()
        print(f"kubectl --kubeconfig {cluster.kubeconfig} get nodes", flush=True)
        sys.exit(plane.wait())


if __name__ == "__main__":
    main(*sys.argv[1:])
