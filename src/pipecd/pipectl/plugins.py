"""`pipectl plugin push`: push the programs of a plugin of PipeCD v1 to an OCI registry.

The artifact is the one of PipeCD's `pipectl`: an image index with a manifest per platform, whose only layer
is the program. Credentials are those of `docker login`.
"""

import asyncio
import base64
import hashlib
import json
import os
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import click
import httpx

from pipecd.certificates import tls_context
from pipecd.config.flags import switch
from pipecd.errors import ConfigError, Refused, Temporary
from pipecd.json_input import decode_json
from pipecd.pipectl.output import echo
from pipecd.pipectl.values import parse_list

MEDIA_TYPE = "application/vnd.pipecd.piped.plugin"
ARTIFACT_TYPE = "application/vnd.pipecd.piped.plugin+type"
_MANIFEST, _INDEX = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
)
_EMPTY_TYPE, _EMPTY = "application/vnd.oci.empty.v1+json", b"{}"
_PLATFORM = re.compile(r"([a-z0-9]+)/([a-z0-9_]+)")
_CHUNK = 1024 * 1024
_TIMEOUT = httpx.Timeout(30.0, read=300.0, write=300.0)
#: Of a registry's answer, in characters.
_MAX_REASON = 500


@click.command()
@click.option(
    "--files",
    multiple=True,
    required=True,
    metavar="OS/ARCH=FILE,…",
    help="The program for each platform, such as linux/amd64=./plugin.",
)
@click.option("--tag", required=True, help="Tag of the artifact, such as its version.")
@click.option("--registry", required=True, help="Host of the registry, with its port if it has one.")
@click.option("--repository", required=True, help="Repository in the registry.")
@switch("--insecure", "Use plaintext instead of TLS.")
def push(files: tuple[str, ...], tag: str, registry: str, repository: str, insecure: bool) -> None:
    """Push the programs of a plugin to an OCI registry.

    Pipeds use it as `oci://<registry>/<repository>:<tag>`. Credentials are those of `docker login`
    (`DOCKER_CONFIG`).
    """
    programs = _parse_files(files)
    target = f"{registry}/{repository}:{tag}"
    digest = asyncio.run(_push(Registry(registry, repository, insecure=insecure), programs, tag))
    echo(f"Pushed {len(programs)} programs to oci://{target} ({digest})")


def _parse_files(values: tuple[str, ...]) -> Mapping[tuple[str, str], Path]:
    programs: dict[tuple[str, str], Path] = {}
    for value in parse_list(values):
        platform, separator, name = value.partition("=")
        found = _PLATFORM.fullmatch(platform)
        if not separator or not found:
            raise click.UsageError(
                f"--files: write OS/ARCH=FILE, such as linux/amd64=./plugin, not {value!r}"
            )
        path = Path(name)
        if not path.is_file():
            raise ConfigError(f"--files: {name} is not a file")
        programs[found[1], found[2]] = path
    return programs


async def _push(registry: "Registry", programs: Mapping[tuple[str, str], Path], tag: str) -> str:
    async with httpx.AsyncClient(
        timeout=_TIMEOUT, follow_redirects=False, verify=await tls_context()
    ) as http:
        manifests = []
        for (system, architecture), path in sorted(programs.items()):
            descriptor = await _push_program(registry, http, path)
            manifests.append({**descriptor, "platform": {"architecture": architecture, "os": system}})
        index = {"schemaVersion": 2, "mediaType": _INDEX, "manifests": manifests}
        pushed = await registry.put_manifest(http, index, tag)
        return str(pushed["digest"])


async def _push_program(registry: "Registry", http: httpx.AsyncClient, path: Path) -> dict[str, Any]:
    digest, size = await asyncio.to_thread(_digest_of_file, path)
    await registry.put_blob(http, digest, size, lambda: _chunks(path))
    empty = f"sha256:{hashlib.sha256(_EMPTY).hexdigest()}"
    await registry.put_blob(http, empty, len(_EMPTY), lambda: _once(_EMPTY))
    title = {"org.opencontainers.image.title": path.name}
    manifest = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST,
        "artifactType": ARTIFACT_TYPE,
        "config": {"mediaType": _EMPTY_TYPE, "digest": empty, "size": len(_EMPTY), "data": "e30="},
        "layers": [{"mediaType": MEDIA_TYPE, "digest": digest, "size": size, "annotations": title}],
    }
    return {**await registry.put_manifest(http, manifest), "artifactType": ARTIFACT_TYPE}


