"""An emulated AWS over HTTP (`moto`) that records its calls and can return errors.

    with emulator() as aws:
        aws.after_change = check            # after each call that changes something
        aws.fail("ecs.CreateTaskSet", 400, "ClientException", "no")
        aws.rewrite("ecs.DescribeServices", change)
        aws.changes                  # ["lambda.CreateFunction", …]

Calls through `aws.client` are made by the test itself: they are neither recorded nor failed.
"""

import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Protocol, TypeVar
from urllib.parse import parse_qsl

from botocore.session import Session

from tests.aws import REGION as REGION
from tests.aws import Application, Clients, direct_client, emulated_account, few_authorities, set_up_once

Result = TypeVar("Result")
_OBSERVER = "observer"
_READING = ("Describe", "List", "Get", "AssumeRole")


@dataclass(frozen=True, kw_only=True)
class Call:
    """`name` is like `ecs.CreateService`. `body` is the decoded request body, `query` that of the URL."""

    name: str
    body: dict[str, Any]
    query: Mapping[str, str] = field(default_factory=dict)

    @property
    def changes(self) -> bool:
        return not self.name.split(".")[1].startswith(_READING)


@dataclass(frozen=True, kw_only=True)
class Failure:
    name: str
    status: int
    code: str
    message: str


class Rules(Protocol):
    """What AWS's documentation demands and moto does not do. Methods see only the calls of the agent."""

    def refuse(self, call: Call) -> Failure | None:
        """The error that AWS returns to the call."""
        ...

    def translate(self, call: Call) -> dict[str, Any] | None:
        """The body that moto understands, if it differs from the call's."""
        ...

    def answer(self, call: Call) -> Any:
        """A response instead of moto's; None if moto can answer."""
        ...

    def amend(self, call: Call, response: Any) -> None:
        """Changes the decoded response of a call that took effect."""
        ...

    def violations(self, call: Call) -> Sequence[str]:
        """What AWS accepts, and an agent must not do."""
        ...


@dataclass
class Emulator:
    url: str = ""
    rules: Sequence[Rules] = ()
    calls: list[Call] = field(default_factory=list)
    #: Assertion errors of `after_change`.
    violations: list[str] = field(default_factory=list)
    after_change: Callable[[Call], None] | None = None
    #: Called before (False) and after (True) each call takes effect.
    intercept: Callable[[Call, bool], None] | None = None
    _failures: list[Failure] = field(default_factory=list)
    _rewrites: dict[str, Callable[[Any], None]] = field(default_factory=dict)

    @property
    def changes(self) -> list[str]:
        return [call.name for call in self.calls if call.changes]

    def bodies(self, name: str) -> list[dict[str, Any]]:
        return [call.body for call in self.calls if call.name == name]

    def client(self, service: str) -> Any:
        return direct_client(service, self.url, _OBSERVER)

    def set_up_once(self, create: Callable[[Clients], Result]) -> Result:
        """As `tests.aws.set_up_once`, by calls of the test itself."""
        return set_up_once(create, self.client)

    def environment(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "tester",
            "AWS_SECRET_ACCESS_KEY": "tester",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_MAX_ATTEMPTS": "1",
            "AWS_CA_BUNDLE": few_authorities(),
        }

    def fail(self, name: str, status: int, code: str, message: str = "no") -> None:
        """Makes the next call of `name` return an error without taking effect."""
        self._failures.append(Failure(name=name, status=status, code=code, message=message))

    def rewrite(self, name: str, change: Callable[[Any], None]) -> None:
        """Applies `change` to all later JSON responses to `name`, for behaviour that moto lacks."""
        self._rewrites[name] = change

    def wsgi(self, inner: Application) -> Application:
        def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
            text = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            environ["wsgi.input"] = io.BytesIO(text)
            login = environ.get("HTTP_AUTHORIZATION", "")
            if f"Credential={_OBSERVER}/" in login or not login:
                return inner(environ, start_response)
            return self._handle(_call(environ, text), environ, start_response, inner)

        return application

    def _handle(
        self, call: Call, environ: dict[str, Any], start_response: Callable[..., Any], inner: Application
    ) -> Iterable[bytes]:
        if self.intercept:
            self.intercept(call, False)
        for failure in self._failures:
            if failure.name == call.name:
                self._failures.remove(failure)
                return _error_response(failure, call, start_response)
        for rules in self.rules:
            if refused := rules.refuse(call):
                return _error_response(refused, call, start_response)
        status, headers, body = self._response(call, environ, inner)
        if status.startswith("2") and "Action" not in call.body and body:
            content = json.loads(body)
            for rules in self.rules:
                self.violations += rules.violations(call)
                rules.amend(call, content)
            self._rewrites.get(call.name, lambda _: None)(content)
            body = json.dumps(content, default=str).encode()
            headers = [(name, value) for name, value in headers if name.lower() != "content-length"]
            headers.append(("Content-Length", str(len(body))))
        if status.startswith("2"):
            self.calls.append(call)
            self._check_change(call)
        if self.intercept:
            self.intercept(call, True)
        start_response(status, headers)
        return [body]

    def _response(
        self, call: Call, environ: dict[str, Any], inner: Application
    ) -> tuple[str, list[tuple[str, str]], bytes]:
        for rules in self.rules:
            if (answer := rules.answer(call)) is not None:
                return "200 OK", [("Content-Type", "application/json")], json.dumps(answer).encode()
            if (translated := rules.translate(call)) is not None:
                text = json.dumps(translated).encode()
                length = {"CONTENT_LENGTH": str(len(text))}
                environ = {**environ, **length, "wsgi.input": io.BytesIO(text)}
        started: list[Any] = []
        body = b"".join(inner(environ, lambda *arguments: started.append(arguments)))
        status, headers = started[0][:2]
        return status, headers, body

    def _check_change(self, call: Call) -> None:
        if not self.after_change or not call.changes:
            return
        try:
            self.after_change(call)
        except AssertionError as error:
            self.violations.append(f"after {call.name}: {error}")


