"""`pipectl encrypt`: encrypt a secret for an agent."""

from typing import BinaryIO

import click

from pipecd.client import Client
from pipecd.config.flags import switch
from pipecd.errors import ConfigError
from pipecd.pipectl.connection import with_client
from pipecd.pipectl.name_completion import complete_pipeds
from pipecd.pipectl.names import find_piped
from pipecd.pipectl.output import echo
from pipecd.schema.api.pipeds_pb2 import EncryptRequest


@click.command()
@click.option(
    "--piped-id",
    required=True,
    shell_complete=complete_pipeds,
    help="Id or name of the piped that can decrypt the secret.",
)
@click.option(
    "--input-file", type=click.File("rb"), default="-", help="File with the secret. Default: standard input."
)
@switch("--use-base64-encoding", "Encode the secret with base64 before encrypting it.")
@with_client
async def encrypt(client: Client, *, piped_id: str, input_file: BinaryIO, use_base64_encoding: bool) -> None:
    """Encrypt a secret for one piped and print the ciphertext, which can be committed to Git."""
    request = EncryptRequest(
        plaintext=_decode_secret(input_file.read()),
        piped_id=await find_piped(client, piped_id),
        base64_encoding=use_base64_encoding,
    )
    echo((await client.call(client.api.Encrypt, request)).ciphertext)


def _decode_secret(content: bytes) -> str:
    """Decode the secret unchanged: line endings and a trailing newline are kept. Raises ConfigError."""
    if not content:
        raise ConfigError(
            "the secret is empty", remedy="use --input-file or write the secret to standard input"
        )
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"the secret is not UTF-8 text: invalid byte at offset {error.start}",
            remedy="encode it, for example with `base64`, and decode it where it is used",
        ) from error
