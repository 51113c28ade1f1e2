"""E-mails through a real SMTP server, and services of apprise through HTTP."""

import asyncio
import email
import email.policy
import ssl
from collections.abc import AsyncIterator
from email.message import EmailMessage
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from pipecd.config import piped
from pipecd.config.notifications import Apprise, Email
from pipecd.errors import ConfigError, PipecdError, Refused, Temporary
from pipecd.notify.message import Message, Tone
from pipecd.notify.network import Network
from pipecd.notify.sinks.apprise import open_apprise
from pipecd.notify.sinks.email import EmailSink, open_email
from pipecd.piped.notify.configured import check_receivers
from pipecd.quickstart.simulated_cluster.certificates import Authority
from tests.piped.receiver_server import ReceiverServer

PASSWORD = "pass-word-4711"
MESSAGE = Message(
    key="d-1/DEPLOYMENT_FAILED",
    event="DEPLOYMENT_FAILED",
    group="DEPLOYMENT",
    at=1_700_000_000,
    project="shop",
    piped="p",
    tone=Tone.ERROR,
    title="The deployment of <b>größe</b>\r\nBcc: eve@example.com failed",
    text="quota <exceeded>\nsee the log",
    link="https://pipecd.example.com/deployments/d-1?project=shop",
    fields=(("Commit", "abc <script>"),),
    thread="d-1",
)


class Mailbox:
    """Keeps e-mails. Answers for recipients that begin with `no-` and `later-` are errors."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address.startswith("no-"):
            return "550 no such mailbox"
        if address.startswith("later-"):
            return "451 greylisted, try later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        content = envelope.content
        assert isinstance(content, bytes)
        mail = email.message_from_bytes(content, policy=email.policy.default)
        assert server.transport
        mail["X-Encrypted"] = "yes" if server.transport.get_extra_info("ssl_object") else "no"
        mail["X-Recipients"] = ",".join(envelope.rcpt_tos)
        self.mails.append(mail)
        return "250 accepted"


def login(server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
    is_right = isinstance(data, LoginPassword) and data.password == PASSWORD.encode()
    return AuthResult(success=is_right, handled=is_right)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The contexts of the server and of clients that trust it."""
    created = Authority.create()
    key, certificate = created.issue("mail", addresses=["127.0.0.1"])
    file = tmp_path_factory.mktemp("mail") / "server.pem"
    file.write_bytes(key + certificate)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(file)
    return server, ssl.create_default_context(cadata=created.certificate_pem.decode())


@pytest.fixture(params=["starttls", "tls"])
async def server(
    request: pytest.FixtureRequest, authority: tuple[ssl.SSLContext, ssl.SSLContext]
) -> AsyncIterator[tuple[Mailbox, str, int]]:
    box, is_tls = Mailbox(), request.param == "tls"

    def protocol() -> SMTP:
        return SMTP(
            box,
            hostname="mail.example.com",
            tls_context=None if is_tls else authority[0],
            require_starttls=not is_tls,
            auth_required=True,
            auth_require_tls=not is_tls,
            authenticator=login,
        )

    loop = asyncio.get_running_loop()
    context = authority[0] if is_tls else None
    listening = await loop.create_server(protocol, "127.0.0.1", 0, ssl=context)
    async with listening:
        yield box, request.param, listening.sockets[0].getsockname()[1]


def configured(security: str, port: int, password_file: Path, *to: str) -> Email:
    return Email.model_validate(
        {
            "host": "127.0.0.1",
            "port": port,
            "security": security,
            "username": "robot",
            "passwordFile": str(password_file),
            "from": "PipeCD <pipecd@example.com>",
            "to": list(to) or ["Ada <ada@example.com>", "grace@example.com"],
        }
    )


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    file = tmp_path / "password"
    file.write_text(f"{PASSWORD}\n")
    return file


async def test_an_event_is_one_encrypted_mail_of_text_and_html(
    server: tuple[Mailbox, str, int],
    authority: tuple[ssl.SSLContext, ssl.SSLContext],
    password_file: Path,
) -> None:
    box, security, port = server
    sink = EmailSink(configured(security, port, password_file), PASSWORD, authority[1])
    await sink(MESSAGE)
    # As a receiver of a project: to the address that was checked, with the certificate of the name.
    network = Network(allowed=(ip_network("127.0.0.0/8"),))
    await EmailSink(configured(security, port, password_file), PASSWORD, authority[1], network)(MESSAGE)
    with pytest.raises(Refused, match=r"127\.0\.0\.1, which the control plane does not call"):
        await EmailSink(configured(security, port, password_file), PASSWORD, authority[1], Network())(MESSAGE)
    first, again = box.mails
    assert first["X-Encrypted"] == "yes" and first["X-Recipients"] == "ada@example.com,grace@example.com"
    assert first["Subject"] == "The deployment of <b>größe</b> Bcc: eve@example.com failed"
    assert "Bcc" not in first and first["Date"] == "Tue, 14 Nov 2023 22:13:20 +0000"
    # A repetition is recognizable, and mails of one deployment are one thread.
    assert first["Message-ID"] == again["Message-ID"]
    assert first["In-Reply-To"] == "<d-1.deployment@example.com>"
    text, html = (part.get_content().replace("\r\n", "\n") for part in first.iter_parts())
    assert "quota <exceeded>\nsee the log" in text and "Commit: abc <script>" in text
    assert "<script>" not in html and "abc &lt;script&gt;" in html and MESSAGE.link in html

    # One recipient is refused: the others have the mail, so that it is not repeated.
    some = configured(security, port, password_file, "ada@example.com", "no-one@example.com")
    with pytest.raises(Refused, match=r"no-one@example\.com: 550 no such mailbox"):
        await EmailSink(some, PASSWORD, authority[1])(MESSAGE)
    assert len(box.mails) == 3
    for recipient, error in (("no-one@example.com", Refused), ("later-ada@example.com", Temporary)):
        refused = configured(security, port, password_file, recipient)
        with pytest.raises(error, match=recipient):
            await EmailSink(refused, PASSWORD, authority[1])(MESSAGE)
    with pytest.raises(Refused, match="answered 535") as wrong:
        await EmailSink(configured(security, port, password_file), "other", authority[1])(MESSAGE)
    assert "other" not in str(wrong.value)
    # A certificate of an unknown authority.
    with pytest.raises(Temporary, match="cannot be reached"):
        await EmailSink(configured(security, port, password_file), PASSWORD)(MESSAGE)


