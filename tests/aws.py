"""An AWS emulator over HTTP (`moto`), and the SDK settings that point to it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from botocore.session import Session
from moto.server import ThreadedMotoServer

REGION = "eu-central-1"
#: Timeout of a request to the emulator's control API (seconds).
REQUEST_TIMEOUT = 60.0


@dataclass(frozen=True, kw_only=True)
class Aws:
    url: str

    def client(self, service: str) -> Any:
        return Session().create_client(
            service,
            region_name=REGION,
            endpoint_url=self.url,
            aws_access_key_id="tester",
            aws_secret_access_key="tester",
        )

    def environment(self) -> dict[str, str]:
        """The environment variables that direct a process's AWS SDK to the emulator."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "tester",
            "AWS_SECRET_ACCESS_KEY": "tester",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def enforce_policies(self) -> None:
        """From now on, requests need known access keys and are limited to what their policies allow."""
        httpx.post(
            f"{self.url}/moto-api/reset-auth", content=b"0", timeout=REQUEST_TIMEOUT
        ).raise_for_status()


@contextmanager
def emulated_aws() -> Iterator[Aws]:
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    aws = Aws(url=f"http://{host}:{port}")
    try:
        yield aws
    finally:
        httpx.post(f"{aws.url}/moto-api/reset-auth", content=b"inf", timeout=REQUEST_TIMEOUT)
        httpx.post(f"{aws.url}/moto-api/reset", timeout=REQUEST_TIMEOUT)
        server.stop()


@contextmanager
def credential_chain(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> Iterator[None]:
    """AWS endpoint and credentials come only from `environment`, not from the machine's settings."""
    with monkeypatch.context() as patched:
        for name in ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_SESSION_TOKEN"):
            patched.delenv(name, raising=False)
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patched.delenv(name, raising=False)
        patched.setenv("AWS_CONFIG_FILE", "/nonexistent")
        patched.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
        for name, value in environment.items():
            patched.setenv(name, value)
        yield
