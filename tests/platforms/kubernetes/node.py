"""A node of the cluster whose kubelet answers requests for logs. Only pods that name it run on it."""

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.cluster.control_plane import Cluster
from tests.cluster.https import https_server


class Node:
    def __init__(self, name: str) -> None:
        self.name = name
        #: The paths of the requests, with their parameters.
        self.requests: list[str] = []
        #: The log of every container.
        self.text = ""
        #: What a followed log contains after `text`; None ends it.
        self.following: queue.Queue[str | None] = queue.Queue()
        #: How many followed logs the API server has given up.
        self.abandoned: queue.Queue[str] = queue.Queue()
        #: Released for each part of a followed log that was written or could not be.
        self.wrote = threading.Semaphore(0)

    def answer(self, path: str, body: Any) -> Any:
        self.requests.append(path)
        return self._follow(path) if "follow=true" in path else self.text

    def _follow(self, path: str) -> Iterator[str]:
        ended = False
        try:
            yield self.text
            while (part := self.following.get(timeout=60)) is not None:
                yield part
                self.wrote.release()
            ended = True
        finally:
            if not ended:
                self.abandoned.put(path)
                self.wrote.release()


@contextmanager
def running_node(cluster: Cluster, name: str, directory: Path) -> Iterator[Node]:
    node = Node(name)
    with https_server(cluster, directory, node.answer) as port:
        body = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}
        cluster.request("/api/v1/nodes", {**body, "spec": {"unschedulable": True}})
        status = {
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
        }
        cluster.request(
            f"/api/v1/nodes/{name}/status",
            {"status": status},
            method="PATCH",
            content_type="application/merge-patch+json",
        )
        try:
            yield node
        finally:
            node.following.put(None)
            cluster.request(f"/api/v1/nodes/{name}", method="DELETE")
