"""The platform provider `kubernetes-default`, which PipeCD's agents have without declaring it."""

import os
from collections.abc import Mapping

from pipecd.config.piped import PipedSpec, PlatformProvider
from pipecd.platforms.registry import installed_platforms

NAME, TYPE = "kubernetes-default", "KUBERNETES"


def with_default_provider(
    spec: PipedSpec, enabled: bool | None, environ: Mapping[str, str] = os.environ
) -> PipedSpec:
    """`spec` with the provider of the cluster that the agent runs in, unless one of that name is declared.

    `enabled` None: if the agent runs in a cluster, and has the platform.
    """
    if enabled is None:
        platform = installed_platforms().get(TYPE)
        enabled = "KUBERNETES_SERVICE_HOST" in environ and platform is not None and not platform.missing
    if not enabled or any(provider.name == NAME for provider in spec.providers):
        return spec
    added = PlatformProvider(name=NAME, type=TYPE)
    return spec.model_copy(update={"platform_providers": [*spec.platform_providers, added]})
