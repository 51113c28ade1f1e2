"""The headers and the TLS settings that authenticate requests, renewed when they change or expire."""

import asyncio
import base64
import binascii
import json
import os
import ssl
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import structlog

from pipecd import process
from pipecd.clock import Clock
from pipecd.errors import ConfigError, PipecdError, Temporary, Unauthenticated
from pipecd.json_input import decode_json
from pipecd.platforms.kubernetes.cluster.kubeconfig import Access, ExecConfig
from pipecd.platforms.kubernetes.settings import ClientSettings
from pipecd.printable import printable

log = structlog.get_logger()

#: Files with tokens and certificates are read again after this time (seconds). Kubelet rotates a token when
#: 80 % of its lifetime is over.
FILE_MAX_AGE = 60.0
#: Credentials are renewed this long before they expire (seconds).
EXPIRY_MARGIN = 30.0
#: An exec program is not run more often, also if what it prints is expired or refused (seconds).
MIN_LIFETIME = 10.0
#: A renewal that failed is not tried again within this time (seconds).
FAILURE_MAX_AGE = 5.0
MAX_EXEC_OUTPUT = 1024 * 1024
_EXEC_VERSIONS = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")


@dataclass(frozen=True, kw_only=True)
class Login:
    """What one request needs. `expires_at` is in epoch seconds."""

    headers: Sequence[tuple[str, str]] = field(repr=False)
    tls: ssl.SSLContext
    expires_at: float


