"""Directories for Helm: its settings with the agent's passwords, which exist while Helm runs.

Passwords are in files that only the agent's user can read, never in arguments or variables.
"""

import base64
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from pipecd.model.downloads import ChartRegistry, ChartRepository, Downloads
from pipecd.platforms.kubernetes.render.tools import environment


@contextmanager
def helm_home(downloads: Downloads, *, index_directory: Path | None = None) -> Iterator[Mapping[str, str]]:
    """The environment of a Helm program. `index_directory` keeps the indexes of repositories."""
    with tempfile.TemporaryDirectory(prefix="pipecd-helm-") as home:
        repositories, registries = Path(home, "repositories.yaml"), Path(home, "registries.json")
        _write(repositories, _repositories(downloads.chart_repositories))
        _write(registries, _registries(downloads.chart_registries))
        yield environment(
            home,
            # Not those of the machine, which may contain credentials and plugins.
            HELM_CONFIG_HOME=f"{home}/config",
            HELM_CACHE_HOME=f"{home}/cache",
            HELM_DATA_HOME=f"{home}/data",
            HELM_PLUGINS=f"{home}/plugins",
            HELM_REPOSITORY_CONFIG=str(repositories),
            HELM_REPOSITORY_CACHE=str(index_directory or f"{home}/cache/repository"),
            HELM_REGISTRY_CONFIG=str(registries),
        )


def host_of(address: str) -> str:
    """The host of a registry's address, with its port."""
    return address.removeprefix("oci://").partition("/")[0].lower()


def _write(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)


def _repositories(repositories: Sequence[ChartRepository]) -> str:
    entries = [
        {
            "name": repository.name,
            "url": repository.address,
            "username": repository.username,
            "password": repository.password,
            "insecure_skip_tls_verify": repository.insecure,
        }
        for repository in repositories
    ]
    return json.dumps({"apiVersion": "v1", "repositories": entries})


def _registries(registries: Sequence[ChartRegistry]) -> str:
    """In the format of Docker's configuration file."""
    return json.dumps(
        {
            "auths": {
                host_of(registry.address): {
                    "auth": base64.b64encode(f"{registry.username}:{registry.password}".encode()).decode()
                }
                for registry in registries
                if registry.username
            }
        }
    )
