"""Sources of releases. A release is a set of wheels, verified before any of it is installed.

In a directory or bucket, or on a server, a release is `<version>/SHA256SUMS` with the wheels it lists, and
`SHA256SUMS.sig` if it is signed: base64 of an Ed25519 signature over the bytes of SHA256SUMS. For a package
index, pip verifies each file against the hash given by the index.
"""

import asyncio
import base64
import hashlib
import re
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import obstore
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import LocalStore, ObjectStore, from_url

from pipecd.errors import ConfigError, Refused, Temporary

if TYPE_CHECKING:
    from obstore import GetResult

SUMS, SIGNATURE = "SHA256SUMS", "SHA256SUMS.sig"
#: Of SHA256SUMS and its signature, in bytes.
_MAX_SUMS_SIZE = 256 * 1024
_LINE = re.compile(r"(?P<sha256>[0-9a-f]{64}) [ *](?P<name>[A-Za-z0-9][A-Za-z0-9._+!-]*\.whl)")


class Releases(Protocol):
    """A source of releases."""

    async def fetch(self, version: str, into: Path) -> Sequence[str]:
        """Download and verify the wheels of `version`. Returns the options with which pip finds packages.

        Raises Refused if the release does not exist or fails verification, Temporary in an outage.
        """


@dataclass(frozen=True)
class NoReleases:
    """No source is configured: the launcher can run only its own version."""

    async def fetch(self, version: str, into: Path) -> Sequence[str]:
        raise Refused(
            f"{version} cannot be installed: this launcher has no source of releases",
            remedy="give --releases=index, --releases=DIRECTORY or --releases=URL",
        )


@dataclass(frozen=True)
class PackageIndex:
    """The package index configured for pip."""

    async def fetch(self, version: str, into: Path) -> Sequence[str]:
        return ()


@dataclass(frozen=True)
class ReleaseStore:
    """A directory, bucket or server with one directory per version. `location` is its name in errors."""

    store: ObjectStore
    location: str
    key: Ed25519PublicKey | None = None

    async def fetch(self, version: str, into: Path) -> Sequence[str]:
        sums = await self._read(f"{version}/{SUMS}")
        if self.key:
            self._check_signature(sums, await self._read(f"{version}/{SIGNATURE}"), self.key)
        wheels = _parse_sums(sums, f"{self.location}/{version}/{SUMS}")
        self._check_version(version, wheels)
        for name, sha256 in wheels.items():
            await self._download(f"{version}/{name}", into / name, sha256)
            await asyncio.to_thread(self._check_members, into / name, f"{version}/{name}")
        return ("--no-index", "--find-links", str(into))

    def _check_version(self, version: str, wheels: Iterable[str]) -> None:
        """A signed list of another version, copied into the directory of this one, is refused."""
        prefix = f"pipecd-{version.removeprefix('v')}-"
        if not any(name.startswith(prefix) for name in wheels):
            raise Refused(
                f"{self.location}/{version}/{SUMS} lists no {prefix}*.whl: it belongs to another version",
                remedy="do not run this release until you know who changed it",
            )

    def _check_signature(self, sums: bytes, signature: bytes, key: Ed25519PublicKey) -> None:
        try:
            key.verify(base64.b64decode(signature), sums)
        except (InvalidSignature, ValueError):
            raise Refused(
                f"{self.location}: the signature of {SUMS} does not match the release key",
                remedy="do not run this release until you know who changed it",
            ) from None

    def _check_members(self, wheel: Path, path: str) -> None:
        """Refuse a wheel with files outside of its own directory, before anything unpacks it."""
        try:
            with zipfile.ZipFile(wheel) as archive:
                names = archive.namelist()
        except zipfile.BadZipFile:
            wheel.unlink()
            raise Refused(
                f"{self.location}/{path} is not a wheel", remedy="publish the release again"
            ) from None
        escaping = [name for name in names if name.startswith("/") or ".." in re.split(r"[/\\]", name)]
        if escaping:
            wheel.unlink()
            raise Refused(
                f"{self.location}/{path} contains {escaping[0]!r}, which is outside of its directory",
                remedy="do not run this release until you know who changed it",
            )

    async def _read(self, path: str) -> bytes:
        response = await self._get(path)
        if response.meta["size"] > _MAX_SUMS_SIZE:
            raise Refused(f"{self.location}/{path} is too large", remedy="publish the release again")
        return bytes(await response.bytes_async())

    async def _download(self, path: str, to: Path, sha256: str) -> None:
        response, digest = await self._get(path), hashlib.sha256()
        try:
            with to.open("wb") as file:
                async for part in response.stream(min_chunk_size=1024 * 1024):
                    digest.update(part)
                    file.write(part)
        except BaseError as error:
            raise Temporary(f"the download of {self.location}/{path} was interrupted") from error
        if digest.hexdigest() != sha256:
            to.unlink()
            raise Refused(
                f"{self.location}/{path} does not match its hash in {SUMS}",
                remedy="find out why they differ, then publish the release again",
            )

    async def _get(self, path: str) -> "GetResult":
        try:
            return await obstore.get_async(self.store, path)
        except (NotFoundError, FileNotFoundError):
            raise Refused(
                f"{self.location} has no {path}", remedy="publish the release, or choose another version"
            ) from None
        except (BaseError, OSError) as error:
            raise Temporary(f"{self.location} does not answer for {path}: {type(error).__name__}") from error


