"""Settings of the agent that have no effect. Logged at startup."""

from collections.abc import Iterator

import structlog

from pipecd.config.analysis import PROVIDER_CONFIGS
from pipecd.config.decode import keys_without_effect
from pipecd.config.document import Document
from pipecd.config.piped import PipedSpec
from pipecd.errors import Place
from pipecd.platforms.registry import load_platforms

log = structlog.get_logger()


def log_keys_without_effect(spec: PipedSpec, document: Document) -> None:
    """`spec` was decoded from `document`."""
    for place, reason in find_keys_without_effect(spec, document):
        log.warning("key_without_effect", file=place.file, line=place.line, key=place.key, reason=reason)


def find_keys_without_effect(spec: PipedSpec, document: Document) -> Iterator[tuple[Place, str]]:
    """The place of each key of a valid file that has no effect, and why."""
    yield from keys_without_effect(PipedSpec, document.spec, document, ("spec",))
    platforms = load_platforms({provider.type for provider in spec.providers})
    lists = {"platformProviders": spec.platform_providers, "cloudProviders": spec.cloud_providers}
    for key, providers in lists.items():
        for index, provider in enumerate(providers):
            if platform := platforms.get(provider.type):
                path = ("spec", key, index, "config")
                yield from keys_without_effect(platform.provider, provider.config, document, path)
    for index, analysis in enumerate(spec.analysis_providers):
        path = ("spec", "analysisProviders", index, "config")
        yield from keys_without_effect(PROVIDER_CONFIGS[analysis.type], analysis.config, document, path)
