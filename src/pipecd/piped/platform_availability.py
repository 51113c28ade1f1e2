"""Which platforms the agent has: checked, logged at startup, and reported to the control plane.

A platform that is missing concerns its applications alone: each shows what to install. Called by `run`.
"""

import difflib
from collections.abc import Mapping, Sequence

import structlog
from pydantic import BaseModel

from pipecd.config.analysis import PROVIDER_CONFIGS
from pipecd.config.decode import decode
from pipecd.config.document import Document
from pipecd.config.piped import AnalysisProvider, PipedSpec, PlatformProvider
from pipecd.errors import ConfigError
from pipecd.model.application import plugin_of_kind
from pipecd.platforms.registry import installed_platforms, load_platforms
from pipecd.schema.model.piped_pb2 import Piped
from pipecd.wire import has_number

log = structlog.get_logger()


def check_provider_types(spec: PipedSpec, document: Document) -> None:
    """Raises ConfigError for a type that is neither installed nor known to PipeCD: a spelling mistake.

    `spec` was decoded from `document`.
    """
    installed = installed_platforms()
    for key, providers in (
        ("platformProviders", spec.platform_providers),
        ("cloudProviders", spec.cloud_providers),
    ):
        for index, provider in enumerate(providers):
            if provider.type in installed or has_number(provider.type):
                continue
            near = difflib.get_close_matches(provider.type, installed, 1)
            raise ConfigError(
                f"this agent has no platform {provider.type}",
                remedy=f"did you mean {near[0]}?"
                if near
                else f"install the package that provides it; installed: {', '.join(installed)}",
                place=document.place(("spec", key, index, "type")),
            )


def check_provider_configs(spec: PipedSpec, document: Document) -> None:
    """Raises ConfigError for the `config` of a provider that its platform, or its analysis service, refuses.

    `spec` was decoded from `document`. A provider whose platform is missing is not checked.
    """
    platforms = load_platforms({provider.type for provider in spec.providers})
    models = {kind: platform.provider for kind, platform in platforms.items()}
    lists: Sequence[
        tuple[str, str, Sequence[PlatformProvider | AnalysisProvider], Mapping[str, type[BaseModel]]]
    ] = (
        ("platform", "platformProviders", spec.platform_providers, models),
        ("platform", "cloudProviders", spec.cloud_providers, models),
        ("analysis", "analysisProviders", spec.analysis_providers, PROVIDER_CONFIGS),
    )
    for what, key, providers, types in lists:
        for index, provider in enumerate(providers):
            if model := types.get(provider.type):
                try:
                    decode(model, provider.config, document, ("spec", key, index, "config"))
                except ConfigError as error:
                    text = f"{error.what} (the {what} provider {provider.name})"
                    raise ConfigError(text, remedy=error.remedy, place=error.place) from error


def log_platforms(spec: PipedSpec) -> None:
    """Log the platforms that can be used, and the providers whose platform cannot."""
    installed = installed_platforms()
    log.info(
        "platforms",
        available=[kind for kind, platform in installed.items() if not platform.missing],
        unavailable={kind: platform.remedy for kind, platform in installed.items() if platform.missing},
    )
    for provider in spec.providers:
        platform = installed.get(provider.type)
        if platform is None or platform.missing:
            remedy = f"install {platform.remedy}" if platform else "install the package that provides it"
            log.warning("platform_unavailable", provider=provider.name, type=provider.type, remedy=remedy)


def reported_platforms(spec: PipedSpec) -> Sequence[Piped.Plugin]:
    """The platforms that can be used, each with its providers, as PipeCD's agents report their plugins."""
    return [
        Piped.Plugin(
            name=plugin_of_kind(kind),
            deploy_targets=[provider.name for provider in spec.providers if provider.type == kind],
        )
        for kind, platform in installed_platforms().items()
        if not platform.missing
    ]


def unavailable_platforms() -> Sequence[Piped.UnavailablePlatform]:
    """The installed platforms that lack packages, with what to install."""
    return [
        Piped.UnavailablePlatform(kind=kind, requirement=platform.remedy)
        for kind, platform in installed_platforms().items()
        if platform.missing
    ]
