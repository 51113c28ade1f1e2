"""An AWS emulator over HTTP (`moto`), and the SDK settings that point to it.

Each process has one emulator, started on first use. `emulated_aws` gives a test an empty account in it.
"""

import atexit
import io
import os
import pickle
import re
import shutil
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, lru_cache
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlsplit
from urllib.request import Request, urlopen

import certifi
import pytest
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from botocore.session import Session
from moto.backends import get_backend
from moto.core.base_backend import BackendDict, BaseBackend
from moto.core.utils import get_service_model
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from moto.server import ThreadedMotoServer
from urllib3 import HTTPResponse
from werkzeug.datastructures import Headers
from werkzeug.serving import make_server
from werkzeug.test import EnvironBuilder, run_wsgi_app

REGION = "eu-central-1"
#: Timeout of a request to the emulator, and of requests that run after a test (seconds). The first request
#: to a service imports it, which takes a busy machine a minute.
REQUEST_TIMEOUT = 300.0
Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
Result = TypeVar("Result")
#: A client by the name of its service.
Clients = Callable[[str], Any]


@dataclass(frozen=True, kw_only=True)
class Aws:
    url: str

    def client(self, service: str) -> Any:
        return sdk_client(service, self.url, "tester")

    def environment(self) -> dict[str, str]:
        """The environment variables that direct a process's AWS SDK to the emulator."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "tester",
            "AWS_SECRET_ACCESS_KEY": "tester",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CA_BUNDLE": few_authorities(),
        }

    def enforce_policies(self) -> None:
        """From now on, requests need known access keys and are limited to what their policies allow."""
        _control(self.url, "reset-auth", b"0")


@contextmanager
def emulated_aws() -> Iterator[Aws]:
    """An account without resources, which no other test uses at the same time."""
    with _server().account(_server().emulate) as url:
        yield Aws(url=url)


@contextmanager
def emulated_account(wrap: Callable[[Application], Application]) -> Iterator[str]:
    """As `emulated_aws`, with a layer between the test and the emulator. Yields the URL."""
    with _server().account(wrap(_server().emulate)) as url:
        yield url


def set_up_once(create: Callable[[Clients], Result], clients: Clients) -> Result:
    """Gives each test's account the resources that `create` creates: by calls once, later as copies.

    `create` has the same effect in each account, and returns what can be pickled, such as ARNs. It is called
    each time if the account has had other requests than those of this function.
    """
    return _server().set_up_once(create, clients)


def _control(url: str, command: str, content: bytes = b"") -> None:
    """Call the emulator's own API."""
    request = Request(f"{url}/moto-api/{command}", data=content, method="POST")
    request.add_header("Content-Type", "application/octet-stream")
    with urlopen(request, timeout=REQUEST_TIMEOUT):
        pass


@cache
def sdk_client(service: str, url: str, access_key: str) -> Any:
    """A client of the emulator. Cached, because creating one takes longer than most calls."""
    return _session().create_client(
        service,
        region_name=REGION,
        endpoint_url=url,
        aws_access_key_id=access_key,
        aws_secret_access_key="tester",
        config=Config(connect_timeout=REQUEST_TIMEOUT, read_timeout=REQUEST_TIMEOUT),
    )


@cache
def direct_client(service: str, url: str, access_key: str) -> Any:
    """As `sdk_client`, for the emulator of this process: calls it without HTTP and a thread that serves."""
    client = sdk_client.__wrapped__(service, url, access_key)
    client.meta.events.register("before-send", _answer)
    return client


def _answer(request: Any, **_: Any) -> Any:
    """The emulator's response to what a client would send."""
    url, headers = urlsplit(request.url), Headers()
    for name, value in request.headers.items():
        headers[name] = value.decode() if isinstance(value, bytes) else value
    builder = EnvironBuilder(
        base_url=f"{url.scheme}://{url.netloc}",
        path=url.path,
        query_string=url.query,
        method=request.method,
        headers=headers,
        data=request.body,
    )
    content, status, received = run_wsgi_app(_server().emulate, builder.get_environ(), buffered=True)
    response: Any = HTTPResponse(io.BytesIO(b"".join(content)), dict(received), preload_content=False)
    return AWSResponse(request.url, int(status.split()[0]), response.headers, response)


