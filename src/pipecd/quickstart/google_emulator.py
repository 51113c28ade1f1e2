"""An emulated Google Cloud for the demo: Cloud Run, with an account that the agent signs in with.

The emulator (`cloud_run`) runs as a separate process and stores its state in a file, so it continues after a
restart. Services answer on this machine, each request by a revision of their traffic; no container runs.

    python -m pipecd.quickstart.google_emulator 8089 cloud-run.json
"""

import contextlib
import json
import signal
import sys
import threading
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import httpx

from pipecd.certificates import tls_context
from pipecd.errors import ConfigError, Temporary
from pipecd.quickstart.cloud_run import SERVING, CloudRun, serve

PROJECT, REGION = "demo", "europe-west1"
#: The service that the demo edits by hand.
EDITED = "catalog"
_TOKEN = {"Authorization": "Bearer granted"}


def check_installed() -> None:
    """Raises ConfigError if the agent could not deploy to Cloud Run."""
    if find_spec("google.auth") is None:
        raise ConfigError(
            "the Google authentication library is not installed",
            remedy="run `make quickstart-gcp`, which installs it, or `pip install 'pipecd[gcp]'`",
        )


def command(port: int, state_file: Path) -> list[str]:
    return [sys.executable, "-m", "pipecd.quickstart.google_emulator", str(port), str(state_file)]


def provider(port: int, account_file: Path) -> dict[str, str]:
    """`config` of the agent's platform provider."""
    return {
        "project": PROJECT,
        "region": REGION,
        "endpoint": f"http://127.0.0.1:{port}",
        "credentialsFile": str(account_file),
    }


def account(port: int) -> str:
    """The key file of a service account, whose tokens the emulator issues."""
    from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = generate_private_key(public_exponent=65537, key_size=2048)
    return json.dumps(
        {
            "type": "service_account",
            "client_email": "piped@demo.iam.gserviceaccount.com",
            "private_key": key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
            "token_uri": f"http://127.0.0.1:{port}/token",
        }
    )


async def edit_by_hand(port: int) -> None:
    """Changes a variable of the service `EDITED`, as a person would. Raises Temporary if it has none."""
    url = f"http://127.0.0.1:{port}/apis/{SERVING}/namespaces/{PROJECT}/services/{EDITED}"
    async with httpx.AsyncClient(headers=_TOKEN, timeout=10.0, verify=await tls_context()) as http:
        try:
            response = await http.get(url)
            live = response.json()
            template = live["spec"]["template"]
            template["spec"]["containers"][0]["env"][0]["value"] = "debug"
            # Cloud Run then chooses the name of the revision.
            template["metadata"].pop("name", None)
            live["spec"]["traffic"] = [{"latestRevision": True, "percent": 100}]
            response = await http.put(url, json=live)
            response.raise_for_status()
        except (httpx.HTTPError, LookupError, ValueError) as error:
            raise Temporary(f"the service {EDITED} cannot be edited: {error}") from error


@contextlib.contextmanager
def serve_from(state_file: Path, port: int) -> Iterator[str]:
    """The emulator with the state in the file, which it keeps up to date. Yields its address.

    Raises ConfigError for another file.
    """
    cloud = CloudRun(address=f"http://127.0.0.1:{port}")
    with contextlib.suppress(FileNotFoundError):
        try:
            cloud.restore(state_file.read_text())
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"{state_file} is not a state of the emulated Google Cloud", remedy="remove it"
            ) from error

    def save() -> None:
        # The calls are recorded for tests only.
        cloud.calls.clear()
        temporary = state_file.with_suffix(".new")
        temporary.write_text(cloud.dump())
        temporary.replace(state_file)

    cloud.on_change = save
    with serve(cloud, port) as url:
        yield url


def main(port: int, state_file: Path) -> None:
    """Serves until SIGTERM or SIGINT."""
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    try:
        with serve_from(state_file, port):
            stopped.wait()
    except ConfigError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
