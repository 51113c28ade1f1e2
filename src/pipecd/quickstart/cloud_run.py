"""An emulated Cloud Run Admin API v1, for tests and trials. It stores everything in memory.

It refuses what Google's reference says is refused, and keeps services, revisions, jobs and executions with
their generations, conditions and traffic. Nothing runs: the tag of an image decides how a revision or an
execution ends.

    image tag     `broken…`: the container fails to start; `slow…`: it takes long; else it works

Each rule names its source: [ref] is Google's API reference or discovery document, [doc] the product's
documentation, [seen] what was reported from the real API in public issues, [guess] an assumption.
"""

import json
import random
import re
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from pipecd.json_input import decode_json

Object = dict[str, Any]
PROJECT_NUMBER = "123456789012"
SERVING, RUN = "serving.knative.dev/v1", "run.googleapis.com/v1"
#: Reads of a service or an execution until its last change is processed, and until a slow one is.
READS, SLOW_READS = 2, 40
_PATH = re.compile(
    r"/apis/(?P<api>serving\.knative\.dev|run\.googleapis\.com)/v1/namespaces/(?P<namespace>[^/]+)"
    r"/(?P<plural>services|revisions|jobs|executions)(/(?P<name>[^/:]+)(?P<cancel>:cancel)?)?"
)
_NAME = re.compile(r"[a-z]([a-z0-9-]*[a-z0-9])?")
_LABEL_KEY = re.compile(r"([a-z0-9.-]+/)?[a-zA-Z][a-zA-Z0-9_.-]{0,62}")
_LABEL_VALUE = re.compile(r"[a-z0-9_-]{0,63}")
_KINDS = {"services": "Service", "jobs": "Job", "revisions": "Revision", "executions": "Execution"}
_APIS = {"services": SERVING, "revisions": SERVING, "jobs": RUN, "executions": RUN}


class ApiError(Exception):
    """An error of the API. `status` is the canonical name, such as INVALID_ARGUMENT."""

    def __init__(self, code: int, status: str, message: str) -> None:
        super().__init__(message)
        self.code, self.status = code, status

    def body(self) -> Object:
        return {"error": {"code": self.code, "message": str(self), "status": self.status}}


@dataclass(frozen=True, kw_only=True)
class Call:
    """`name` is like `ReplaceServices`; a dry run's begins with `Dry`."""

    name: str
    body: Object

    @property
    def changes(self) -> bool:
        return self.name.startswith(("Create", "Replace", "Delete", "Cancel"))


