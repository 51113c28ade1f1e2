"""A server of Helm charts over HTTPS, with a password: a chart repository and an OCI registry in one.

The registry answers what a client needs to pull (OCI distribution specification 1.1): `/v2/`, tags,
manifests and blobs.
"""

import base64
import hashlib
import io
import json
import ssl
import tarfile
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import yaml

from pipecd.quickstart.simulated_cluster.certificates import Authority

USER, PASSWORD = "robot", "pass-word-4711"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def package(files: Mapping[str, str]) -> bytes:
    """An archive of a chart, whose files are below its name."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as packed:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            packed.addfile(member, io.BytesIO(text.encode()))
    return archive.getvalue()


def chart_files(name: str, version: str, templates: Mapping[str, str], **metadata: Any) -> dict[str, str]:
    described = {"apiVersion": "v2", "name": name, "version": version, **metadata}
    files = {f"{name}/Chart.yaml": yaml.safe_dump(described), f"{name}/values.yaml": ""}
    return files | {f"{name}/templates/{file}": text for file, text in templates.items()}


class ChartServer:
    """Without a password if `user` is empty."""

    def __init__(self, directory: Path, user: str = USER) -> None:
        directory.mkdir()
        self.user = user
        self.archives: dict[tuple[str, str], bytes] = {}
        #: Paths that were asked for with the right password.
        self.requests: list[str] = []
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        authority = Authority.create()
        key, certificate = authority.issue("charts", addresses=["127.0.0.1"])
        self.ca_file = directory / "ca.crt"
        self.ca_file.write_bytes(authority.certificate_pem)
        (directory / "server.pem").write_bytes(key + certificate)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(directory / "server.pem")
        self._http.socket = context.wrap_socket(self._http.socket, server_side=True)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._http.server_address[1]}"

    @property
    def url(self) -> str:
        return f"https://{self.host}/charts"

    def add(self, name: str, version: str, templates: Mapping[str, str], **metadata: Any) -> None:
        self.archives[name, version] = package(chart_files(name, version, templates, **metadata))

    def _index(self) -> bytes:
        entries: dict[str, list[Any]] = {}
        for (name, version), _ in self.archives.items():
            url = f"{name}-{version}.tgz"
            entry = {"apiVersion": "v2", "name": name, "version": version, "urls": [url]}
            entries.setdefault(name, []).append(entry)
        return yaml.safe_dump({"apiVersion": "v1", "entries": entries}).encode()

    def answer(self, path: str) -> tuple[bytes, str] | None:
        """Body and content type; None if there is no such path."""
        if path == "/charts/index.yaml":
            return self._index(), "text/yaml"
        for (name, version), archive in self.archives.items():
            if path == f"/charts/{name}-{version}.tgz":
                return archive, "application/gzip"
            config = json.dumps({"name": name, "version": version, "apiVersion": "v2"}).encode()
            manifest = json.dumps(
                {
                    "schemaVersion": 2,
                    "mediaType": _MANIFEST,
                    "config": _descriptor("application/vnd.cncf.helm.config.v1+json", config),
                    "layers": [_descriptor("application/vnd.cncf.helm.chart.content.v1.tar+gzip", archive)],
                }
            ).encode()
            repository = f"/v2/oci/{name}"
            if path in (f"{repository}/manifests/{version}", f"{repository}/manifests/{_digest(manifest)}"):
                return manifest, _MANIFEST
            for blob in (config, archive):
                if path == f"{repository}/blobs/{_digest(blob)}":
                    return blob, "application/octet-stream"
        if path == "/v2/":
            return b"{}", "application/json"
        return None

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self
        login = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                if server.user and self.headers.get("Authorization") != f"Basic {login}":
                    self._send(401, b"", "text/plain")
                    return
                server.requests.append(self.path)
                found = server.answer(self.path)
                if found is None:
                    self._send(404, b"{}", "application/json")
                else:
                    self._send(200, *found)

            do_HEAD = do_GET

            def _send(self, code: int, body: bytes, content_type: str) -> None:
                self.send_response(code)
                self.send_header("Content-Type", content_type)
                self.send_header("Content-Length", str(len(body)))
                if code == 401:
                    self.send_header("WWW-Authenticate", 'Basic realm="charts"')
                if content_type == _MANIFEST:
                    self.send_header("Docker-Content-Digest", _digest(body))
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                return

        return Handler


def _descriptor(media_type: str, blob: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": _digest(blob), "size": len(blob)}


def _digest(blob: bytes) -> str:
    return f"sha256:{hashlib.sha256(blob).hexdigest()}"
