"""TICKET: opens a ticket and waits until it is approved. Shown in docs/guide/write-a-stage.md."""

from datetime import timedelta
from typing import Any

import httpx
from pydantic import Field

from pipecd.config.decode import LenientModel
from pipecd.config.stages import SkipOn
from pipecd.config.values import Duration
from pipecd.errors import Refused, Temporary
from pipecd.model.stage import Again, Done, Failed, Outcome, Work


class TicketOptions(LenientModel):
    url: str = Field(min_length=1)
    """URL of the ticket system, such as `https://tickets.example.com`."""
    timeout: Duration = timedelta(days=1)
    """How long to wait for the approval."""
    skip_on: SkipOn = SkipOn()
    """When the stage is skipped."""


#: Key of stage metadata: the ticket's number.
TICKET = "example/ticket"
#: Polling interval of the ticket (seconds).
INTERVAL = 30.0


async def ticket(work: Work[TicketOptions]) -> Outcome:
    async with httpx.AsyncClient(base_url=work.options.url, timeout=10.0) as client:
        if number := work.saved.get(TICKET):
            return await _check(work, client, number)
        if work.interrupted and (number := await _find(client, work.token)):
            work.log.info(f"Found ticket {number} of an earlier call")
        else:
            title = f"Deploy {work.application.name}: {work.deployment.summary}"
            number = await _open(client, title, work.token)
            work.log.info(f"Opened ticket {number}")
        return Again(saved={TICKET: number}, note=f"Waiting for ticket {number}")


async def _check(work: Work[TicketOptions], client: httpx.AsyncClient, number: str) -> Outcome:
    match (await _request(client, "GET", f"/tickets/{number}"))["status"]:
        case "approved":
            work.log.success(f"Ticket {number} is approved")
            return Done(note=f"Ticket {number} is approved")
        case "rejected":
            return Failed(reason=f"ticket {number} was rejected", remedy="see the ticket for the reason")
        case _:
            return Again(after=INTERVAL)


async def _open(client: httpx.AsyncClient, title: str, token: str) -> str:
    created = await _request(client, "POST", "/tickets", json={"title": title, "reference": token})
    return str(created["number"])


async def _find(client: httpx.AsyncClient, token: str) -> str:
    """The number of the ticket with this reference; empty if there is none."""
    matches = await _request(client, "GET", "/tickets", params={"reference": token})
    return str(matches[0]["number"]) if matches else ""


async def _request(client: httpx.AsyncClient, method: str, path: str, **arguments: Any) -> Any:
    try:
        response = await client.request(method, path, **arguments)
    except httpx.TransportError as error:
        raise Temporary(f"the ticket system does not answer: {type(error).__name__}") from error
    if response.status_code >= 500:
        raise Temporary(f"the ticket system answered {response.status_code}")
    if response.is_error:
        raise Refused(
            f"the ticket system answered {response.status_code} to {method} {path}",
            remedy="check the stage's url and the ticket system",
        )
    return response.json()