@dataclass
class CloudRun:
    """The state of one project and region. Methods may be called by several threads."""

    #: Additional checks of a body, called with the name of its kind; raises ApiError.
    check_body: Callable[[str, Object], None] = lambda kind, body: None
    #: Whether the API supports `dryRun`. [guess] that it does what the reference says.
    dry_runs: bool = True
    #: The addresses of services are below this one, where `serve` answers for them; empty for addresses that
    #: look like those of Google.
    address: str = ""
    #: Called after a change of the state.
    on_change: Callable[[], None] = lambda: None
    #: The most objects in one answer of a list.
    max_page_size: int = 1000
    calls: list[Call] = field(default_factory=list)
    objects: dict[str, dict[str, Object]] = field(default_factory=lambda: {plural: {} for plural in _KINDS})
    #: Called after each call that changes something.
    after_change: Callable[[Call], None] | None = None
    #: Assertion errors of `after_change`.
    violations: list[str] = field(default_factory=list)
    #: Called before (False) and after (True) each call takes effect.
    intercept: Callable[[Call, bool], None] | None = None
    _failures: list[tuple[str, int, Object]] = field(default_factory=list)
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _version: int = 0
    #: Name of a service, job or execution → reads until its last change is processed.
    _pending: dict[str, int] = field(default_factory=dict)
    _changed: bool = False

    def fail(self, name: str, code: int, body: Object) -> None:
        """Makes the next call of `name` return an error without taking effect."""
        self._failures.append((name, code, body))

    def handle(self, method: str, url: str, content: bytes) -> tuple[int, Object]:
        parts = urlsplit(url)
        query = dict(parse_qsl(parts.query))
        match = _PATH.fullmatch(parts.path)
        if match is None:
            return 404, ApiError(404, "NOT_FOUND", "Requested entity was not found.").body()
        plural, name = match["plural"], match["name"] or ""
        if not _APIS[plural].startswith(match["api"]):
            return 404, ApiError(404, "NOT_FOUND", "Requested entity was not found.").body()
        body = decode_json(content) if content else {}
        verb = {"GET": "Get" if name else "List", "POST": "Create", "PUT": "Replace", "DELETE": "Delete"}[
            method
        ]
        if match["cancel"]:
            verb = "Cancel"
        dry = query.get("dryRun") == "all"
        call = Call(name=f"{'Dry' if dry else ''}{verb}{plural.capitalize()}", body=body)
        if self.intercept:
            self.intercept(call, False)
        answer = self._answer(call, verb, plural, name, body, query, dry)
        if self.intercept:
            self.intercept(call, True)
        return answer

    def _answer(
        self, call: Call, verb: str, plural: str, name: str, body: Object, query: Mapping[str, str], dry: bool
    ) -> tuple[int, Object]:
        with self._lock:
            for failure in self._failures:
                if failure[0] == call.name:
                    self._failures.remove(failure)
                    return failure[1], failure[2]
            self.calls.append(call)
            try:
                result = self._dispatch(verb, plural, name, body, query, dry)
            except ApiError as error:
                return error.code, error.body()
            if call.changes or self._changed:
                self._changed = False
                self.on_change()
            if call.changes and self.after_change:
                try:
                    self.after_change(call)
                except AssertionError as error:
                    self.violations.append(f"after {call.name}: {error}")
            return 200, _public(result)

    def _dispatch(
        self, verb: str, plural: str, name: str, body: Object, query: Mapping[str, str], dry: bool
    ) -> Object:
        if dry and not self.dry_runs:
            raise _invalid("dryRun is not supported")
        match verb:
            case "Get":
                return self._read(plural, name)
            case "List":
                return self._list(plural, query)
            case "Delete":
                return self._delete(plural, name)
            case "Cancel":
                return self._cancel(plural, name, body)
            case _ if plural not in ("services", "jobs"):
                raise ApiError(404, "NOT_FOUND", f"{plural} cannot be written")
        self._check(plural, name, body, creating=verb == "Create")
        write = self._write_service if plural == "services" else self._write_job
        return write(body, dry)

    def settle(self) -> None:
        """Processes all changes now, without further reads."""
        with self._lock:
            while self._pending:
                plural, _, name = next(iter(self._pending)).partition("/")
                self._progress(plural, name)

    def dump(self) -> str:
        with self._lock:
            return json.dumps({"objects": self.objects, "version": self._version, "pending": self._pending})

    def restore(self, text: str) -> None:
        """Continues with the state of `dump`. Raises ValueError, KeyError or TypeError for another text."""
        stored = decode_json(text)
        self.objects = {plural: dict(stored["objects"][plural]) for plural in _KINDS}
        self._version, self._pending = int(stored["version"]), dict(stored["pending"])

    def call_service(self, host: str) -> tuple[int, str]:
        """As a user calls it: `host` is a service, or `<tag>---<service>`. Status and text of the answer."""
        tag, _, service = host.rpartition("---")
        with self._lock:
            live = self.objects["services"].get(service) or {}
            routed = [
                target
                for target in (live.get("status") or {}).get("traffic") or ()
                if (target.get("tag") == tag if tag else target.get("percent"))
            ]
            if not routed:
                return 404, f"There is no revision at {host}\n"
            weights = None if tag else [target["percent"] for target in routed]
            (target,) = random.choices(routed, weights)
            revision = target["revisionName"]
            image = self.objects["revisions"][revision]["spec"]["containers"][0]["image"]
        return 200, f"Hello from {service}, revision {revision}, image {image.rpartition('/')[2]}\n"

    # Reading

    def _read(self, plural: str, name: str) -> Object:
        found = self.objects[plural].get(name)
        if found is None:
            raise ApiError(
                404, "NOT_FOUND", f"Resource '{name}' of kind '{_KINDS[plural].upper()}' does not exist."
            )
        self._progress(plural, name)
        return self.objects[plural][name]

    def _list(self, plural: str, query: Mapping[str, str]) -> Object:
        selectors = [part.split("=", 1) for part in query.get("labelSelector", "").split(",") if part]
        if any(len(part) != 2 or part[0].endswith("!") for part in selectors):
            raise _invalid("labelSelector: the emulator supports only '='")
        # [ref] sorted by creation time, descending
        found = list(reversed(self.objects[plural].values()))
        for item in found:
            self._progress(plural, item["metadata"]["name"])
        labelled = [
            item
            for item in found
            if all((item["metadata"].get("labels") or {}).get(key) == value for key, value in selectors)
        ]
        first = int(query.get("continue") or 0)
        # [ref] the server may return fewer than `limit`
        limit = min(int(query.get("limit") or 100), self.max_page_size)
        metadata = {"continue": str(first + limit)} if len(labelled) > first + limit else {}
        return {
            "apiVersion": _APIS[plural],
            "kind": f"{_KINDS[plural]}List",
            "metadata": metadata,
            "items": labelled[first : first + limit],
        }

    def _progress(self, plural: str, name: str) -> None:
        """Reading takes time: the last change is processed after some reads."""
        key = f"{plural}/{name}"
        if plural == "revisions":
            key = (
                f"services/{self.objects[plural][name]['metadata']['labels']['serving.knative.dev/service']}"
            )
        remaining = self._pending.get(key)
        if remaining is None:
            return
        self._pending[key], self._changed = remaining - 1, True
        if remaining <= 1:
            del self._pending[key]
            plural, _, name = key.partition("/")
            {
                "services": self._settle_service,
                "jobs": self._settle_job,
                "executions": self._settle_execution,
            }[plural](name)

    # Checks

    def _check(self, plural: str, name: str, body: Object, *, creating: bool) -> None:
        kind, api = _KINDS[plural], _APIS[plural]
        if body.get("kind") != kind or body.get("apiVersion") != api:
            raise _invalid(f"kind and apiVersion must be {kind} and {api}")  # [ref]
        self.check_body(kind, body)
        metadata = body.get("metadata") or {}
        own = str(metadata.get("name") or "")
        if not creating and own != name:
            raise _invalid("metadata.name does not match the name in the URL")
        # [doc] names of services and jobs: at most 49 characters; lower-case letters, digits, hyphens
        if not _NAME.fullmatch(own) or len(own) > 49:
            raise _invalid(f"metadata.name: '{own}' is no valid name")
        live = self.objects[plural].get(own)
        if creating and live is not None:
            raise ApiError(409, "ALREADY_EXISTS", f"Resource '{own}' already exists.")
        if not creating and live is None:
            raise ApiError(404, "NOT_FOUND", f"Resource '{own}' of kind '{kind.upper()}' does not exist.")
        version = metadata.get("resourceVersion")
        if live is not None and version and version != live["metadata"]["resourceVersion"]:
            # [ref] "to enforce update from last read"
            raise ApiError(
                409, "ABORTED", f"Conflict for resource '{own}': version '{version}' was specified"
            )
        namespace = metadata.get("namespace")
        if namespace and namespace != PROJECT_NUMBER and not str(namespace).startswith("demo"):
            raise _invalid("metadata.namespace must be the project's id or number")  # [ref]
        template = body.get("spec", {}).get("template", {})
        for where in (metadata, template.get("metadata") or {}):
            _check_labels(where.get("labels") or {})

    def _check_template(self, service: str, template: Object) -> None:
        containers = (template.get("spec") or {}).get("containers") or []
        if not containers or not all(container.get("image") for container in containers):
            raise _invalid("spec.template.spec.containers: every container needs an image")
        if len([container for container in containers if container.get("ports")]) > 1:
            raise _invalid("spec.template.spec.containers: only one container may have a port")  # [doc]
        name = (template.get("metadata") or {}).get("name")
        if name is None:
            return
        # [doc] begins with the service's name and a hyphen; at most 63 characters
        if not _NAME.fullmatch(name) or len(name) > 63 or not name.startswith(f"{service}-"):
            raise _invalid(
                f"spec.template.metadata.name: '{name}' must begin with '{service}-' and be a valid name"
            )

    def _check_traffic(self, service: str, targets: Sequence[Object], known: set[str]) -> None:
        percents, tags = 0, []
        for at, target in enumerate(targets):
            where = f"spec.traffic[{at}]"
            if target.get("url") or target.get("configurationName"):
                raise _invalid(f"{where}: url and configurationName must be empty")  # [ref]
            if bool(target.get("revisionName")) == bool(target.get("latestRevision")):
                raise _invalid(
                    f"{where}: exactly one of revisionName and latestRevision must be set"
                )  # [ref]
            revision = target.get("revisionName")
            if revision and revision not in known:
                raise _invalid(
                    f"{where}.revisionName: Revision '{revision}' does not exist or is deleted."
                )  # [seen]
            percent = target.get("percent", 0)
            if not isinstance(percent, int) or not 0 <= percent <= 100:
                raise _invalid(f"{where}.percent: must be between 0 and 100")
            percents += percent
            if tag := target.get("tag"):
                # [guess] the address TAG---SERVICE-… has to fit into a label of the DNS
                if not _NAME.fullmatch(tag) or len(tag) + len(service) > 46:
                    raise _invalid(f"{where}.tag: '{tag}' is no valid tag, or too long")
                tags.append(tag)
        if percents != 100:
            raise _invalid(f"spec.traffic: the percents must add up to 100, not {percents}")  # [ref]
        if len(tags) != len(set(tags)):
            raise _invalid("spec.traffic: tags must be unique")

    # Services

    def _write_service(self, body: Object, dry: bool) -> Object:
        service = body["metadata"]["name"]
        live = self.objects["services"].get(service)
        template = decode_json(json.dumps(body["spec"]["template"]))
        self._check_template(service, template)
        complete = _with_defaults(template)
        unnamed = _unnamed(complete)
        old = live["spec"]["template"] if live else None
        name = (template.get("metadata") or {}).get("name")
        if (
            old is not None
            and unnamed == _unnamed(old)
            and name in (None, (old.get("metadata") or {}).get("name"))
        ):
            revision, created = live["status"]["latestCreatedRevisionName"], False  # type: ignore[index]
            complete = old
        else:
            revision = name or f"{service}-{len(self.objects['revisions']) + 1:05d}-{uuid.uuid4().hex[:3]}"
            existing = self.objects["revisions"].get(revision)
            if existing is not None and existing["_template"] != unnamed:
                # [seen] terraform-provider-google#9438 and #14569
                raise ApiError(
                    409,
                    "ALREADY_EXISTS",
                    f"Revision named '{revision}' with different configuration already exists.",
                )
            created = existing is None
        # [ref] without traffic, all of it goes to the latest ready revision
        targets = body["spec"].get("traffic") or [{"latestRevision": True, "percent": 100}]
        self._check_traffic(
            service,
            targets,
            {*self.objects["revisions"], revision} if not dry or created else {*self.objects["revisions"]},
        )
        spec = {"template": complete, "traffic": targets}
        result = self._merged("services", body, live, spec)
        if dry:
            return result
        if created:
            self._create_revision(service, revision, complete, unnamed)
        previous = dict((live or {}).get("status") or {})
        result["status"] = {
            **previous,
            "observedGeneration": previous.get("observedGeneration", 0),
            "latestCreatedRevisionName": revision,
            "url": self._address(service),
        }
        if live is None:
            result["status"]["conditions"] = _conditions("Unknown", "Deploying")
        self.objects["services"][service] = result
        image = complete["spec"]["containers"][0]["image"]
        self._pending[f"services/{service}"] = SLOW_READS if created and ":slow" in image else READS
        return result

    def _create_revision(self, service: str, name: str, template: Object, unnamed: Object) -> None:
        labels = {**(template["metadata"].get("labels") or {}), "serving.knative.dev/service": service}
        metadata = {
            **template["metadata"],
            **self._identity(),
            "name": name,
            "labels": labels,
            "generation": 1,
        }
        self.objects["revisions"][name] = {
            "apiVersion": SERVING,
            "kind": "Revision",
            "metadata": {**metadata, "namespace": PROJECT_NUMBER},
            "spec": template["spec"],
            "status": {"observedGeneration": 1, "conditions": _conditions("Unknown", "Deploying")},
            "_template": unnamed,
        }

    def _settle_service(self, service: str) -> None:
        live = self.objects["services"][service]
        status, revisions = live["status"], self.objects["revisions"]
        revision = revisions[status["latestCreatedRevisionName"]]
        if _ready(revision) == "Unknown":
            revision["status"] = self._revision_status(revision)
        if _ready(revision) == "True":
            status["latestReadyRevisionName"] = revision["metadata"]["name"]
        resolved = []
        for target in live["spec"]["traffic"]:
            name = target.get("revisionName") or status.get("latestReadyRevisionName")
            if name:
                address = {"url": self._address(service, target["tag"])} if target.get("tag") else {}
                resolved.append({**target, "revisionName": name, **address})
        # [doc] the route stays as it is until the revisions are ready
        routed = bool(resolved) and all(
            _ready(revisions[item["revisionName"]]) == "True" for item in resolved
        )
        if routed:
            status["traffic"] = resolved
        failed = _ready(revision) == "False"
        name = revision["metadata"]["name"]
        message = f"Revision '{name}' is not ready and cannot serve traffic. {_message(revision)}"
        status["conditions"] = [
            _condition("Ready", "False" if failed or not routed else "True", message if failed else ""),
            _condition("ConfigurationsReady", "False" if failed else "True", message if failed else ""),
            _condition("RoutesReady", "True" if routed else "False", "" if routed else message),
        ]
        status["observedGeneration"] = live["metadata"]["generation"]
        live["metadata"]["resourceVersion"] = self._next_version()

    def _revision_status(self, revision: Object) -> Object:
        name, image = revision["metadata"]["name"], revision["spec"]["containers"][0]["image"]
        logs = f"https://console.cloud.google.com/logs/viewer?resource={name}"
        if ":broken" in image:
            message = "The user-provided container failed to start and listen on the port 8080."
            conditions = [
                _condition("Ready", "False", message),
                _condition("ContainerHealthy", "False", message),
                _condition("ResourcesAvailable", "True"),
                _condition("Active", "False", "Revision retired."),
            ]
        else:
            conditions = [
                _condition(kind, "True") for kind in ("Ready", "ContainerHealthy", "ResourcesAvailable")
            ]
            conditions.append(_condition("Active", "False", "The target is not receiving traffic."))
        return {"observedGeneration": 1, "conditions": conditions, "logUrl": logs}

    # Jobs

    def _write_job(self, body: Object, dry: bool) -> Object:
        job = body["metadata"]["name"]
        live = self.objects["jobs"].get(job)
        template = decode_json(json.dumps(body["spec"]["template"]))
        task = template["spec"]["template"]["spec"]
        if not task.get("containers") or not all(item.get("image") for item in task["containers"]):
            raise _invalid("spec.template.spec.template.spec.containers: every container needs an image")
        token = body["spec"].get("startExecutionToken") or body["spec"].get("runExecutionToken")
        if token and len(job) + len(token) >= 63:
            raise _invalid(
                "spec.startExecutionToken: with the job's name, it has 63 characters or more"
            )  # [ref]
        template["spec"].setdefault("taskCount", 1)
        task.setdefault("maxRetries", 3)  # [ref]
        task.setdefault("timeoutSeconds", "600")  # [ref]
        spec = {**body["spec"], "template": template}
        result = self._merged("jobs", body, live, spec)
        if dry:
            return result
        result["status"] = {**((live or {}).get("status") or {}), "observedGeneration": 0}
        self.objects["jobs"][job] = result
        self._pending[f"jobs/{job}"] = READS
        if token and f"{job}-{token}" not in self.objects["executions"]:
            self._create_execution(job, f"{job}-{token}", template)
        return result

    def _create_execution(self, job: str, name: str, template: Object) -> None:
        labels = {**((template.get("metadata") or {}).get("labels") or {}), "run.googleapis.com/job": job}
        self.objects["executions"][name] = {
            "apiVersion": RUN,
            "kind": "Execution",
            "metadata": {
                **self._identity(),
                "name": name,
                "labels": labels,
                "generation": 1,
                "namespace": PROJECT_NUMBER,
            },
            "spec": template["spec"],
            "status": {
                "observedGeneration": 1,
                "runningCount": 1,
                "conditions": [_condition("Completed", "Unknown")],
                "logUri": f"https://console.cloud.google.com/logs/viewer?execution={name}",
            },
        }
        slow = ":slow" in template["spec"]["template"]["spec"]["containers"][0]["image"]
        self._pending[f"executions/{name}"] = SLOW_READS if slow else READS

    def _settle_job(self, name: str) -> None:
        job = self.objects["jobs"][name]
        job["status"] |= {
            "observedGeneration": job["metadata"]["generation"],
            "conditions": [_condition("Ready", "True")],
        }
        job["metadata"]["resourceVersion"] = self._next_version()

    def _settle_execution(self, name: str) -> None:
        execution = self.objects["executions"][name]
        count = execution["spec"]["taskCount"]
        failed = ":broken" in execution["spec"]["template"]["spec"]["containers"][0]["image"]
        message = (
            f"Task {name}-task0 failed with message: The container exited with an error." if failed else ""
        )
        execution["status"] |= {
            "runningCount": 0,
            "failedCount" if failed else "succeededCount": count,
            "conditions": [_condition("Completed", "False" if failed else "True", message)],
        }

    def _cancel(self, plural: str, name: str, body: Object) -> Object:
        if plural != "executions":
            raise ApiError(404, "NOT_FOUND", f"{plural} cannot be cancelled")  # [ref]
        self.check_body("CancelExecutionRequest", body)
        execution = self._read(plural, name)
        if _status(execution, "Completed") != "Unknown":
            # [guess]
            raise ApiError(400, "FAILED_PRECONDITION", f"Execution '{name}' has already completed.")
        self._pending.pop(f"executions/{name}", None)
        execution["status"] |= {
            "runningCount": 0,
            "cancelledCount": execution["spec"]["taskCount"],
            "conditions": [_condition("Completed", "False", "The execution was cancelled.")],
        }
        return execution

    # Both

    def _merged(self, plural: str, body: Object, live: Object | None, spec: Object) -> Object:
        given = body["metadata"]
        metadata: Object = {
            "name": given["name"],
            "namespace": PROJECT_NUMBER,
            "labels": {**(given.get("labels") or {}), "cloud.googleapis.com/location": "europe-west1"},
            "annotations": {
                "run.googleapis.com/ingress": "all",
                **(given.get("annotations") or {}),
                "serving.knative.dev/lastModifier": "piped@demo.iam.gserviceaccount.com",
                "run.googleapis.com/operation-id": str(uuid.uuid4()),
            },
        }
        if live is None:
            metadata |= {**self._identity(), "generation": 1}
        else:
            same = live["spec"] == spec
            kept = ("uid", "creationTimestamp", "generation")
            metadata |= {key: live["metadata"][key] for key in kept} | {
                "resourceVersion": self._next_version()
            }
            metadata["generation"] += 0 if same else 1
        result: Object = {
            "apiVersion": _APIS[plural],
            "kind": _KINDS[plural],
            "metadata": metadata,
            "spec": spec,
        }
        return {**result, **({"status": live["status"]} if live else {})}

    def _delete(self, plural: str, name: str) -> Object:
        found = self.objects[plural].get(name)
        if found is None:
            raise ApiError(404, "NOT_FOUND", f"Resource '{name}' does not exist.")
        if plural == "revisions":
            service = self.objects["services"][found["metadata"]["labels"]["serving.knative.dev/service"]]
            used = {item.get("revisionName") for item in service["spec"]["traffic"]}
            if name in used | {service["status"].get("latestCreatedRevisionName")}:
                # [doc] a revision with traffic, a tag, or the latest one cannot be deleted
                raise ApiError(
                    400, "FAILED_PRECONDITION", f"Revision '{name}' cannot be deleted: it is in use."
                )
        del self.objects[plural][name]
        return {"kind": "Status", "status": "Success"}

    def _address(self, service: str, tag: str = "") -> str:
        host = f"{tag}---{service}" if tag else service
        return f"{self.address}/{host}" if self.address else f"https://{host}-abc123.a.run.app"

    def _identity(self) -> Object:
        now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        return {"uid": str(uuid.uuid4()), "creationTimestamp": now, "resourceVersion": self._next_version()}

    def _next_version(self) -> str:
        self._version += 1
        return f"AAX{self._version}"


