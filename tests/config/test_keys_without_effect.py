"""A key that has no effect says so."""

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel
from structlog.testing import capture_logs

from docsite.descriptions import field_docstrings
from docsite.keys import models_below
from pipecd.config import controlplane, piped
from pipecd.config.decode import Unused
from pipecd.piped.unsupported_config import log_keys_without_effect
from pipecd.platforms.awslambda.config import LambdaProvider
from pipecd.platforms.ecs import platform as ecs
from pipecd.platforms.kubernetes import platform as kubernetes
from pipecd.platforms.terraform import platform as terraform

AGENT = """apiVersion: pipecd.dev/v1beta1
kind: Piped
spec:
  projectID: p
  pipedID: i
  pipedKeyData: eA==
  apiAddress: a:1
  syncIntervall: 5m
  git:
    host: github.com
    hostName:
    sshKeyFile: /key
  platformProviders:
    - name: one
      type: LAMBDA
      config: {region: eu-west-1, awsAPIPollingInterval: 5s, regoin: x}
  analysisProviders:
    - name: metrics
      type: PROMETHEUS
      config: {address: "https://prometheus.example.com", usernamFile: x}
"""


def test_the_agent_names_keys_without_effect() -> None:
    document = piped.read_document(AGENT, "piped.yaml")
    with capture_logs() as logs:
        log_keys_without_effect(piped.decode_spec(document), document)
    assert {entry["file"] for entry in logs} == {"piped.yaml"}
    warnings = {(entry["key"], entry["line"]): entry["reason"] for entry in logs}
    config = "spec.platformProviders[0].config"
    assert warnings == {
        ("spec.syncIntervall", 8): "unknown key; did you mean syncInterval?",
        ("spec.git.host", 10): "the SSH key is offered to every host",
        (f"{config}.awsAPIPollingInterval", 16): "the agent chooses its polling intervals",
        (f"{config}.regoin", 16): "unknown key; did you mean region?",
        ("spec.analysisProviders[0].config.usernamFile", 20): "unknown key; did you mean usernameFile?",
    }


def test_the_control_plane_names_keys_without_effect() -> None:
    head = "apiVersion: pipecd.dev/v1beta1\nkind: ControlPlane\nspec:\n"
    text = head + "  stateKey: x\n  cache: {ttl: 1m}\n  address: https://x\n"
    document = controlplane.read_document(text, "f")
    controlplane.decode_spec(document)
    keys = [(place.key, place.line) for place, _ in controlplane.find_keys_without_effect(document)]
    assert keys == [("spec.stateKey", 4), ("spec.cache", 5)]


def unused_fields(model: type[BaseModel]) -> Iterator[tuple[str, bool, bool]]:
    for below in models_below(model):
        docstrings = field_docstrings(below)
        for name, info in below.model_fields.items():
            marked = any(isinstance(item, Unused) for item in info.metadata)
            yield f"{below.__name__}.{name}", docstrings.get(name, "").startswith("Not used"), marked


MODELS: list[Any] = [piped.PipedSpec, controlplane.ControlPlaneSpec, LambdaProvider]
MODELS += [ecs.provider, kubernetes.provider, terraform.provider]


@pytest.mark.parametrize("model", MODELS)
def test_the_reference_says_the_same(model: type[BaseModel]) -> None:
    for name, documented, marked in unused_fields(model):
        assert documented is marked, name
