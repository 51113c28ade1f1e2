"""Addresses of the console's pages, for answers to people."""

from pipecd.client import Client
from pipecd.errors import Temporary, Unsupported
from pipecd.schema.pipecd.v1.program_pb2 import GetControlPlaneRequest


async def console_url(client: Client, path: str) -> str:
    """The URL of a page of the console, such as `/applications/ID`; empty if the control plane gives none.

    PipeCD's control plane does not tell programs where its console is.
    """
    try:
        response = await client.call(client.program.GetControlPlane, GetControlPlaneRequest())
    except (Unsupported, Temporary):
        return ""
    return f"{response.console_url}{path}" if response.console_url else ""