class Credentials:
    """Those of one cluster. Concurrent users wait for the same renewal.

    `load` reads the kubeconfig again. It is called when its files have changed, which is checked once a
    minute and when the API server refuses the credentials.
    """

    def __init__(
        self,
        access: Access,
        clock: Clock,
        load: Callable[[], Access] | None = None,
        *,
        settings: ClientSettings = ClientSettings(),
    ) -> None:
        self.access, self._clock, self._load, self._settings = access, clock, load, settings
        self._lock = asyncio.Lock()
        self._login: Login | None = None
        #: The contents that the TLS settings were made of.
        self._tls_inputs: tuple[Any, ...] | None = None
        self._versions = _file_versions(access)
        self._checked_at = clock.monotonic()
        #: Why the last renewal failed, and until when it is not tried again (monotonic seconds).
        self._failure: tuple[PipecdError, float] | None = None
        #: When the exec program was last run again because its credentials were refused (monotonic seconds).
        self._rejected_at: float | None = None

    async def login(self) -> Login:
        """Raises ConfigError, Unauthenticated or Temporary."""
        if self._load and self._clock.monotonic() - self._checked_at >= FILE_MAX_AGE:
            await self._reload()
        login = self._login
        if login is None or self._clock.now() >= login.expires_at:
            async with self._lock:
                if self._login is login:
                    self._login = await self._renew_unless_failing()
        assert self._login is not None
        return self._login

    async def reject(self, login: Login) -> bool:
        """The API server refused `login`. Returns whether other credentials may be had now."""
        if self._login is not login:
            return True
        if self._load and await self._reload():
            return True
        if self.access.exec:
            now = self._clock.monotonic()
            if self._rejected_at is not None and now - self._rejected_at < MIN_LIFETIME:
                return False
            self._rejected_at = now
        self._login = None
        return bool(self.access.token_file or self.access.exec)

    async def _reload(self) -> bool:
        """Whether the kubeconfig has changed, and could be read."""
        self._checked_at = self._clock.monotonic()
        versions = await asyncio.to_thread(_file_versions, self.access)
        if self._load is None or versions == self._versions:
            return False
        try:
            access = await asyncio.to_thread(self._load)
        except ConfigError as error:
            # It may be half written.
            log.warning("kubeconfig_not_reloaded", error=str(error))
            return False
        self._versions, self._failure = versions, None
        if access == self.access:
            return False
        log.info("kubeconfig_reloaded", origin=access.origin)
        self.access, self._login = access, None
        return True

    async def _renew_unless_failing(self) -> Login:
        """All who wait for a renewal that fails get its error."""
        if self._failure and self._clock.monotonic() < self._failure[1]:
            raise self._failure[0].with_traceback(None)
        try:
            login = await self._renew()
        except PipecdError as error:
            self._failure = (error, self._clock.monotonic() + FAILURE_MAX_AGE)
            raise
        self._failure = None
        return login

    async def _renew(self) -> Login:
        access = self.access
        if access.exec:
            return await self._run_exec(access.exec)
        token = access.token
        if access.token_file:
            token = await asyncio.to_thread(_read_token, access.token_file)
        rotated = access.token_file or access.client_certificate_file
        return Login(
            headers=[*_authorization(token, access), *access.impersonation],
            tls=await self._tls(
                await asyncio.to_thread(
                    _content, access.client_certificate_data, access.client_certificate_file
                ),
                await asyncio.to_thread(_content, access.client_key_data, access.client_key_file),
            ),
            expires_at=self._clock.now() + FILE_MAX_AGE if rotated else float("inf"),
        )

    async def _tls(self, certificate: bytes, key: bytes) -> ssl.SSLContext:
        """A new context only when its inputs change: connections are shared by context."""
        ca = await asyncio.to_thread(_content, self.access.ca_data, self.access.ca_file)
        inputs = (ca, certificate, key)
        if self._login is not None and inputs == self._tls_inputs:
            return self._login.tls
        context = await asyncio.to_thread(_tls_context, self.access, ca, certificate, key)
        self._tls_inputs = inputs
        return context

    async def _run_exec(self, config: ExecConfig) -> Login:
        if config.api_version not in _EXEC_VERSIONS:
            raise ConfigError(
                f"{self.access.origin}: the exec program {config.command} uses {config.api_version}",
                remedy=f"use {_EXEC_VERSIONS[0]}: update the program, and create the kubeconfig again",
            )
        if config.interactive_mode == "Always":
            raise ConfigError(
                f"{self.access.origin}: the exec program {config.command} requires a terminal",
                remedy="use credentials that need no terminal",
            )
        credential = _exec_status(config, await self._exec_output(config))
        certificate, key = (
            str(credential.get(name) or "") for name in ("clientCertificateData", "clientKeyData")
        )
        if not credential.get("token") and not certificate:
            raise Unauthenticated(f"the exec program {config.command} printed no token and no certificate")
        return Login(
            headers=[
                *_authorization(str(credential.get("token") or ""), self.access),
                *self.access.impersonation,
            ],
            tls=await self._tls(certificate.encode(), key.encode()),
            expires_at=max(
                _expiry(credential.get("expirationTimestamp"), config), self._clock.now() + MIN_LIFETIME
            ),
        )

    async def _exec_output(self, config: ExecConfig) -> bytes:
        access, timeout = self.access, self._settings.exec_timeout
        info: dict[str, Any] = {
            "apiVersion": config.api_version,
            "kind": "ExecCredential",
            "spec": {"interactive": False},
        }
        if config.provide_cluster_info:
            info["spec"]["cluster"] = await asyncio.to_thread(_cluster_info, access)
        environment = {
            **os.environ,
            **{variable.name: variable.value for variable in config.env or ()},
            "KUBERNETES_EXEC_INFO": json.dumps(info),
        }
        command = config.command
        if os.sep in command and not Path(command).is_absolute():
            command = str(Path(access.directory) / command)
        try:
            output = await process.capture(
                [command, *(config.args or ())],
                env=environment,
                timeout=timeout,
                max_output=MAX_EXEC_OUTPUT,
            )
        except ConfigError as error:
            raise ConfigError(
                f"{access.origin}: {error.what}", remedy=config.install_hint.strip() or error.remedy
            ) from error
        except TimeoutError:
            raise Temporary(f"{config.command} did not print credentials within {timeout:g} s") from None
        if output.code:
            lines = output.stderr[-2000:].decode(errors="replace").strip().splitlines()
            reason = printable(lines[-1]) if lines else "no message"
            raise Unauthenticated(f"the exec program {config.command} exited with {output.code}: {reason}")
        return output.stdout


