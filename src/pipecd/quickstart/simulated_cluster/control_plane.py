"""Starts a control plane on loopback, without containers. It is ready in about four seconds on two cores.

    with ControlPlane(binary, directory, ports) as cluster:
        subprocess.run(["kubectl", "--kubeconfig", cluster.kubeconfig, "get", "nodes"])

Its processes are killed with the process that started it. Started again with the same directory and ports, it
continues with the objects and the certificate authority that it had.
"""

import ctypes
import json
import os
import secrets
import signal
import ssl
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from http.client import HTTPResponse
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from pipecd.json_input import decode_json
from pipecd.quickstart.simulated_cluster.certificates import Authority

STAGES = Path(__file__).with_name("stages")
#: Seconds until a control plane is ready, on a machine that does much else.
START_TIMEOUT = 180.0
#: User name → group, of the users with a bearer token.
USERS = {
    "admin": "system:masters",
    "controller-manager": "system:masters",
    "kwok": "system:masters",
    "system:kube-scheduler": "",
}
_CONTROLLERS = (
    *("deployment", "replicaset", "statefulset", "daemonset", "job", "cronjob", "endpoints", "endpointslice"),
    *("garbage-collector", "namespace", "serviceaccount", "persistentvolume-binder", "disruption"),
    *("ttl-after-finished", "clusterrole-aggregation", "horizontal-pod-autoscaler", "resourcequota"),
)
#: Interval of checks whether all processes run (seconds).
_CHECK_INTERVAL = 0.5
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A running control plane. `directory` contains its logs, `ca.crt` and `ca.key`."""

    url: str
    directory: Path
    #: User name → bearer token.
    tokens: Mapping[str, str]

    @property
    def ca_file(self) -> Path:
        return self.directory / "ca.crt"

    @cached_property
    def _tls_context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.ca_file))

    @property
    def kubeconfig(self) -> Path:
        """That of the administrator."""
        return self.directory / "admin.kubeconfig"

    def config(self, user: Mapping[str, Any], namespace: str = "default") -> dict[str, Any]:
        """The content of a kubeconfig for `user`, as in its list of users."""
        cluster = {"server": self.url, "certificate-authority": str(self.ca_file)}
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "test", "cluster": cluster}],
            "contexts": [
                {"name": "test", "context": {"cluster": "test", "user": "user", "namespace": namespace}}
            ],
            "users": [{"name": "user", "user": dict(user)}],
        }

    def request(
        self,
        path: str,
        body: Any = None,
        *,
        method: str | None = None,
        content_type: str = "application/json",
        timeout: float = 30.0,
    ) -> Any:
        """Calls the API as administrator. Returns the decoded answer. Raises OSError."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        with self.open(path, data, method=method, content_type=content_type, timeout=timeout) as response:
            answer = response.read()
        return decode_json(answer) if answer.startswith(b"{") else answer.decode()

    def open(
        self,
        path: str,
        data: bytes | None = None,
        *,
        method: str | None = None,
        content_type: str = "application/json",
        timeout: float = 30.0,
    ) -> HTTPResponse:
        """The same, but the answer can be read as it comes."""
        headers = {"Authorization": f"Bearer {self.tokens['admin']}", "Content-Type": content_type}
        request = Request(self.url + path, data=data, method=method, headers=headers)
        response: HTTPResponse = urlopen(request, context=self._tls_context, timeout=timeout)
        return response


