"""What the application file of Kubernetes refuses."""

import pytest

from pipecd.config import application
from pipecd.errors import ConfigError
from pipecd.platforms.kubernetes import platform
from pipecd.platforms.stage_tables import application_types

FILE = """apiVersion: pipecd.dev/v1beta1
kind: KubernetesApp
spec:
  name: shop
  resourceRoutes:
    - provider: {name: other}
"""


def test_routes_to_other_clusters_are_refused_with_their_place() -> None:
    with pytest.raises(ConfigError) as caught:
        application.load(FILE, "app.pipecd.yaml", lambda _: application_types(platform))
    assert "use one application per cluster" in str(caught.value)
    assert "app.pipecd.yaml" in str(caught.value) and "resourceRoutes" in str(caught.value)