def _public(value: Any) -> Any:
    """A copy without what the emulator itself remembers."""
    if isinstance(value, dict):
        return {key: _public(item) for key, item in value.items() if key != "_template"}
    return [_public(item) for item in value] if isinstance(value, list) else value


def _invalid(message: str) -> ApiError:
    return ApiError(400, "INVALID_ARGUMENT", message)


def _check_labels(labels: Mapping[str, Any]) -> None:
    # [doc] keys and values of labels: lower-case letters, digits, hyphens, underscores; at most 63 characters
    for key, value in labels.items():
        if not _LABEL_KEY.fullmatch(key) or not _LABEL_VALUE.fullmatch(str(value)):
            raise _invalid(f"metadata.labels: '{key}: {value}' is no valid label")


def _with_defaults(template: Object) -> Object:
    """What the API fills in. [ref] for concurrency and timeout, [guess] for the rest."""
    spec = dict(template["spec"])
    spec.setdefault("containerConcurrency", 80)
    spec["containerConcurrency"] = spec["containerConcurrency"] or 80
    spec.setdefault("timeoutSeconds", 300)
    spec.setdefault("serviceAccountName", f"{PROJECT_NUMBER}-compute@developer.gserviceaccount.com")
    containers = [dict(container) for container in spec["containers"]]
    if not any(container.get("ports") for container in containers):
        containers[0]["ports"] = [{"name": "http1", "containerPort": 8080}]
    for container in containers:
        limits = {
            "cpu": "1000m",
            "memory": "512Mi",
            **((container.get("resources") or {}).get("limits") or {}),
        }
        if re.fullmatch(r"\d+", str(limits["cpu"])):
            limits["cpu"] = f"{limits['cpu']}000m"
        container["resources"] = {**(container.get("resources") or {}), "limits": limits}
    spec["containers"] = containers
    return {"metadata": dict(template.get("metadata") or {}), "spec": spec}


