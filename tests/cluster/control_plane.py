"""A simulated cluster on free ports, as tests use it.

`python -m tests.cluster.control_plane` starts one until it is interrupted.
"""

import json
import signal
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

from pipecd.quickstart.simulated_cluster import control_plane
from tests.cluster.build import build
from tests.ports import free_ports


@dataclass(frozen=True, kw_only=True)
class Cluster(control_plane.Cluster):
    """Workers of one run pass it to each other as JSON."""

    def get(self, path: str) -> Any:
        """The object at `path`; None if there is none."""
        try:
            return self.request(path)
        except HTTPError as error:
            if error.code == 404:
                return None
            raise

    def to_json(self) -> str:
        return json.dumps({"url": self.url, "directory": str(self.directory), "tokens": dict(self.tokens)})

    @classmethod
    def from_json(cls, text: str) -> "Cluster":
        stored = json.loads(text)
        return cls(url=stored["url"], directory=Path(stored["directory"]), tokens=stored["tokens"])


class ControlPlane(control_plane.ControlPlane):
    cluster: Cluster

    def __init__(self, binary: Path, directory: Path, *, api_server_flags: Sequence[str] = ()) -> None:
        super().__init__(
            binary,
            directory,
            free_ports(3),
            api_server_flags=api_server_flags,
            # A quarter less CPU time than with the quickstart's value, for a tenth more memory.
            heap_growth=200,
            # An eighth less CPU time: threads of an idle processor do not look for work.
            processors=1,
        )
        plain = self.cluster
        self.cluster = Cluster(url=plain.url, directory=plain.directory, tokens=plain.tokens)

    def __enter__(self) -> Cluster:
        super().__enter__()
        return self.cluster


def main() -> None:
    with (
        tempfile.TemporaryDirectory(prefix="control-plane-") as directory,
        ControlPlane(build(), Path(directory)) as cluster,
        suppress(KeyboardInterrupt),
    ):
        print(f"kubectl --kubeconfig {cluster.kubeconfig} get nodes\nCtrl-C ends it.", flush=True)
        signal.pause()


if __name__ == "__main__":
    main()
