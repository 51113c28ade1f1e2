"""The ports of a quickstart: consecutive ports starting with the console's."""

import socket
from collections.abc import Sequence
from dataclasses import dataclass

from pipecd.errors import ConfigError

DEFAULT_PORT = 8080


@dataclass(frozen=True)
class Ports:
    console: int = DEFAULT_PORT

    @property
    def api(self) -> int:
        """gRPC, for agents and `pipectl`."""
        return self.console + 1

    @property
    def git(self) -> int:
        return self.console + 2

    @property
    def server_admin(self) -> int:
        return self.console + 3

    @property
    def agent_admin(self) -> int:
        return self.console + 4

    @property
    def aws(self) -> int:
        """The emulated AWS, if enabled."""
        return self.console + 5

    @property
    def cluster(self) -> Sequence[int]:
        """The simulated cluster, if enabled: its API server and its database."""
        return [self.console + number for number in (6, 7, 8)]

    @property
    def google(self) -> int:
        """The emulated Google Cloud, if enabled."""
        return self.console + 9

    @property
    def inbox(self) -> int:
        """The page that shows notifications."""
        return self.console + 10

    def check(self, *, with_aws: bool = False, with_cluster: bool = False, google: bool = False) -> None:
        """Raises ConfigError if one of the ports is in use."""
        ports = [self.console, self.api, self.git, self.server_admin, self.agent_admin, self.inbox]
        ports += [self.aws] if with_aws else []
        ports += self.cluster if with_cluster else []
        ports += [self.google] if google else []
        in_use = [port for port in ports if not _is_free(port)]
        if in_use:
            other = self.console + 1000
            raise ConfigError(
                f"port {', '.join(map(str, in_use))} is in use on this machine",
                remedy=f"stop the process that uses it, or choose others: `make quickstart PORT={other}`"
                f" (or `pipecd quickstart --port {other}`)",
            )


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
