"""Reference page of the HTTP surface of the control plane, and its description in OpenAPI.

Written here, because the routes themselves say neither what they expect nor what they answer. A test compares
the paths with the routes, and sends requests that are generated from the description to a real server.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from docsite.markdown import code, page, table

_ADMIN = [{"url": "http://127.0.0.1:9085", "description": "Admin port (`--admin-port`)"}]
_TEXT = {"type": "string"}


def _answer(meaning: str, media_type: str = "", schema: Mapping[str, Any] | None = None) -> dict[str, Any]:
    content = {media_type: {"schema": dict(schema or {})}} if media_type else {}
    return {"description": meaning, **({"content": content} if content else {})}


def _plain(meaning: str) -> dict[str, Any]:
    return _answer(meaning, "text/plain", _TEXT)


_FOREIGN = _plain("Another site sent the request.")
_NO_FORM = _plain("The body is not a valid form.")
_FILE = {"type": "string", "format": "binary"}


def _file(meaning: str) -> dict[str, Any]:
    """Of any type."""
    return _answer(meaning, "*/*")


_RANGES = {
    "206": _file("The requested part of the file."),
    "416": _plain("The file has no such part."),
}


def _query(name: str, meaning: str, *, required: bool = False) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": required, "description": meaning, "schema": _TEXT}


def _path(name: str, meaning: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "description": meaning, "schema": dict(schema)}


def _form(**fields: str) -> dict[str, Any]:
    """A form with texts. All fields may be left out: the sign-in is refused then."""
    properties = {name: {"type": "string", "description": meaning} for name, meaning in fields.items()}
    schema = {"type": "object", "properties": properties}
    return {"required": True, "content": {"application/x-www-form-urlencoded": {"schema": schema}}}


_PROJECT = "Id of the project."
_NEXT = "Page of the console that is shown after the sign-in."
_STARTED = {
    "303": _answer("To the provider, or to the console, which shows why not (cookie `error`)."),
    "403": _FOREIGN,
}

PATHS: Mapping[str, Mapping[str, Any]] = {
    "/auth/login/static": {
        "post": {
            "summary": "Sign in with user name and password",
            "requestBody": _form(project=_PROJECT, username="User name.", password="Password."),
            "responses": {
                "302": _answer("Signed in: the cookie `token` is the session."),
                "303": _answer("Refused: the cookie `error` says why. Failed attempts are limited."),
                "400": _NO_FORM,
                "403": _FOREIGN,
            },
        }
    },
    "/auth/login": {
        "get": {
            "summary": "Sign in with the project's provider of single sign-on",
            "parameters": [_query("project", _PROJECT), _query("next", _NEXT)],
            "responses": _STARTED,
        },
        "post": {
            "summary": "The same, as PipeCD's console sends it",
            "requestBody": _form(project=_PROJECT, next=_NEXT),
            "responses": {**_STARTED, "400": _NO_FORM},
        },
    },
    "/auth/callback": {
        "get": {
            "summary": "Where the provider of single sign-on sends the browser",
            "parameters": [
                _query("state", "As the sign-in began."),
                _query("code", "Code of the provider."),
                _query("error", "Why the provider refused."),
                _query("error_description", "The same, for people."),
                _query("iss", "Issuer (RFC 9207)."),
            ],
            "responses": {
                "302": _answer("Signed in: the cookie `token` is the session."),
                "303": _answer("Refused: the cookie `error` says why."),
            },
        }
    },
    "/auth/provider": {
        "get": {
            "summary": "The provider of single sign-on of a project, for the login page",
            "parameters": [_query("project", _PROJECT)],
            "responses": {
                "200": _answer(
                    "`null` if the project has none, or does not exist.",
                    "application/json",
                    {
                        "type": ["object", "null"],
                        "required": ["title", "kind"],
                        "properties": {"title": _TEXT, "kind": {"enum": ["GITHUB", "OIDC"]}},
                    },
                ),
                "403": _FOREIGN,
            },
        }
    },
    "/auth/logout": {
        "post": {
            "summary": "End the session",
            "responses": {"303": _answer("To the console, without a session."), "403": _FOREIGN},
        }
    },
    "/api/{service}/{method}": {
        "post": {
            "summary": "A call of the console, by the Connect protocol: see the RPCs",
            "parameters": [
                _path("service", "Such as `grpc.service.webservice.WebService`.", _TEXT),
                _path("method", "Such as `GetMe`.", _TEXT),
            ],
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": {"type": "object"}}},
            },
            "responses": {
                "200": _file("The response message."),
                **{
                    code: _answer(f"Error of Connect, as JSON: {names}.")
                    for code, names in {
                        "400": "`invalid_argument`, `failed_precondition`, `out_of_range`",
                        "401": "`unauthenticated`: no session, or it has ended",
                        "409": "`already_exists`, `aborted`",
                        "429": "`resource_exhausted`: too many calls, or too large",
                        "501": "`unimplemented`",
                        "503": "`unavailable`: the call may be repeated",
                        "504": "`deadline_exceeded`",
                    }.items()
                },
                "403": _answer("`permission_denied`, or another site sent the request."),
                "404": _answer("`not_found`, or there is no such method."),
                "415": _answer("The type of the body is not one of Connect's."),
            },
        }
    },
    "/hooks/{host}": {
        "post": {
            "summary": "A push, by a Git host",
            "description": "The event of the Git host, with its signature in the header that it uses.",
            "parameters": [_path("host", "`github`, `gitlab`, `bitbucket` or `gitea`.", _TEXT)],
            "requestBody": {"content": {"application/json": {"schema": {}}}},
            "responses": {
                "200": _plain("Agents with this repository were notified."),
                "400": _plain("The event is malformed, or names too many repositories."),
                "401": _plain("The signature does not match."),
                "404": _plain("`spec.webhooks` has no such Git host."),
                "413": _plain("The event is too large."),
            },
        }
    },
    "/quickstart.json": {
        "get": {
            "summary": "What the first page of a quickstart shows; otherwise `null`",
            "responses": {"200": _answer("As described.", "application/json", {"type": ["object", "null"]})},
        }
    },
    "/assets/{path}": {
        "get": {
            "summary": "Scripts, style sheets and fonts of the console",
            "parameters": [_path("path", "Name of the file, which changes with its content.", _TEXT)],
            "responses": {
                "200": _file("The file."),
                **_RANGES,
                "304": _answer("The file is as the client has it."),
                "404": _plain("There is no such file."),
            },
        }
    },
    "/{path}": {
        "get": {
            "summary": "Pages of the console",
            "parameters": [_path("path", "Path of a page.", _TEXT)],
            "responses": {
                "200": _file("The console, or a file beside it."),
                **_RANGES,
                "404": _plain("A path below `api/`, `auth/`, `hooks/` or `assets/` that does not exist."),
                "503": _answer("The console was not built.", "text/html", _TEXT),
            },
        }
    },
    "/healthz": {
        "servers": _ADMIN,
        "get": {
            "summary": "Health, for load balancers and Kubernetes",
            "responses": {
                "200": _plain("The control plane can serve."),
                "503": _plain("It cannot: the text says why, such as that the database does not respond."),
            },
        },
    },
    "/version": {
        "servers": _ADMIN,
        "get": {
            "summary": "Version of the program",
            "responses": {
                "200": _answer(
                    "As described.",
                    "application/json",
                    {"type": "object", "required": ["version"], "properties": {"version": _TEXT}},
                )
            },
        },
    },
    "/metrics": {
        "servers": _ADMIN,
        "get": {
            "summary": "Metrics, in Prometheus' text format",
            "responses": {"200": _plain("See the page of metrics.")},
        },
    },
    "/metrics/agents": {
        "servers": _ADMIN,
        "get": {
            "summary": "The metrics that agents have reported",
            "responses": {"200": _plain("With the labels `project` and `piped`.")},
        },
    },
}

DOCUMENT: Mapping[str, Any] = {
    "openapi": "3.1.0",
    "info": {
        "title": "PipeCD control plane: HTTP",
        "version": "1",
        "description": "What is not an RPC. Another method than the described one is answered with 405.",
    },
    "servers": [{"url": "http://127.0.0.1:9082", "description": "HTTP port (`--http-port`)"}],
    "paths": PATHS,
}


def pages() -> Mapping[str, str]:
    """Text by path below docs/reference."""
    return {
        "http.md": page(
            "HTTP",
            "What the control plane serves over HTTP besides [RPCs](rpc.md), also as [OpenAPI](openapi.json)."
            " Requests that another site causes are refused with 403; other methods are answered with 405.",
            f"## HTTP port\n\n{_table(admin=False)}",
            f"## Admin port\n\n{_table(admin=True)}",
        ),
        "openapi.json": json.dumps(DOCUMENT, indent=2, ensure_ascii=False) + "\n",
    }


def _table(*, admin: bool) -> str:
    rows = [
        (code(f"{method.upper()} {path}"), operation["summary"], _answers(operation))
        for path, item in PATHS.items()
        if ("servers" in item) is admin
        for method, operation in item.items()
        if method != "servers"
    ]
    return table(("Request", "Meaning", "Answers"), rows)


def _answers(operation: Mapping[str, Any]) -> str:
    responses: Sequence[tuple[str, Any]] = sorted(operation["responses"].items())
    return " ".join(f"{status}: {answer['description']}" for status, answer in responses)
