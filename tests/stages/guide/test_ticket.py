"""The stage of docs/guide/write-a-stage.md, with a ticket system over HTTP."""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from pipecd.errors import Refused, Temporary
from pipecd.model.stage import Again, Done, Failed
from tests.stages.guide.ticket import INTERVAL, TICKET, TicketOptions, ticket
from tests.stages.stage_runner import StageRunner, open_runner

FILES = {"app.pipecd.yaml": "apiVersion: pipecd.dev/v1beta1\nkind: TerraformApp\nspec: {name: shop}\n"}


@dataclass
class TicketServer:
    """Tickets by number: the reference and the status of each."""

    url: str = ""
    references: dict[str, str] = field(default_factory=dict)
    status: dict[str, str] = field(default_factory=dict)
    #: Answer everything with this HTTP status.
    error: int = 0
    searches: int = 0

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: Any) -> Any:
        if method == "POST":
            number = str(len(self.references) + 1)
            self.references[number] = body["reference"]
            return {"number": int(number)}
        if reference := query.get("reference"):
            self.searches += 1
            return [{"number": int(key)} for key, value in self.references.items() if value == reference[0]]
        return {"status": self.status.get(path.rsplit("/", 1)[-1], "open")}


@pytest.fixture
def tickets() -> Iterator[TicketServer]:
    system = TicketServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"null"
            answer = system.answer(self.command, url.path, parse_qs(url.query), json.loads(body))
            text = json.dumps(answer).encode()
            self.send_response(system.error or 200)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_POST = do_GET

        def log_message(self, format: str, *args: Any) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    system.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield system
    finally:
        server.shutdown()
        server.server_close()


class Killed(Exception):
    """Ends a call as the death of the agent would."""


def kill_at(text: str) -> Callable[[str], None]:
    def on_line(line: str) -> None:
        if line.startswith(text):
            raise Killed

    return on_line


async def test_the_stage_waits_until_the_ticket_is_approved(tmp_path: Path, tickets: TicketServer) -> None:
    options = TicketOptions.model_validate({"url": tickets.url})
    async with open_runner(tmp_path, FILES) as runner, runner.calls("TICKET", ticket, options) as call:
        assert await call() == Again(saved={TICKET: "1"}, note="Waiting for ticket 1")
        assert await call() == Again(after=INTERVAL)
        tickets.status["1"] = "approved"
        assert await call() == Done(note="Ticket 1 is approved")
        assert tickets.references == {"1": "d/ticket"}
        assert tickets.searches == 0, "only an interrupted call searches"


async def test_a_rejected_ticket_fails_the_stage(tmp_path: Path, tickets: TicketServer) -> None:
    tickets.status["1"] = "rejected"
    outcome = await run(tmp_path, tickets)
    assert outcome == Failed(reason="ticket 1 was rejected", remedy="see the ticket for the reason")


async def test_a_killed_agent_opens_no_second_ticket(tmp_path: Path, tickets: TicketServer) -> None:
    options = TicketOptions.model_validate({"url": tickets.url})
    async with open_runner(tmp_path, FILES) as runner:
        runner.log.on_line = kill_at("Opened ticket")
        with pytest.raises(Killed):
            await runner.run("TICKET", ticket, options)
        runner.log.on_line = lambda line: None
        tickets.status["1"] = "approved"
        assert await runner.run("TICKET", ticket, options) == Done(note="Ticket 1 is approved")
    assert len(tickets.references) == 1
    assert "Found ticket 1 of an earlier call" in runner.log.text


@pytest.mark.parametrize(("status", "error"), [(503, Temporary), (404, Refused)])
async def test_errors_say_whether_a_retry_can_help(
    tmp_path: Path, tickets: TicketServer, status: int, error: type[Exception]
) -> None:
    tickets.error = status
    with pytest.raises(error, match=f"the ticket system answered {status}"):
        await run(tmp_path, tickets)


async def test_an_outage_is_temporary(tmp_path: Path) -> None:
    with pytest.raises(Temporary, match="the ticket system does not answer: ConnectError"):
        await run(tmp_path, TicketServer(url="http://127.0.0.1:9"))


async def run(folder: Path, tickets: TicketServer) -> Any:
    runner: StageRunner
    async with open_runner(folder, FILES) as runner:
        return await runner.run("TICKET", ticket, TicketOptions.model_validate({"url": tickets.url}))
