"""gRPC calls whose messages are bytes, of methods without a stub; and messages of streams."""

from typing import TypeVar, cast

from grpc import aio

Request = TypeVar("Request")
Response = TypeVar("Response")


def unary(channel: aio.Channel, path: str) -> aio.UnaryUnaryMultiCallable[bytes, bytes]:
    """The method at `path`, such as `/grpc.service.webservice.WebService/GetMe`."""
    return channel.unary_unary(path)


async def read(stream: aio.UnaryStreamCall[Request, Response]) -> Response:
    """The next message. Raises AssertionError if the stream has ended."""
    message = await stream.read()
    assert message is not aio.EOF, "the stream has ended"
    return cast(Response, message)
