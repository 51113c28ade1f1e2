"""Determines at startup what the agent cannot do with its platform providers. Called by `run`.

The results are logged, and reported to the control plane, whose console shows them with the agent.
"""

import asyncio
from collections.abc import Sequence

import structlog

from pipecd.clock import Clock, timeout
from pipecd.config.piped import PipedSpec
from pipecd.errors import PipecdError
from pipecd.piped.metrics import INTERNAL_ERRORS
from pipecd.piped.providers import Providers
from pipecd.platforms.registry import load_platforms
from pipecd.schema.model.piped_pb2 import Piped

log = structlog.get_logger()

#: The start of the agent is not delayed longer by a platform that does not answer (seconds).
TIMEOUT = 5.0
#: Notices of one provider, and of all, that are reported, and the length of one.
MAX_PER_PROVIDER, MAX_NOTICES, MAX_LENGTH = 20, 200, 2000


async def check_providers(
    spec: PipedSpec, providers: Providers, clock: Clock
) -> Sequence[Piped.ProviderNotice]:
    """Notices on all providers whose platform can check them. Raises nothing."""
    platforms = load_platforms({provider.type for provider in spec.providers})
    checked = [
        (provider.type, provider.name)
        for provider in spec.providers
        if provider.type in platforms and platforms[provider.type].check_access
    ]

    async def check(kind: str, name: str) -> Sequence[str]:
        check_access = platforms[kind].check_access
        assert check_access
        try:
            async with timeout(clock, TIMEOUT):
                return await check_access(providers.config(kind, name))
        except TimeoutError:
            return (f"permissions are unknown: no answer within {TIMEOUT:g} s",)
        except PipecdError as error:
            return (f"permissions are unknown: {error}",)
        except Exception:
            INTERNAL_ERRORS.labels(loop="provider check").inc()
            log.exception("unhandled_error", loop="provider check", kind=kind, provider=name)
            return ()

    found = await asyncio.gather(*(check(kind, name) for kind, name in checked))
    notices = [
        Piped.ProviderNotice(name=name, type=kind, text=text[:MAX_LENGTH])
        for (kind, name), texts in zip(checked, found, strict=True)
        for text in texts[:MAX_PER_PROVIDER]
    ]
    for notice in notices:
        log.warning("provider_limited", provider=notice.name, type=notice.type, reason=notice.text)
    return notices[:MAX_NOTICES]
