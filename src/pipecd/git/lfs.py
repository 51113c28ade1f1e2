"""Replaces Git LFS pointers with the files that they stand for, from the LFS server of the repository.

Called by `tree`. Implements the `basic` transfer of the LFS API (`docs/api` of
https://github.com/git-lfs/git-lfs), so that no other program has to be installed. Over SSH the server says
where the files are and how to authenticate (`git-lfs-authenticate`). Downloaded files are verified by their
hash and cached.
"""

import asyncio
import hashlib
import json
import os
import re
import shlex
import shutil
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from uuid import uuid4

from pipecd import process
from pipecd.bounded_body import read_bounded
from pipecd.certificates import tls_context
from pipecd.errors import ConfigError, Place, Refused, Temporary
from pipecd.git.access import Access
from pipecd.git.command import error_from_output
from pipecd.json_input import decode_json
from pipecd.remotes import SshAddress, http_origin, ssh_address
from pipecd.secrets import strip_credentials

if TYPE_CHECKING:
    import httpx

#: Bytes: of a pointer (as the LFS specification says), and of all LFS files of one checkout.
MAX_POINTER_SIZE, MAX_TOTAL_SIZE = 1024, 4 * 2**30
#: Bytes of the cache; the files that were not used for longest are deleted.
MAX_CACHE_SIZE = 8 * 2**30
#: Seconds: without an answer, for all files of a checkout, and for `ssh`.
READ_TIMEOUT, TOTAL_TIMEOUT, SSH_TIMEOUT = 30.0, 1800.0, 60.0
#: Files in one request, and downloads at once.
BATCH_SIZE, CONCURRENCY = 100, 4
#: Bytes of an answer of the API.
MAX_ANSWER_SIZE = 4 * 2**20
_MEDIA_TYPE = "application/vnd.git-lfs+json"
_VERSION = re.compile(rb"version https?://(?:git-lfs\.github\.com|hawser\.github\.com)/spec/v1\r?\n")
_OID = re.compile(r"^oid sha256:([0-9a-f]{64})$", re.MULTILINE)
_SIZE = re.compile(r"^size (\d{1,15})$", re.MULTILINE)
_CREDENTIALS_REMEDY = "check spec.git of the agent: its key or token needs read access to the LFS files"


@dataclass(frozen=True)
class Pointer:
    """`path` is relative to the repository's root, `oid` the SHA-256 in hex, `size` in bytes."""

    path: str
    oid: str
    size: int


@dataclass(frozen=True)
class _Endpoint:
    """An LFS server. `header` authenticates requests to it."""

    url: str
    header: Mapping[str, str] = field(default_factory=dict, repr=False)


def read_pointer(file: Path, path: str, place: Place) -> Pointer | None:
    """The pointer in `file`; None if it is an ordinary file. Raises ConfigError."""
    if file.stat().st_size > MAX_POINTER_SIZE:
        return None
    data = file.read_bytes()
    if not is_pointer(data):
        return None
    text = data.decode(errors="replace").replace("\r\n", "\n")
    oid, size = _OID.search(text), _SIZE.search(text)
    if not oid or not size:
        raise ConfigError(
            "the file is an LFS pointer without hash or size", remedy="add the file again", place=place
        )
    if re.search(r"^ext-", text, re.MULTILINE):
        raise Refused(
            "the file needs an LFS extension, which the agent does not run",
            remedy="add the file again without the extension",
            place=place,
        )
    return Pointer(path, oid[1], int(size[1]))


def is_pointer(content: bytes) -> bool:
    return _VERSION.match(content) is not None


def is_excluded(path: str, config: Mapping[str, str]) -> bool:
    """Whether .lfsconfig excludes the file (`lfs.fetchinclude`, `lfs.fetchexclude`)."""
    included = _patterns(config.get("lfs.fetchinclude", ""))
    excluded = _patterns(config.get("lfs.fetchexclude", ""))
    if included and not any(_matches(path, pattern) for pattern in included):
        return True
    return any(_matches(path, pattern) for pattern in excluded)


def _patterns(value: str) -> Sequence[str]:
    return [pattern.strip() for pattern in value.split(",") if pattern.strip()]


def _matches(path: str, pattern: str) -> bool:
    pattern = pattern.removeprefix("/")
    directory = pattern.rstrip("*").rstrip("/")
    name = path.rpartition("/")[2] if "/" not in pattern else path
    return fnmatch(name, pattern) or path.startswith(f"{directory}/")