def _exec_status(config: ExecConfig, output: bytes) -> dict[str, Any]:
    error = Unauthenticated(f"the exec program {config.command} did not print an ExecCredential")
    try:
        printed = decode_json(output)
    except ValueError:
        raise error from None
    status = printed.get("status") if isinstance(printed, dict) else None
    if not isinstance(status, dict) or printed.get("kind") != "ExecCredential":
        raise error
    if printed.get("apiVersion") != config.api_version:
        raise Unauthenticated(
            f"the exec program {config.command} printed {printed.get('apiVersion')}, and the kubeconfig names"
            f" {config.api_version}"
        )
    return status


def _expiry(timestamp: Any, config: ExecConfig) -> float:
    """Epoch seconds. Without a timestamp, credentials are used until the API server refuses them."""
    if not timestamp:
        return float("inf")
    try:
        return datetime.fromisoformat(str(timestamp)).timestamp() - EXPIRY_MARGIN
    except ValueError:
        raise Unauthenticated(
            f"the exec program {config.command} printed {timestamp!r} as expirationTimestamp"
        ) from None


def _file_versions(access: Access) -> Sequence[object]:
    """Different after one of the kubeconfig files was written or replaced."""
    versions: list[object] = []
    for file in access.files:
        try:
            found = Path(file).stat()
        except OSError:
            versions.append(None)
        else:
            versions.append((found.st_ino, found.st_mtime_ns, found.st_size))
    return versions


def _authorization(token: str, access: Access) -> Sequence[tuple[str, str]]:
    if token:
        if not token.isprintable():
            raise ConfigError(f"{access.origin}: the token contains control characters")
        return [("Authorization", f"Bearer {token}")]
    if access.username:
        encoded = base64.b64encode(f"{access.username}:{access.password}".encode()).decode()
        return [("Authorization", f"Basic {encoded}")]
    return []


def _read_token(file: str) -> str:
    token = _read(file).decode(errors="replace").strip()
    if not token:
        raise Temporary(f"the token file {file} is empty")
    return token


def _read(file: str) -> bytes:
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise ConfigError(
            f"{file} cannot be read: {error.strerror}", remedy="correct the kubeconfig"
        ) from error


def _content(data: str, file: str) -> bytes:
    """The content of a `…-data` field, which takes precedence, or of a file."""
    if not data:
        return _read(file) if file else b""
    try:
        return base64.b64decode(data, validate=True)
    except binascii.Error as error:
        raise ConfigError("a certificate or key in the kubeconfig is not base64") from error


def _cluster_info(access: Access) -> dict[str, Any]:
    info = {
        "server": access.server,
        "tls-server-name": access.tls_server_name,
        "insecure-skip-tls-verify": access.insecure,
        "certificate-authority-data": base64.b64encode(_content(access.ca_data, access.ca_file)).decode(),
        "proxy-url": access.proxy_url,
        "config": access.exec_extension,
    }
    return {name: value for name, value in info.items() if value}


def _tls_context(access: Access, ca: bytes, certificate: bytes, key: bytes) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cadata=ca.decode() if ca else None)
        # Certificates of clusters are made for Go, which does not require all that this flag requires.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if access.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if certificate or key:
            _load_certificate(context, certificate, key)
    except (ssl.SSLError, UnicodeDecodeError, ValueError) as error:
        raise ConfigError(
            f"{access.origin}: a certificate or key is invalid: {error}",
            remedy="correct the kubeconfig",
        ) from error
    return context


def _load_certificate(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """Python reads keys from files only: this one exists, readable by this user alone, while it is read."""
    descriptor, name = tempfile.mkstemp(prefix="pipecd-client-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(certificate + b"\n" + key)
        context.load_cert_chain(name)
    finally:
        Path(name).unlink()
