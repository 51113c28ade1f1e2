"""Reports the agent to the control plane: version, repositories, platforms and masked configuration."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipecd.client import Client
from pipecd.config.piped import PipedSpec
from pipecd.piped.platform_availability import reported_platforms, unavailable_platforms
from pipecd.retry import Retry
from pipecd.schema.agent.pipeds_pb2 import ReportPipedMetaRequest
from pipecd.schema.model.git_path_pb2 import ApplicationGitRepository
from pipecd.schema.model.piped_pb2 import Piped

#: Tells the control plane which releases this agent can be upgraded to.
PACKAGE = "pipecd"
#: The start fails when the control plane does not accept the report within about a minute.
REPORT_META_RETRY = Retry(base=1.0, cap=20.0, tries=5)


@dataclass(frozen=True, kw_only=True)
class Identity:
    """The agent's name in the control plane, and the address of the console."""

    name: str
    web_address: str


async def report_meta(
    client: Client,
    spec: PipedSpec,
    *,
    version: str,
    masked_config: str,
    public_key: str,
    provider_notices: Sequence[Piped.ProviderNotice] = (),
) -> Identity:
    """`masked_config` is the configuration as YAML without its secrets; `public_key` is PEM, or empty.

    Raises Unauthenticated for a wrong key.
    """
    request = ReportPipedMetaRequest(
        version=version,
        package=PACKAGE,
        repositories=[
            ApplicationGitRepository(
                id=repository.repo_id, remote=repository.remote, branch=repository.branch
            )
            for repository in spec.repositories
        ],
        platform_providers=[
            Piped.PlatformProvider(name=provider.name, type=provider.type)
            for provider in spec.platform_providers
        ],
        plugins=reported_platforms(spec),
        unavailable_platforms=unavailable_platforms(),
        provider_notices=provider_notices,
        secret_encryption=Piped.SecretEncryption(
            type="KEY_PAIR" if public_key else "NONE", public_key=public_key
        ),
        config=masked_config,
    )
    response = await client.call(client.piped.ReportPipedMeta, request, policy=REPORT_META_RETRY)
    return Identity(name=response.name, web_address=spec.web_address or response.web_base_url)
