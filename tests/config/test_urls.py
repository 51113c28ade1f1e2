"""A URL of a configuration file that no call could use is an error when the file is read."""

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from docsite.descriptions import field_docstrings
from docsite.keys import models_below
from pipecd.config import analysis, controlplane, piped, sso
from pipecd.config.notifications import Receiver
from pipecd.config.values import http_url
from pipecd.platforms.cloudrun import platform as cloudrun
from pipecd.platforms.ecs import platform as ecs
from pipecd.platforms.kubernetes import platform as kubernetes

MODELS: list[Any] = [piped.PipedSpec, controlplane.ControlPlaneSpec, Receiver, sso.GitHubSSO, sso.OIDCSSO]
MODELS += [
    controlplane.S3Config,
    controlplane.MinioConfig,
    ecs.provider,
    kubernetes.provider,
    cloudrun.provider,
    *analysis.PROVIDER_CONFIGS.values(),
]
#: Fields that are checked otherwise, or may be more than an HTTP URL.
OTHERS = {
    "Repository.remote",
    "ChartRepository.git_remote",
    # A template.
    "AnalysisProvider.link_template",
    # As in a kubeconfig, the scheme can be left out; as in OpenTelemetry's variables.
    "Provider.master_url",
    "Tracing.endpoint",
    "AgentTracing.endpoint",
    # A host name, as in PipeCD, or a URL.
    "MinioConfig.endpoint",
    # HTTPS is required: `check_https`.
    "GitHubSSO.base_url",
    "OIDCSSO.issuer",
}


def fields_with_urls() -> Iterator[tuple[str, bool]]:
    """Each field that the reference calls a URL, and whether `http_url` checks it."""
    for model in {below for top in MODELS for below in models_below(top)}:
        docstrings = field_docstrings(model)
        for name, info in model.model_fields.items():
            if "URL" in docstrings.get(name, "")[:16]:
                checked = any(getattr(item, "func", None) is http_url for item in info.metadata)
                yield f"{model.__name__}.{name}", checked


def test_every_url_is_checked() -> None:
    unchecked = {name for name, checked in fields_with_urls() if not checked}
    assert unchecked == OTHERS
    assert "Slack.hook_url" in {name for name, checked in fields_with_urls() if checked}


@pytest.mark.parametrize(
    "url", ["ftp://secret", "secret.example.com", "https://", "http://[secret", "http://a:x"]
)
def test_what_is_no_http_url_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(ValueError, match="begins with https:// or http://") as error:
        http_url(url)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("url", ["", "https://a", "http://[::1]:80/x?y", "HTTP://user:password@host"])
def test_http_urls(url: str) -> None:
    assert http_url(url) == url


def test_models_are_found() -> None:
    assert BaseModel not in MODELS and len(set(fields_with_urls())) > 15