@contextmanager
def emulator(*rules: Rules) -> Iterator[Emulator]:
    """An account without resources in this process's emulator, with AWS's own rules for some services."""
    aws = Emulator(rules=rules)
    with emulated_account(aws.wsgi) as aws.url:
        yield aws


def _call(environ: dict[str, Any], text: bytes) -> Call:
    service = environ["HTTP_AUTHORIZATION"].split("/")[3]
    query = dict(parse_qsl(environ.get("QUERY_STRING", "")))
    if target := environ.get("HTTP_X_AMZ_TARGET"):
        return Call(name=f"{service}.{target.rsplit('.', 1)[1]}", body=json.loads(text or b"{}"))
    if text.startswith(b"Action="):
        fields = dict(parse_qsl(text.decode()))
        return Call(name=f"{service}.{fields['Action']}", body=fields)
    path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
    for name, verb, pattern in _operations(service):
        if verb == method and pattern.fullmatch(path.rstrip("/")):
            return Call(name=f"{service}.{name}", body=json.loads(text or b"{}"), query=query)
    return Call(name=f"{service}.{method} {path}", body={})


@cache
def _operations(service: str) -> list[tuple[str, str, re.Pattern[str]]]:
    """REST operations by method and path, the most specific first."""
    model = Session().get_service_model(service)
    operations = []
    for name in model.operation_names:
        http = model.operation_model(name).http
        path = http["requestUri"].split("?")[0].rstrip("/")
        operations.append((path.count("{"), -len(path), name, http["method"], path))
    return [
        (name, method, re.compile(re.sub(r"\{\w+\+?\}", "[^/]+", path)))
        for _, _, name, method, path in sorted(operations)
    ]


def _error_response(failure: Failure, call: Call, start_response: Callable[..., Any]) -> Iterable[bytes]:
    if "Action" in call.body:
        text = (
            f"<ErrorResponse><Error><Type>Sender</Type><Code>{failure.code}</Code>"
            f"<Message>{failure.message}</Message></Error><RequestId>1</RequestId></ErrorResponse>"
        )
    else:
        text = json.dumps({"__type": failure.code, "message": failure.message, "Message": failure.message})
    headers = [("Content-Type", "text/plain"), ("x-amzn-ErrorType", failure.code)]
    start_response(f"{failure.status} Failed", headers)
    return [text.encode()]
