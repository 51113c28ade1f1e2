"""Finds Helm and Kustomize, and the environment that they run in."""

import os
from collections.abc import Mapping
from pathlib import Path

from pipecd import tools
from pipecd.errors import ConfigError

#: Variables that a renderer needs. Others may contain the agent's credentials.
_PASSED = ("PATH", "HOME", "LANG", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR")
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")


def find(name: str, version: str) -> Path | None:
    """The program in the required version, else the installed one, which the caller logs."""
    if version:
        try:
            return tools.find(name, version=version)
        except ConfigError:
            pass
    return tools.find(name)


def environment(**added: str) -> Mapping[str, str]:
    passed = {name: os.environ[name] for name in (*_PASSED, *_PROXIES) if name in os.environ}
    return {**passed, **added}