@cache
def few_authorities() -> str:
    """A file with one certificate authority. Each SDK client loads a file, and the usual one takes 14 ms."""
    end = "-----END CERTIFICATE-----\n"
    folder = tempfile.mkdtemp(prefix="pipecd-authorities-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    file = Path(folder, "first.pem")
    file.write_text(Path(certifi.where()).read_text().partition(end)[0] + end)
    return str(file)


@cache
def _session() -> Session:
    return Session()


#: The services of most tests.
_SERVICES = ("ec2", "ecs", "elbv2", "iam", "lambda", "secretsmanager")


def preload() -> None:
    """Import the emulator of these services, and load their models: before workers are forked."""
    _leave_out_images()
    for service in _SERVICES:
        _application(service)
        _session().get_service_model(service)
        get_service_model(service)


def _leave_out_images() -> None:
    """No test uses the machine images of each account; creating them would take longer than most tests."""
    os.environ["MOTO_EC2_LOAD_DEFAULT_AMIS"] = "false"


@cache
def _application(service: Any) -> Any:
    return create_backend_app(service)


@cache
def _server() -> "_Server":
    """This process's emulator. Started once, because it builds the routes of each service on first use."""
    _leave_out_images()
    server = _Server("127.0.0.1", port=0, verbose=False)
    server.start()
    return server


class _Server(ThreadedMotoServer):
    """Serves one account at a time: requests outside of `account` fail."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._kept_responses = _KeptResponses(_Dispatcher(_application))
        #: moto is not thread-safe, so calls take effect one after another.
        self._lock = threading.Lock()
        self._application: Application | None = None
        #: What created all resources of the account; None if there were other requests.
        self._creators: tuple[Callable[[Clients], Any], ...] | None = ()
        self._copies: dict[tuple[Callable[[Clients], Any], ...], bytes] = {}
        self._running, self._ended = 0, threading.Condition()

    @contextmanager
    def account(self, application: Application) -> Iterator[str]:
        assert self._application is None, "another test uses the emulator"
        self._application = application
        try:
            yield self._url
        finally:
            self._end_account()

    @property
    def _url(self) -> str:
        host, port = self.get_host_and_port()
        return f"http://{host}:{port}"

    def _end_account(self) -> None:
        self._application = self.emulate
        try:
            with self._ended:
                assert self._ended.wait_for(lambda: not self._running, REQUEST_TIMEOUT), "requests still run"
            _control(self._url, "reset-auth", b"inf")
            _control(self._url, "reset")
            self._creators = ()
        finally:
            self._application = None

    def set_up_once(self, create: Callable[[Clients], Result], clients: Clients) -> Result:
        if self._creators is None:
            return create(clients)
        creators = (*self._creators, create)
        if creators not in self._copies:
            # The first request to a service imports it, which creates resources of other services.
            create(clients)
            _control(self._url, "reset")
            if creators[:-1]:
                self._restore(creators[:-1])
            self._copies[creators] = _copy_resources(create(clients))
        result: Result = self._restore(creators)
        self._creators = creators
        return result

    def _restore(self, creators: tuple[Callable[[Clients], Any], ...]) -> Any:
        with self._lock:
            self._kept_responses.clear()
            return _restore_resources(self._copies[creators])

    def emulate(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Sequence[bytes]:
        """The emulator's response to a request, as a WSGI application."""
        self._creators = None
        with self._lock:
            return self._kept_responses.respond(environ, start_response)

    def _respond(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Sequence[bytes]:
        with self._ended:
            application = self._application
            self._running += 1
        try:
            if application is None:
                start_response("503 Service Unavailable", [])
                return []
            return list(application(environ, start_response))
        finally:
            with self._ended:
                self._running -= 1
                self._ended.notify_all()

    def _server_entry(self) -> None:
        self._server = make_server(
            self._ip_address, self._port, self._respond, threaded=True, request_handler=_RequestHandler
        )
        self._server_ready_event.set()
        self._server.serve_forever()


def _copy_resources(result: Any) -> bytes:
    """`result`, and the resources of all accounts, regions and services."""
    backends = {
        (str(services.service_name), account, region): backend
        for services in BackendDict._instances  # type: ignore[misc]
        for account, region, backend in services.iter_backends()
    }
    names = {id(backend): name for name, backend in backends.items()}

    class Pickler(pickle.Pickler):
        def persistent_id(self, obj: Any) -> Any:
            return names[id(obj)] if isinstance(obj, BaseBackend) else None

    copy = io.BytesIO()
    Pickler(copy, pickle.HIGHEST_PROTOCOL).dump(
        (result, {name: vars(backend) for name, backend in backends.items()})
    )
    return copy.getvalue()


def _restore_resources(copy: bytes) -> Any:
    def find(name: tuple[Any, str, str]) -> Any:
        service, account, region = name
        return get_backend(service)[account][region]

    class Unpickler(pickle.Unpickler):
        def persistent_load(self, pid: Any) -> Any:
            return find(pid)

    result, backends = Unpickler(io.BytesIO(copy)).load()
    for name, attributes in backends.items():
        vars(find(name)).clear()
        vars(find(name)).update(attributes)
    return result


class _KeptResponses:
    """Answers what was read before with the same response, until a request may have changed it.

    An agent reads the same resources again and again while it waits, and moto needs about 4 ms for each.
    """

    #: By credential scope: services whose reads change nothing, and that do not change each other.
    _SERVICES = ("ecs", "elasticloadbalancing", "lambda")
    _READ = re.compile(r"(Describe|List)\w+")
    #: moto starts and stops a task as often as it is read.
    _CHANGING = frozenset({"DescribeTasks"})

    def __init__(self, application: Application) -> None:
        self._application = application
        self._responses: dict[str, dict[_Read, tuple[Any, Sequence[bytes]]]] = {
            service: {} for service in self._SERVICES
        }

    def respond(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Sequence[bytes]:
        kept = self._responses.get(_credential_part(environ, 3))
        read = None if kept is None else self._read(environ)
        if kept is None or read is None:
            for changed in self._responses.values() if kept is None else [kept]:
                changed.clear()
            return list(self._application(environ, start_response))
        if read not in kept:
            started: list[Any] = []
            content = list(self._application(environ, lambda *arguments: started.append(arguments)))
            kept[read] = started[-1][:2], content
        (status, headers), response = kept[read]
        start_response(status, list(headers))
        return response

    def clear(self) -> None:
        for kept in self._responses.values():
            kept.clear()

    def _read(self, environ: dict[str, Any]) -> "_Read | None":
        """What is read, and by whom; None if the request may change something."""
        text = environ["wsgi.input"].getvalue()
        method, target = environ["REQUEST_METHOD"], environ.get("HTTP_X_AMZ_TARGET", "")
        name = target.rpartition(".")[2] or dict(parse_qsl(text.decode("latin-1"))).get("Action", "")
        reads = self._READ.fullmatch(name) and name not in self._CHANGING if name else method == "GET"
        caller, url = _credential_part(environ, 0), (environ["PATH_INFO"], environ.get("QUERY_STRING", ""))
        return (caller, method, *url, target, text) if reads else None


_Read = tuple[str | bytes, ...]


def _credential_part(environ: dict[str, Any], index: int) -> str:
    """Of a signed request: access key (0), date, region, service (3); else empty."""
    _, _, credential = environ.get("HTTP_AUTHORIZATION", "").partition("Credential=")
    return str(credential.split("/")[index]) if credential.count("/") > index else ""


class _Dispatcher(DomainDispatcherApplication):
    @lru_cache  # noqa: B019 (there is one dispatcher per process)
    def get_backend_for_host(self, host: str | None) -> Any:
        """As moto's, which lists the folders of its package for each request."""
        return super().get_backend_for_host(host)


class _RequestHandler(MotoRequestHandler):
    """Keeps connections open, because opening one and starting its thread takes longer than most calls.

    werkzeug's own handler closes each connection, because an application may leave part of a request unread.
    """

    protocol_version = "HTTP/1.1"
    #: Responses are sent at once.
    wbufsize = -1
    disable_nagle_algorithm = True

    def run_wsgi(self) -> None:
        try:
            if self.headers.get("Expect", "").lower().strip() == "100-continue":
                self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                self.wfile.flush()
            self._respond(self._read_request())
        except ConnectionError:
            # The client is gone, or a test simulates a broken connection.
            self.close_connection = True
        except Exception:  # noqa: BLE001 (as any server, it continues)
            traceback.print_exc()
            self.close_connection = True
            self._send(f"{HTTPStatus.INTERNAL_SERVER_ERROR.value} Failed", [("Connection", "close")], b"")

    def _read_request(self) -> dict[str, Any]:
        environ = self.make_environ()
        stream = environ["wsgi.input"]
        chunked = environ.get("wsgi.input_terminated")
        content = stream.read() if chunked else stream.read(int(environ.get("CONTENT_LENGTH") or 0))
        return {**environ, "wsgi.input": io.BytesIO(content)}

    def _respond(self, environ: dict[str, Any]) -> None:
        started: list[Any] = []
        application: Any = self.server.app
        body = b"".join(application(environ, lambda *arguments: started.append(arguments)))
        status, headers = started[-1][:2]
        self._send(status, headers, body)

    def _send(self, status: str, headers: Iterable[tuple[str, str]], body: bytes) -> None:
        code, _, reason = status.partition(" ")
        self.send_response(int(code), reason)
        for name, value in headers:
            self.send_header(name, value)
        if "content-length" not in {name.lower() for name, _ in headers}:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else body)
        self.wfile.flush()

    def log_request(self, *_: Any, **__: Any) -> None: ...


@contextmanager
def credential_chain(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> Iterator[None]:
    """AWS endpoint and credentials come only from `environment`, not from the machine's settings."""
    with monkeypatch.context() as patched:
        for name in ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_SESSION_TOKEN"):
            patched.delenv(name, raising=False)
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patched.delenv(name, raising=False)
        patched.setenv("AWS_CONFIG_FILE", "/nonexistent")
        patched.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
        for name, value in environment.items():
            patched.setenv(name, value)
        yield
