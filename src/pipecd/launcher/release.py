"""Where versions come from. A release is a set of wheels, verified before anything of it is installed.

In a folder or a bucket, or on a server, a release is `<version>/SHA256SUMS` with the wheels it lists, and
`SHA256SUMS.sig` when it is signed: base64 of an Ed25519 signature over the bytes of SHA256SUMS. A package
index has no such list; there pip holds each file to the hash that the index tells.
"""

import base64
import hashlib
import re
from collections.abc import Sequence
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
_LARGEST_LIST = 256 * 1024
_LINE = re.compile(r"(?P<sha256>[0-9a-f]{64}) [ *](?P<name>[A-Za-z0-9][A-Za-z0-9._+!-]*\.whl)")


class Releases(Protocol):
    """A place of releases."""

    async def fetch(self, version: str, into: Path) -> Sequence[str]:
        """Brings what is needed of `version` into the folder; says how pip is to look for packages.

        Raises Refused when there is no such release or it is not what it should be, Temporary in an outage.
        """


@dataclass(frozen=True)
class Nowhere:
    """No place is configured: the launcher runs its own version and no other."""

    async def fetch(self, version: str, into: Path) -> Sequence[str]:
        raise Refused(
            f"{version} is asked for, but this launcher does not know where releases are",
            remedy="give --releases=index, --releases=FOLDER or --releases=URL",
        )


@dataclass(frozen=True)
class Index:
    """The package index of pip's own settings."""

    async def fetch(self, version: str, into: Path) -> Sequence[str]:
        return ()


@dataclass(frozen=True)
class Folder:
    """A folder, a bucket or a server with one folder a version."""

    store: ObjectStore
    shown: str
    key: Ed25519PublicKey | None = None

    async def fetch(self, version: str, into: Path) -> Sequence[str]:
        sums = await self._read(f"{version}/{SUMS}")
        if self.key:
            self._check_signature(sums, await self._read(f"{version}/{SIGNATURE}"), self.key)
        wheels = _listed(sums, f"{self.shown}/{version}/{SUMS}")
        for name, sha256 in wheels.items():
            await self._download(f"{version}/{name}", into / name, sha256)
        return ("--no-index", "--find-links", str(into))

    def _check_signature(self, sums: bytes, signature: bytes, key: Ed25519PublicKey) -> None:
        try:
            key.verify(base64.b64decode(signature), sums)
        except (InvalidSignature, ValueError):
            raise Refused(
                f"{self.shown}: the signature of {SUMS} does not fit the release key",
                remedy="do not run this release before you know who changed it",
            ) from None

    async def _read(self, path: str) -> bytes:
        with_limit = await self._get(path)
        if with_limit.meta["size"] > _LARGEST_LIST:
            raise Refused(f"{self.shown}/{path} is too large", remedy="publish the release again")
        return bytes(await with_limit.bytes_async())

    async def _download(self, path: str, to: Path, sha256: str) -> None:
        found, seen = await self._get(path), hashlib.sha256()
        try:
            with to.open("wb") as file:
                async for part in found.stream(min_chunk_size=1024 * 1024):
                    seen.update(part)
                    file.write(part)
        except BaseError as error:
            raise Temporary(f"{self.shown}/{path} broke off") from error
        if seen.hexdigest() != sha256:
            to.unlink()
            raise Refused(
                f"{self.shown}/{path} is not the file that {SUMS} lists",
                remedy="publish the release again, after you know why they differ",
            )

    async def _get(self, path: str) -> "GetResult":
        try:
            return await obstore.get_async(self.store, path)
        except (NotFoundError, FileNotFoundError):
            raise Refused(
                f"{self.shown} has no {path}", remedy="publish the release, or ask for another version"
            ) from None
        except (BaseError, OSError) as error:
            raise Temporary(f"{self.shown} does not answer for {path}: {type(error).__name__}") from error


def _listed(sums: bytes, shown: str) -> dict[str, str]:
    """Names of wheels and their hashes; other files of the list are of no use here."""
    wheels: dict[str, str] = {}
    for number, line in enumerate(sums.decode(errors="replace").splitlines(), start=1):
        found = _LINE.fullmatch(line)
        if found:
            wheels[found["name"]] = found["sha256"]
        elif line.strip() and line.rstrip().endswith(".whl"):
            raise Refused(f"{shown}:{number} is not `hash  name`", remedy="write it with sha256sum *.whl")
    if not wheels:
        raise Refused(f"{shown} lists no wheels", remedy="write it with sha256sum *.whl > SHA256SUMS")
    return wheels


def releases_at(place: str, key_file: str) -> Releases:
    """The place that `--releases` names. Raises ConfigError."""
    if not place:
        return Nowhere()
    if place == "index":
        if key_file:
            raise ConfigError(
                "releases of a package index carry no signature",
                remedy="drop --release-key-file, or give --releases the folder or URL of signed releases",
            )
        return Index()
    return Folder(_store(place), place.rstrip("/"), _key(key_file) if key_file else None)


def _store(place: str) -> ObjectStore:
    try:
        if "://" not in place:
            return LocalStore(Path(place).resolve(strict=True))
        if place.startswith("http://"):
            return from_url(place, client_options={"allow_http": True})
        return from_url(place)
    except OSError as error:
        raise ConfigError(
            f"{place} cannot be read: {error.strerror}", remedy="give --releases an existing folder"
        ) from error
    except (BaseError, ValueError) as error:
        raise ConfigError(
            f"--releases={place} is no place of releases",
            remedy="give index, a folder, or a URL that starts with https://, s3:// or gs://",
        ) from error


def _key(file: str) -> Ed25519PublicKey:
    try:
        key = load_pem_public_key(Path(file).read_bytes())
    except OSError as error:
        raise ConfigError(
            f"{file} cannot be read: {error.strerror}", remedy="correct --release-key-file"
        ) from error
    except ValueError:
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise ConfigError(f"{file} is no public Ed25519 key", remedy="make it with openssl pkey -pubout")
    return key
