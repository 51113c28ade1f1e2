"""An emulated AWS over HTTP (`moto`), with the SDK's own settings pointing at it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from botocore.session import Session
from moto.server import ThreadedMotoServer

REGION = "eu-central-1"
#: How long the emulator may take for one answer (seconds).
PATIENCE = 60.0


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
        """What a process needs to take this for AWS."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "tester",
            "AWS_SECRET_ACCESS_KEY": "tester",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def enforce_policies(self) -> None:
        """From now on only known keys may do anything, and only what their policies allow."""
        httpx.post(f"{self.url}/moto-api/reset-auth", content=b"0", timeout=PATIENCE).raise_for_status()


@contextmanager
def emulated_aws() -> Iterator[Aws]:
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    aws = Aws(url=f"http://{host}:{port}")
    try:
        yield aws
    finally:
        httpx.post(f"{aws.url}/moto-api/reset-auth", content=b"inf", timeout=PATIENCE)
        httpx.post(f"{aws.url}/moto-api/reset", timeout=PATIENCE)
        server.stop()


@contextmanager
def chain(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> Iterator[None]:
    """Only `environment` says where AWS is and who we are."""
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