class LfsFiles:
    """Downloads LFS files, and keeps them in `cache`."""

    def __init__(self, cache: Path, access: Access) -> None:
        self._cache, self._access = cache, access
        self._lock = asyncio.Lock()

    async def write(
        self,
        pointers: Sequence[Pointer],
        root: Path,
        *,
        remote: str,
        url: str,
        env: Mapping[str, str],
        place: Place,
    ) -> None:
        """Replace the pointers below `root`, a checkout of `remote`. `url` is `lfs.url` of the repository.

        Raises ConfigError, Refused or Temporary, with `place`.
        """
        total = sum(pointer.size for pointer in pointers)
        if total > MAX_TOTAL_SIZE:
            raise Refused(
                f"the commit has {total >> 20} MiB of LFS files; the limit is {MAX_TOTAL_SIZE >> 20} MiB",
                remedy="exclude those that no application needs: lfs.fetchexclude in .lfsconfig",
                place=place,
            )
        # One checkout at a time: others need the same files, and nothing evicts them before they are copied.
        async with self._lock:
            missing = [pointer for pointer in pointers if not self._file(pointer).exists()]
            if missing:
                async with _timeout(TOTAL_TIMEOUT, place):
                    await self._download(missing, remote, url, env, place)
            await asyncio.to_thread(self._copy, pointers, root)
            if missing:
                await asyncio.to_thread(self._evict)

    def remove_parts(self) -> None:
        """At the start: remove downloads that a killed process has not completed."""
        for part in self._cache.glob("part-*"):
            part.unlink(missing_ok=True)

    def _file(self, pointer: Pointer) -> Path:
        return self._cache / pointer.oid[:2] / pointer.oid

    def _copy(self, pointers: Sequence[Pointer], root: Path) -> None:
        for pointer in pointers:
            cached = self._file(pointer)
            os.utime(cached)
            # Keeps the mode that Git gave the pointer.
            shutil.copyfile(cached, root / pointer.path)

    def _evict(self) -> None:
        files = [(file.stat(), file) for file in self._cache.glob("*/*")]
        size = sum(stat.st_size for stat, _ in files)
        for stat, file in sorted(files, key=lambda entry: entry[0].st_mtime):
            if size <= MAX_CACHE_SIZE:
                return
            file.unlink(missing_ok=True)
            size -= stat.st_size

    async def _download(
        self, pointers: Sequence[Pointer], remote: str, url: str, env: Mapping[str, str], place: Place
    ) -> None:
        import httpx

        unique = list({pointer.oid: pointer for pointer in pointers}.values())
        endpoint = await self._endpoint(remote, url, env, place)
        verify = await tls_context(env.get("GIT_SSL_CAINFO", ""))
        limit = asyncio.Semaphore(CONCURRENCY)
        async with httpx.AsyncClient(timeout=READ_TIMEOUT, verify=verify, follow_redirects=True) as client:
            try:
                for start in range(0, len(unique), BATCH_SIZE):
                    batch = unique[start : start + BATCH_SIZE]
                    actions = await _request_batch(client, endpoint, batch, place)
                    async with asyncio.TaskGroup() as tasks:
                        for pointer in batch:
                            action = actions[pointer.oid]
                            tasks.create_task(self._download_file(client, limit, endpoint, pointer, action))
            except (ExceptionGroup, httpx.HTTPError, OSError) as error:
                cause = _first(error)
                if isinstance(cause, httpx.HTTPError | OSError):
                    raise Temporary(f"LFS server {endpoint.url}: {cause or type(cause).__name__}") from error
                raise cause from error

    async def _endpoint(self, remote: str, url: str, env: Mapping[str, str], place: Place) -> _Endpoint:
        """`url` if it is set, else the server of the repository."""
        if url:
            self._access.check(url, remote, "the LFS server", place)
        address = ssh_address(url or remote)
        if address is not None:
            return await _authenticate(address, env) or _Endpoint(
                f"{http_origin(url or remote)}/{address.path.strip('/').removesuffix('.git')}.git/info/lfs"
            )
        endpoint = (url or f"{remote.rstrip('/').removesuffix('.git')}.git/info/lfs").rstrip("/")
        if urlsplit(endpoint).scheme not in ("http", "https"):
            raise Refused(
                f"the file is kept in LFS, and {remote} has no LFS server",
                remedy="set lfs.url in .lfsconfig, or commit the file without LFS",
                place=place,
            )
        origins = [http_origin(trusted) for trusted in self._access.remotes]
        basic_auth = self._access.credentials.basic_auth
        if basic_auth and http_origin(endpoint) in origins:
            return _Endpoint(strip_credentials(endpoint), {"Authorization": f"Basic {basic_auth}"})
        return _Endpoint(strip_credentials(endpoint))

    async def _download_file(
        self,
        client: "httpx.AsyncClient",
        limit: asyncio.Semaphore,
        endpoint: _Endpoint,
        pointer: Pointer,
        action: Mapping[str, Any],
    ) -> None:
        href, header = str(action.get("href", "")), _header(action)
        if urlsplit(href).scheme != "https" and http_origin(href) != http_origin(endpoint.url):
            raise ConfigError(
                f"the LFS server sends {pointer.path} from {href[:200]!r}", remedy="serve it over https"
            )
        if http_origin(href) == http_origin(endpoint.url):
            header = {**endpoint.header, **header}
        target = self._file(pointer)
        part = self._cache / f"part-{uuid4().hex}"
        part.parent.mkdir(parents=True, exist_ok=True)
        try:
            async with limit, client.stream("GET", href, headers=header) as response:
                _raise_for_status(response, pointer.path)
                digest, size = hashlib.sha256(), 0
                with part.open("wb") as stream:
                    async for chunk in response.aiter_bytes():
                        size += len(chunk)
                        if size > pointer.size:
                            break
                        digest.update(chunk)
                        await asyncio.to_thread(stream.write, chunk)
            if size != pointer.size or digest.hexdigest() != pointer.oid:
                raise Temporary(f"the LFS server sent other bytes than {pointer.path} has")
            target.parent.mkdir(exist_ok=True)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)


