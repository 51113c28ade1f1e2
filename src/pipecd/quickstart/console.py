"""A client of the console's API: signs in with a password and calls methods with JSON."""

from typing import Any, Self

import httpx

from pipecd.errors import PipecdError, Temporary, Unauthenticated

_SERVICE = "/api/grpc.service.webservice.WebService"


class Console:
    def __init__(self, base: str) -> None:
        # Over plain HTTP on this machine, so that no certificates need be read.
        self._http = httpx.AsyncClient(base_url=base, timeout=60.0, verify=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def sign_in(self, project: str, username: str, password: str) -> None:
        form = {"project": project, "username": username, "password": password}
        try:
            response = await self._http.post("/auth/login/static", data=form)
        except httpx.HTTPError as error:
            raise Temporary(f"the control plane does not answer: {error}") from error
        if response.status_code != 302:
            raise Unauthenticated("the console rejects the password stored in the state directory")

    async def call(self, method: str, **fields: Any) -> Any:
        """The decoded JSON response. Raises PipecdError with the control plane's message."""
        try:
            response = await self._http.post(f"{_SERVICE}/{method}", json=fields)
        except httpx.HTTPError as error:
            raise Temporary(f"the control plane does not answer: {error}") from error
        if response.status_code != 200:
            raise PipecdError(f"{method}: {response.json().get('message', response.status_code)}")
        return response.json()