def _unnamed(template: Object) -> Object:
    metadata = {key: value for key, value in (template.get("metadata") or {}).items() if key != "name"}
    return {"metadata": metadata, "spec": template["spec"]}


def _conditions(status: str, message: str) -> list[Object]:
    return [_condition("Ready", status, message)]


def _condition(kind: str, status: str, message: str = "") -> Object:
    now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    return {
        "type": kind,
        "status": status,
        "lastTransitionTime": now,
        **({"message": message} if message else {}),
    }


def _ready(revision: Object) -> str:
    return _status(revision, "Ready")


def _status(live: Object, condition: str) -> str:
    return next(str(item["status"]) for item in live["status"]["conditions"] if item["type"] == condition)


def _message(revision: Object) -> str:
    return next(
        str(item.get("message", "")) for item in revision["status"]["conditions"] if item["type"] == "Ready"
    )


@contextmanager
def serve(cloud: CloudRun, port: int = 0) -> Iterator[str]:
    """The API over HTTP on a loopback port, in a thread. Yields its address."""
    with ThreadingHTTPServer(("127.0.0.1", port), _handler(cloud)) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def _handler(cloud: CloudRun) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Headers and body in one packet: the client would acknowledge the first of two only after 40 ms.
        wbufsize, disable_nagle_algorithm = -1, True

        def _respond(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.path == "/token":
                token = {"access_token": "granted", "expires_in": 3600, "token_type": "Bearer"}
                self._send(200, json.dumps(token))
            elif not self.path.startswith("/apis/"):
                status, text = cloud.call_service(self.path.strip("/"))
                self._send(status, text, "text/plain; charset=utf-8")
            elif self.headers.get("Authorization") != "Bearer granted":
                error = ApiError(401, "UNAUTHENTICATED", "The credentials are not valid.")
                self._send(401, json.dumps(error.body()))
            else:
                try:
                    status, answer = cloud.handle(self.command, self.path, content)
                except ConnectionError:
                    self.close_connection = True
                    return
                self._send(status, json.dumps(answer))

        def _send(self, status: int, text: str, kind: str = "application/json") -> None:
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = do_DELETE = _respond

        def log_message(self, format: str, *args: Any) -> None:
            """Logs nothing."""

    return Handler
