"""A person at the console, as a program: signs in, and calls the console's methods with JSON."""

from typing import Any, Self

import httpx

from pipecd.errors import PipecdError, Temporary, Unauthenticated

_SERVICE = "/api/grpc.service.webservice.WebService"


class Console:
    def __init__(self, base: str) -> None:
        self._http = httpx.AsyncClient(base_url=base, timeout=60.0)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def sign_in(self, project: str, username: str, password: str) -> None:
        form = {"project": project, "username": username, "password": password}
        try:
            answer = await self._http.post("/auth/login/static", data=form)
        except httpx.HTTPError as error:
            raise Temporary(f"the control plane does not answer: {error}") from error
        if answer.status_code != 302:
            raise Unauthenticated("the password kept in the state directory does not open the console")

    async def call(self, method: str, **fields: Any) -> Any:
        """The answer as JSON's objects. Raises PipecdError with the control plane's sentence."""
        try:
            answer = await self._http.post(f"{_SERVICE}/{method}", json=fields)
        except httpx.HTTPError as error:
            raise Temporary(f"the control plane does not answer: {error}") from error
        if answer.status_code != 200:
            raise PipecdError(f"{method}: {answer.json().get('message', answer.status_code)}")
        return answer.json()