def _parse_sums(sums: bytes, location: str) -> dict[str, str]:
    """The hash of each wheel by name. Other files in the list are ignored."""
    wheels: dict[str, str] = {}
    for number, line in enumerate(sums.decode(errors="replace").splitlines(), start=1):
        match = _LINE.fullmatch(line)
        if match:
            wheels[match["name"]] = match["sha256"]
        elif line.strip() and line.rstrip().endswith(".whl"):
            raise Refused(f"{location}:{number} is not `hash  name`", remedy="create it with sha256sum *.whl")
    if not wheels:
        raise Refused(f"{location} lists no wheels", remedy="create it with sha256sum *.whl > SHA256SUMS")
    return wheels


def open_releases(location: str, key_file: str) -> Releases:
    """The source of releases specified by `--releases`. Raises ConfigError."""
    if not location:
        if key_file:
            raise ConfigError(
                "--release-key-file checks releases, and there is no source of them",
                remedy="give --releases, or drop --release-key-file",
            )
        return NoReleases()
    if location == "index":
        if key_file:
            raise ConfigError(
                "releases in a package index are not signed",
                remedy="drop --release-key-file, or set --releases to a directory or URL of signed releases",
            )
        return PackageIndex()
    key = _load_key(key_file) if key_file else None
    return ReleaseStore(_open_store(location), location.rstrip("/"), key)


def _open_store(location: str) -> ObjectStore:
    try:
        if "://" not in location:
            return LocalStore(Path(location).resolve(strict=True))
        if location.startswith("http://"):
            return from_url(location, client_options={"allow_http": True})
        return from_url(location)
    except OSError as error:
        raise ConfigError(
            f"{location} cannot be read: {error.strerror}", remedy="set --releases to an existing directory"
        ) from error
    except (BaseError, ValueError) as error:
        raise ConfigError(
            f"--releases={location} is not a source of releases",
            remedy="use index, a directory, or a URL that starts with https://, s3:// or gs://",
        ) from error


def _load_key(file: str) -> Ed25519PublicKey:
    try:
        key = load_pem_public_key(Path(file).read_bytes())
    except OSError as error:
        raise ConfigError(
            f"{file} cannot be read: {error.strerror}", remedy="correct --release-key-file"
        ) from error
    except ValueError:
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise ConfigError(
            f"{file} is not an Ed25519 public key", remedy="create it with openssl pkey -pubout"
        )
    return key