class ControlPlane:
    """Starts the processes of a cluster in `directory`, and ends them."""

    def __init__(
        self,
        binary: Path,
        directory: Path,
        ports: Sequence[int],
        *,
        api_server_flags: Sequence[str] = (),
        heap_growth: int = 50,
        processors: int = 2,
    ) -> None:
        """`ports` are those of the API server and of the database, which needs two.

        `heap_growth`: by how many percent the programs' memory grows before they collect garbage.
        `processors`: how many each program uses at a time.
        """
        self._binary, self._directory = binary.resolve(), directory.resolve()
        self._port, self._etcd_port, self._peer_port = ports
        self._api_server_flags, self._heap_growth = api_server_flags, heap_growth
        self._processors = processors
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.cluster = Cluster(
            url=f"https://127.0.0.1:{self._port}", directory=self._directory, tokens=self._load_tokens()
        )

    @property
    def etcd_url(self) -> str:
        return f"http://127.0.0.1:{self._etcd_port}"

    def __enter__(self) -> Cluster:
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self.cluster

    def __exit__(self, *_: object) -> None:
        for name in reversed(list(self._processes)):
            self.kill(name)

    def kill(self, name: str) -> None:
        """Kills one of the processes, if it runs."""
        process = self._processes.pop(name, None)
        if process is None:
            return
        process.kill()
        process.wait()

    def start_api_server(self) -> None:
        """Starts it, also again after `kill`, and waits until it is ready."""
        if "kube-apiserver" in self._processes:
            return
        self._spawn(
            "kube-apiserver",
            f"--etcd-servers={self.etcd_url}",
            *("--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", f"--secure-port={self._port}"),
            *("--tls-cert-file=server.crt", "--tls-private-key-file=server.key"),
            *("--client-ca-file=ca.crt", "--token-auth-file=tokens.csv", "--authorization-mode=RBAC"),
            "--service-account-issuer=https://kubernetes.default.svc",
            *("--service-account-key-file=server.crt", "--service-account-signing-key-file=server.key"),
            *("--service-cluster-ip-range=10.0.0.0/16", "--allow-privileged"),
            # Nodes are never removed, and pods need no token.
            "--disable-admission-plugins=ServiceAccount,TaintNodesByCondition",
            *("--enable-priority-and-fairness=false", "--profiling=false", "--endpoint-reconciler-type=none"),
            *("--shutdown-delay-duration=0s", "-v=1"),
            *self._api_server_flags,
        )
        self._wait_until_ready("/readyz")

    def wait(self) -> int:
        """Returns 1, and prints which, when one of the processes has ended."""
        while True:
            for name, process in self._processes.items():
                if process.poll() is not None:
                    print(self._last_lines(name, process.returncode), flush=True)
                    return 1
            time.sleep(_CHECK_INTERVAL)

    def _start(self) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._write_files()
        etcd, peer = self.etcd_url, f"http://127.0.0.1:{self._peer_port}"
        self._spawn(
            "etcd",
            *("--data-dir", "etcd", "--unsafe-no-fsync", "--log-level", "error"),
            *("--listen-client-urls", etcd, "--advertise-client-urls", etcd),
            *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer),
            *("--initial-cluster", f"default={peer}"),
        )
        # The controllers give up if the API server is not ready.
        self.start_api_server()
        self._spawn(
            "kube-controller-manager",
            "--kubeconfig=controller-manager.kubeconfig",
            "--controllers=" + ",".join(f"{name}-controller" for name in _CONTROLLERS),
            *("--leader-elect=false", "--secure-port=0", "--profiling=false", "--min-resync-period=1h"),
            *("--kube-api-qps=200", "--kube-api-burst=400", "-v=1"),
        )
        self._spawn(
            "kube-scheduler",
            *("--kubeconfig=kube-scheduler.kubeconfig", "--leader-elect=false", "--secure-port=0"),
            *("--profiling=false", "-v=1"),
        )
        self._spawn(
            "kwok",
            *("--kubeconfig=kwok.kubeconfig", "--config=stages.yaml", "--manage-all-nodes=true"),
            "--node-lease-duration-seconds=0",
        )
        self._create_node()
        self._wait_until_ready("/api/v1/namespaces/default")

    def _create_node(self) -> None:
        labels = {"kubernetes.io/hostname": "node-0", "kubernetes.io/os": "linux"}
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-0", "labels": labels}}
        try:
            self.cluster.request("/api/v1/nodes", node)
        except HTTPError as error:
            # It is there already if the cluster was started before.
            if error.code != 409:
                raise

    def _load_tokens(self) -> Mapping[str, str]:
        """User name → token, as before, or new ones."""
        try:
            lines = (self._directory / "tokens.csv").read_text().splitlines()
        except FileNotFoundError:
            return {user: secrets.token_hex(16) for user in USERS}
        return {user: token for token, user, *_ in (line.split(",") for line in lines)}

    def _load_authority(self) -> Authority:
        if (self._directory / "ca.crt").exists():
            return Authority.load(self._directory)
        return Authority.create()

    def _write_files(self) -> None:
        authority = self._load_authority()
        server_key, server_certificate = authority.issue("kube-apiserver", addresses=["127.0.0.1"])
        for name, content in {
            "ca.key": authority.key_pem,
            "ca.crt": authority.certificate_pem,
            "server.crt": server_certificate,
            "server.key": server_key,
        }.items():
            (self._directory / name).write_bytes(content)
        rows = (
            f'{self.cluster.tokens[user]},{user},{number},"{group}"'
            for number, (user, group) in enumerate(USERS.items())
        )
        (self._directory / "tokens.csv").write_text("\n".join(rows) + "\n")
        for user in USERS:
            config = self.cluster.config({"token": self.cluster.tokens[user]})
            file = self._directory / f"{user.removeprefix('system:')}.kubeconfig"
            file.write_text(json.dumps(config))
        stages = "---\n".join(file.read_text() for file in sorted(STAGES.glob("*.yaml")))
        (self._directory / "stages.yaml").write_text(stages)

    def _spawn(self, name: str, *flags: str) -> None:
        environment = {
            "PATH": os.environ.get("PATH", ""),
            "HOME": str(self._directory),
            "GOMAXPROCS": str(self._processors),
            "GOGC": str(self._heap_growth),
        }
        with (self._directory / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [self._binary, name, *flags],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._directory,
                env=environment,
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )

    def _wait_until_ready(self, path: str) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            for name, process in self._processes.items():
                if process.poll() is not None:
                    raise RuntimeError(self._last_lines(name, process.returncode))
            try:
                self.cluster.request(path, timeout=5.0)
                return
            except OSError as error:
                if time.monotonic() > deadline:
                    raise RuntimeError(f"{path} is not ready after {START_TIMEOUT:g} s: {error}") from error
                time.sleep(0.05)

    def _last_lines(self, name: str, code: int) -> str:
        return f"{name} exited with {code}: {(self._directory / f'{name}.log').read_text()[-2000:]}"


def _die_with_parent() -> None:
    """Linux kills this process when the one that started it ends, even by SIGKILL."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
