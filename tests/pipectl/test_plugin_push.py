"""`pipectl plugin push` to a registry that enforces the distribution specification of OCI."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from click.testing import CliRunner

from pipecd.errors import Refused
from pipecd.pipectl.plugins import ARTIFACT_TYPE, MEDIA_TYPE, push

LOGIN = base64.b64encode(b"ci:secret").decode()


class Registry:
    """Stores blobs and manifests. A token server gives a token for a login that may push."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, tuple[str, bytes]] = {}
        self.scopes: list[str] = []
        self.uploads = 0

    def handle(self, request: BaseHTTPRequestHandler, method: str) -> tuple[int, dict[str, str], bytes]:
        url = urlsplit(request.path)
        body = self._body(request)
        if url.path == "/token":
            if request.headers.get("authorization") != f"Basic {LOGIN}":
                return 401, {}, b"who are you?"
            self.scopes += parse_qs(url.query)["scope"]
            return 200, {}, json.dumps({"token": "t0ken"}).encode()
        if request.headers.get("authorization") != "Bearer t0ken":
            realm = f"http://{request.headers['host']}/token"
            challenge = f'Bearer realm="{realm}",service="registry",scope="repository:team/plugin:pull"'
            return 401, {"www-authenticate": challenge}, b""
        name, _, rest = url.path.removeprefix("/v2/team/plugin/").partition("/")
        match method, name:
            case "HEAD", "blobs":
                return (200 if rest in self.blobs else 404), {}, b""
            case "POST", "blobs":
                self.uploads += 1
                return 202, {"location": f"/v2/team/plugin/blobs/uploads/{self.uploads}?state=x"}, b""
            case "PUT", "blobs":
                query = parse_qs(url.query)
                digest = query["digest"][0]
                if query["state"] != ["x"] or digest != f"sha256:{hashlib.sha256(body).hexdigest()}":
                    return 400, {}, b"DIGEST_INVALID"
                self.blobs[digest] = body
                return 201, {}, b""
            case "PUT", "manifests":
                manifest = json.loads(body)
                if manifest["mediaType"] != request.headers["content-type"]:
                    return 400, {}, b"MANIFEST_INVALID"
                for item in [manifest["config"], *manifest["layers"]] if "config" in manifest else []:
                    if len(self.blobs.get(item["digest"], b"")) != item["size"]:
                        return 404, {}, b"MANIFEST_BLOB_UNKNOWN"
                for item in manifest.get("manifests", []):
                    if item["digest"] not in self.manifests:
                        return 404, {}, b"MANIFEST_UNKNOWN"
                self.manifests[rest] = (manifest["mediaType"], body)
                return 201, {}, b""
        return 405, {}, b""

    @staticmethod
    def _body(request: BaseHTTPRequestHandler) -> bytes:
        return request.rfile.read(int(request.headers.get("content-length", 0)))


@pytest.fixture
def registry() -> Iterator[tuple[Registry, str]]:
    state = Registry()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            status, headers, body = state.handle(self, self.command)
            self.send_response(status)
            for name, value in {**headers, "content-length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_HEAD = do_POST = do_PUT = answer

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield state, f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def run(host: str, config: Path, *files: str) -> Any:
    arguments = [f"--files={','.join(files)}", "--tag=v1", f"--registry={host}", "--repository=team/plugin"]
    environment = {"DOCKER_CONFIG": str(config)}
    return CliRunner().invoke(push, [*arguments, "--insecure"], env=environment)


def test_programs_are_pushed_as_an_index_of_platforms(registry: tuple[Registry, str], tmp_path: Path) -> None:
    state, host = registry
    (tmp_path / "config.json").write_text(json.dumps({"auths": {host: {"auth": LOGIN}}}))
    amd, arm = tmp_path / "plugin_amd64", tmp_path / "plugin_arm64"
    amd.write_bytes(b"\x7fELF" * 600_000)
    arm.write_bytes(b"arm")
    for _ in range(2):
        result = run(host, tmp_path, f"linux/amd64={amd}", f"linux/arm64={arm}")
        assert result.exit_code == 0, result.output
    assert f"oci://{host}/team/plugin:v1" in result.output
    assert state.scopes[0] == "repository:team/plugin:pull,push"
    assert state.uploads == 3, "what exists is not sent again"
    media_type, text = state.manifests["v1"]
    index = json.loads(text)
    assert media_type == "application/vnd.oci.image.index.v1+json"
    assert [item["platform"] for item in index["manifests"]] == [
        {"architecture": "amd64", "os": "linux"},
        {"architecture": "arm64", "os": "linux"},
    ]
    manifest = json.loads(state.manifests[index["manifests"][0]["digest"]][1])
    (layer,) = manifest["layers"]
    assert (manifest["artifactType"], layer["mediaType"]) == (ARTIFACT_TYPE, MEDIA_TYPE)
    assert state.blobs[layer["digest"]] == amd.read_bytes()
    assert layer["annotations"] == {"org.opencontainers.image.title": "plugin_amd64"}


def test_without_a_login_the_remedy_is_named(registry: tuple[Registry, str], tmp_path: Path) -> None:
    _, host = registry
    file = tmp_path / "plugin"
    file.write_bytes(b"x")
    result = run(host, tmp_path, f"linux/amd64={file}")
    assert isinstance(result.exception, Refused) and "docker login" in str(result.exception)
    assert run(host, tmp_path, f"linux={file}").exit_code == 2
    assert "is not a file" in str(run(host, tmp_path, "linux/amd64=missing").exception)