async def test_a_server_that_is_away_is_a_temporary_error(password_file: Path) -> None:
    sink = open_email(configured("starttls", 1, password_file))
    assert sink.password == PASSWORD
    with pytest.raises(Temporary, match=r"127\.0\.0\.1:1 cannot be reached"):
        await sink(MESSAGE)


async def test_a_service_of_apprise_gets_a_message_once(tmp_path: Path) -> None:
    with ReceiverServer() as good, ReceiverServer(replies=[(500, {}, "")]) as bad:
        file = tmp_path / "urls"
        file.write_text(f"# Comment\n\n{json_url(good)}\n{json_url(bad)}\n")
        sink = open_apprise(Apprise.model_validate({"urlsFile": str(file)}))
        with pytest.raises(Temporary, match=r"json did not accept the message: .*500") as error:
            await sink(MESSAGE)
        assert "secret" not in str(error.value)
        await sink(MESSAGE)
        assert len(good.requests) == 1 and len(bad.requests) == 2
        (request,) = good.requests
        assert request.json["title"].startswith("The deployment of") and request.json["type"] == "failure"
        assert "quota <exceeded>" in request.json["message"] and MESSAGE.link in request.json["message"]


def json_url(server: ReceiverServer) -> str:
    return server.url.replace("http://", "json://") + "/secret-path"


WRONG = [
    ("apprise: {urls: ['nope://secret']}", "apprise has no service 'nope'"),
    ("apprise: {urls: ['json://127.0.0.1/', 'discord://secret']}", "the discord:// address is incomplete"),
    ("apprise: {}", "exactly one of urls and urlsFile"),
    ("email: {host: h, from: a@example.com, to: [ada]}", "'ada' is not an e-mail address"),
    ("email: {host: h, from: '', to: [a@example.com]}", "'' is not an e-mail address"),
    ('email: {host: h, from: "a@b\\nBcc: c@d", to: [a@example.com]}', "is not an e-mail address"),
    ("email: {host: h, from: a@example.com, to: []}", "to"),
    ("email: {host: h, from: a@example.com, to: [a@b], username: u}", "passwordFile must be given together"),
    (
        "email: {host: h, from: a@b, to: [a@b], username: u, passwordFile: f, security: none}",
        "would send the password unencrypted",
    ),
]


@pytest.mark.parametrize(("receiver", "error"), WRONG, ids=[error for _, error in WRONG])
def test_a_wrong_receiver_is_an_error_at_the_start(receiver: str, error: str) -> None:
    text = (
        "apiVersion: pipecd.dev/v1beta1\nkind: Piped\nspec:\n  projectID: p\n  pipedID: i\n"
        "  pipedKeyData: eA==\n  apiAddress: a:1\n"
        f"  notifications: {{receivers: [{{name: r, {receiver}}}]}}\n"
    )
    document = piped.read_document(text, "piped.yaml")
    with pytest.raises(ConfigError) as raised:
        check_receivers(piped.decode_spec(document), document)
    assert error in str(raised.value) and "secret" not in str(raised.value)
    assert str(raised.value).startswith("piped.yaml:8: spec.notifications.receivers[0]")


def test_a_wrong_address_in_a_file_is_named_by_its_line(tmp_path: Path) -> None:
    file = tmp_path / "urls"
    file.write_text("json://127.0.0.1/\nnope://x\n")
    for content, error in (
        ("json://127.0.0.1/\nnope://x\n", f"{file}:2: apprise has no service 'nope'"),
        ("\n# Nothing\n", "the file is empty"),
        ("json://127.0.0.1/\n" * 21, "20 are allowed"),
        ("#" * 70_000, "too large"),
    ):
        file.write_text(content)
        with pytest.raises(PipecdError, match=error):
            open_apprise(Apprise.model_validate({"urlsFile": str(file)}))
    with pytest.raises(ConfigError, match="cannot be read"):
        open_apprise(Apprise.model_validate({"urlsFile": str(tmp_path / "missing")}))


def test_addresses_of_apprise_are_secrets() -> None:
    text = (
        "apiVersion: pipecd.dev/v1beta1\nkind: Piped\nspec:\n  notifications:\n"
        "    receivers: [{name: r, apprise: {urls: ['ntfy://secret-topic']}}]\n"
    )
    assert "secret-topic" not in piped.mask_secrets(piped.read_document(text, "piped.yaml"))
    assert "ntfy://secret-topic" in piped.secret_values(text, "piped.yaml")