@dataclass
class Registry:
    """The calls of OCI's distribution specification. Raises Refused, with the reason, or Temporary."""

    host: str
    repository: str
    insecure: bool = False
    _authorization: str = field(default="", init=False)

    @property
    def _base(self) -> str:
        return f"{'http' if self.insecure else 'https'}://{self.host}/v2/{self.repository}"

    async def put_blob(self, http: httpx.AsyncClient, digest: str, size: int, content: Any) -> None:
        if (
            await self._send(http, "HEAD", f"{self._base}/blobs/{digest}", accepted=(404,))
        ).status_code == 200:
            return
        started = await self._send(http, "POST", f"{self._base}/blobs/uploads/")
        location = httpx.URL(urljoin(str(started.url), started.headers.get("location", "")))
        if location.host != started.url.host and self._authorization:
            # Another host, such as one of an object store, has a login in the URL.
            headers = {"authorization": ""}
        else:
            headers = {}
        await self._send(
            http,
            "PUT",
            str(location.copy_merge_params({"digest": digest})),
            headers={"content-type": "application/octet-stream", **headers},
            content=content,
            size=size,
        )

    async def put_manifest(
        self, http: httpx.AsyncClient, manifest: Mapping[str, Any], tag: str = ""
    ) -> dict[str, Any]:
        """Returns its descriptor."""
        data = json.dumps(manifest, separators=(",", ":")).encode()
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        headers = {"content-type": manifest["mediaType"]}
        url = f"{self._base}/manifests/{tag or digest}"
        await self._send(http, "PUT", url, headers=headers, content=lambda: _once(data), size=len(data))
        return {"mediaType": manifest["mediaType"], "digest": digest, "size": len(data)}

    async def _send(
        self,
        http: httpx.AsyncClient,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] = {},
        content: Any = None,
        size: int | None = None,
        accepted: tuple[int, ...] = (),
    ) -> httpx.Response:
        for attempt in (1, 2):
            all_headers = {
                **({"authorization": self._authorization} if self._authorization else {}),
                **headers,
            }
            if size is not None:
                all_headers["content-length"] = str(size)
            all_headers = {name: value for name, value in all_headers.items() if value}
            try:
                response = await http.request(
                    method, url, headers=all_headers, content=content() if content else None
                )
            except (httpx.TransportError, httpx.InvalidURL) as error:
                raise Temporary(f"the registry {self.host} cannot be reached: {error}") from error
            if response.status_code == 401 and attempt == 1:
                self._authorization = await self._log_in(http, response.headers.get("www-authenticate", ""))
                continue
            if response.is_success or response.status_code in accepted:
                return response
            break
        reason = response.text[:_MAX_REASON].strip()
        if response.status_code in (401, 403):
            raise Refused(
                f"the registry {self.host} refuses {self.repository}: {reason or response.status_code}",
                remedy=f"run `docker login {self.host}` as a user who may push",
            )
        raise Refused(f"the registry {self.host} answers {response.status_code} to {method}: {reason}")

    async def _log_in(self, http: httpx.AsyncClient, challenge: str) -> str:
        """The header that the challenge of a registry demands: Basic, or a token of its server."""
        login = _docker_login(self.host)
        scheme, _, parameters = challenge.partition(" ")
        if scheme.lower() == "basic":
            return f"Basic {login}" if login else ""
        values = dict(re.findall(r'(\w+)="([^"]*)"', parameters))
        realm = values.get("realm", "")
        if scheme.lower() != "bearer" or not realm.startswith("http://" if self.insecure else "https://"):
            raise Refused(f"the registry {self.host} asks for a login of an unknown kind")
        query = {"scope": f"repository:{self.repository}:pull,push"}
        if "service" in values:
            query["service"] = values["service"]
        headers = {"authorization": f"Basic {login}"} if login else {}
        try:
            response = await http.get(realm, params=query, headers=headers)
            answer = decode_json(response.content) if response.is_success else {}
        except (httpx.TransportError, ValueError) as error:
            raise Temporary(f"the login server of {self.host} cannot be reached") from error
        token = answer.get("token") or answer.get("access_token") if isinstance(answer, dict) else ""
        if not token:
            raise Refused(
                f"the registry {self.host} gives no token: {response.status_code}",
                remedy=f"run `docker login {self.host}`",
            )
        return f"Bearer {token}"


def _docker_login(host: str) -> str:
    """User and password in base64, as `docker login` stores them; empty if there are none."""
    folder = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker")
    try:
        logins = decode_json((folder / "config.json").read_text()).get("auths", {})
    except (OSError, ValueError, AttributeError):
        return ""
    for name in (host, f"https://{host}", f"https://{host}/v1/", f"https://{host}/v2/"):
        login = logins.get(name) if isinstance(logins, dict) else None
        if isinstance(login, dict):
            if login.get("auth"):
                return str(login["auth"])
            if login.get("username") and login.get("password"):
                return base64.b64encode(f"{login['username']}:{login['password']}".encode()).decode()
    return ""


def _digest_of_file(path: Path) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
    return f"sha256:{digest.hexdigest()}", size


async def _chunks(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as stream:
        while chunk := await asyncio.to_thread(stream.read, _CHUNK):
            yield chunk


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data