async def _request_batch(
    client: "httpx.AsyncClient", endpoint: _Endpoint, pointers: Sequence[Pointer], place: Place
) -> Mapping[str, Mapping[str, Any]]:
    """Where to download each file from, by hash."""
    request = {
        "operation": "download",
        "transfers": ["basic"],
        "hash_algo": "sha256",
        "objects": [{"oid": pointer.oid, "size": pointer.size} for pointer in pointers],
    }
    headers = {"Accept": _MEDIA_TYPE, "Content-Type": _MEDIA_TYPE, **endpoint.header}
    url = f"{endpoint.url.rstrip('/')}/objects/batch"
    async with client.stream("POST", url, headers=headers, content=json.dumps(request)) as response:
        _raise_for_status(response, place.file)
        body = await read_bounded(response.aiter_bytes(), MAX_ANSWER_SIZE)
    if body is None:
        raise Temporary(f"LFS server {endpoint.url}: the answer is too large")
    try:
        objects = {str(entry["oid"]): entry for entry in decode_json(body)["objects"]}
    except (ValueError, KeyError, TypeError):
        raise Temporary(f"LFS server {endpoint.url}: not an answer of the LFS API") from None
    return {pointer.oid: _download_action(objects.get(pointer.oid), pointer) for pointer in pointers}


def _download_action(entry: Any, pointer: Pointer) -> Mapping[str, Any]:
    match entry:
        case {"actions": {"download": {"href": str()} as action}}:
            return dict(action)
        case {"error": {"code": int(code), **rest}} if code >= 500:
            raise Temporary(f"the LFS server cannot send {pointer.path}: {str(rest.get('message'))[:200]}")
    raise ConfigError(
        f"the LFS server does not have {pointer.path} (sha256:{pointer.oid[:12]})",
        remedy="upload it: `git lfs push --all origin`",
    )


def _raise_for_status(response: "httpx.Response", path: str) -> None:
    if response.status_code in (401, 403):
        raise ConfigError(
            f"the LFS server refuses access to {path}: HTTP {response.status_code}",
            remedy=_CREDENTIALS_REMEDY,
        )
    if response.status_code in (404, 410, 422, 501):
        raise ConfigError(
            f"the file {path} is kept in LFS, but {_origin(response)} has no LFS server for the repository:"
            f" HTTP {response.status_code}",
            remedy="enable LFS for the repository, or set lfs.url in .lfsconfig",
        )
    if response.status_code != 200:
        raise Temporary(f"LFS server {_origin(response)}: HTTP {response.status_code}")


def _origin(response: "httpx.Response") -> str:
    return http_origin(str(response.url))


def _header(action: Mapping[str, Any]) -> Mapping[str, str]:
    header = action.get("header")
    return {str(key): str(value) for key, value in header.items()} if isinstance(header, Mapping) else {}


async def _authenticate(address: SshAddress, env: Mapping[str, str]) -> _Endpoint | None:
    """What the server says about LFS over SSH; None if it does not know `git-lfs-authenticate`."""
    command = [*shlex.split(env["GIT_SSH_COMMAND"]), *(("-p", address.port) if address.port else ())]
    command += ["--", address.login, f"git-lfs-authenticate {shlex.quote(address.path)} download"]
    try:
        result = await process.capture(command, env=env, timeout=SSH_TIMEOUT)
    except TimeoutError:
        raise Temporary(f"ssh to {address.login} took longer than {SSH_TIMEOUT:g} s") from None
    if result.code == 255:
        raise error_from_output("lfs", result.stderr.decode(errors="replace"))
    try:
        answer = decode_json(result.stdout)
        return _Endpoint(str(answer["href"]), _header(answer))
    except (ValueError, KeyError, TypeError):
        return None


@asynccontextmanager
async def _timeout(seconds: float, place: Place) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise Temporary(f"{place}: the LFS files were not downloaded within {seconds:g} s") from None


def _first(error: Exception) -> Exception:
    """The first error of a group; another error itself."""
    return _first(error.exceptions[0]) if isinstance(error, ExceptionGroup) else error
