"""Tells the control plane who this agent is: version, repositories, providers and masked configuration."""

from dataclasses import dataclass

from pipecd.client import Client
from pipecd.config.piped import PipedSpec
from pipecd.retry import Retry
from pipecd.schema.agent.pipeds_pb2 import ReportPipedMetaRequest
from pipecd.schema.model.git_path_pb2 import ApplicationGitRepository
from pipecd.schema.model.piped_pb2 import Piped

#: A start that the control plane does not hear of within about a minute is given up.
TRIES = Retry(base=1.0, cap=20.0, tries=5)


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What the control plane calls this agent, and where people see it."""

    name: str
    web_address: str


async def report_meta(
    client: Client, spec: PipedSpec, *, version: str, masked: str, public_key: str
) -> Identity:
    """`masked` is the configuration as YAML without its secrets; `public_key` is PEM, or empty.

    Raises Unauthenticated for a wrong key.
    """
    request = ReportPipedMetaRequest(
        version=version,
        repositories=[
            ApplicationGitRepository(id=one.repo_id, remote=one.remote, branch=one.branch)
            for one in spec.repositories
        ],
        platform_providers=[
            Piped.PlatformProvider(name=one.name, type=one.type) for one in spec.platform_providers
        ],
        secret_encryption=Piped.SecretEncryption(
            type="KEY_PAIR" if public_key else "NONE", public_key=public_key
        ),
        config=masked,
    )
    answer = await client.call(client.piped.ReportPipedMeta, request, policy=TRIES)
    return Identity(name=answer.name, web_address=spec.web_address or answer.web_base_url)
