"""`pipectl encrypt`."""

from typing import BinaryIO

import click

from pipecd.client import Client
from pipecd.config.flags import switch
from pipecd.errors import ConfigError
from pipecd.pipectl.connection import with_client
from pipecd.schema.api.pipeds_pb2 import EncryptRequest


@click.command()
@click.option("--piped-id", required=True, help="The agent that may open it.")
@click.option("--input-file", type=click.File("rb"), default="-", help="The secret. Default: standard input.")
@switch("--use-base64-encoding", "Encode the secret with base64 before it is sealed.")
@with_client
async def encrypt(client: Client, *, piped_id: str, input_file: BinaryIO, use_base64_encoding: bool) -> None:
    """Seal a secret for one agent, and print what may stand in Git."""
    request = EncryptRequest(
        plaintext=_secret(input_file.read()), piped_id=piped_id, base64_encoding=use_base64_encoding
    )
    click.echo((await client.call(client.api.Encrypt, request)).ciphertext)


def _secret(content: bytes) -> str:
    """To the byte: neither line ends nor the last newline are changed. Raises ConfigError."""
    if not content:
        raise ConfigError(
            "there is no secret to seal", remedy="give --input-file or write it to standard input"
        )
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"the secret is not UTF-8 text: byte {error.start} is not",
            remedy="encode it, for instance with `base64`, and decode it where it is used",
        ) from error
