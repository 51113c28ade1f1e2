"""Application files in Git that are not registered: what is suggested, and what is reported as invalid."""

from collections.abc import Mapping
from typing import Any

import pytest
from structlog.testing import capture_logs

from pipecd.clock import SYSTEM_CLOCK
from pipecd.config import piped as config
from pipecd.config.application import Triggers
from pipecd.errors import ConfigError, Place
from pipecd.model.deployment import Commit
from pipecd.piped.session.lease import Leadership, Lease
from pipecd.piped.session.view import View
from pipecd.piped.source.heads import AppFile, Head, MissingFile
from pipecd.piped.source.repository import Repository
from pipecd.piped.trigger.discovery import MAX_INVALID_FILES, MAX_REQUEST_SIZE, Discovery
from pipecd.secrets import Redactor
from tests.piped.memory import Calls, memory_client

REPOSITORY = Repository(id="shop", remote="https://git.example/shop.git", branch="main")
SPEC = config.load(
    """{apiVersion: pipecd.dev/v1beta1, kind: Piped, spec: {projectID: p, pipedID: i, pipedKeyData: eA==,
    apiAddress: "a:1", appSelector: {team: shop}}}""",
    "piped.yaml",
)


def valid(name: str, description: str = "", team: str = "shop") -> AppFile:
    labels = {"team": team}
    return AppFile(
        kind="TERRAFORM",
        name=name,
        description=description,
        labels=labels,
        trigger=Triggers(),
        chain=None,
    )


def invalid(path: str, what: str = "unknown key") -> ConfigError:
    return ConfigError(what, remedy="remove it", place=Place(path, 7, "spec.x"))


class MemoryHeads:
    def __init__(self, files: Mapping[str, AppFile | ConfigError]) -> None:
        self.repositories, self.files = {"shop": REPOSITORY}, files

    async def load_head(self, repo_id: str) -> Head:
        commit = Commit(hash="a" * 40, message="m", author="Ada", branch="main", created_at=1)
        return Head(repository=REPOSITORY, commit=commit, files=self.files)


class Agent:
    def __init__(self, files: Mapping[str, Any]) -> None:
        self.calls, self.heads = Calls(), MemoryHeads(files)
        redactor, leadership = Redactor(), Leadership()
        redactor.add("s3cret-value")
        leadership.set_lease(Lease.GRANTED)
        client = memory_client(self.calls, SYSTEM_CLOCK)
        view = View(client, SYSTEM_CLOCK)
        for event in view._loaded.values():
            event.set()
        heads: Any = self.heads
        self.discovery = Discovery(client, SPEC, view, leadership, heads, redactor.text)

    async def check(self) -> Any:
        """The last report, after a check."""
        await self.discovery.check()
        return self.calls.requests("ReportUnregisteredApplications")[-1]


async def test_what_cannot_be_suggested_is_reported_with_place_and_remedy() -> None:
    agent = Agent(
        {
            "a/app.pipecd.yaml": valid("a"),
            "b/app.pipecd.yaml": invalid("b/app.pipecd.yaml"),
            "c/app.pipecd.yaml": valid(""),
            "d\udcff/app.pipecd.yaml": valid("d"),
            "e/app.pipecd.yaml": valid("", team="other"),
            "f/app.pipecd.yaml": MissingFile("there is no such file"),
        }
    )
    report = await agent.check()
    assert [info.name for info in report.applications] == ["a"], "the others do not depend on invalid ones"
    assert [(file.repo_id, file.path, file.error) for file in report.invalid_files] == [
        ("shop", "b/app.pipecd.yaml", "b/app.pipecd.yaml:7: spec.x: unknown key; remove it"),
        (
            "shop",
            "c/app.pipecd.yaml",
            "c/app.pipecd.yaml: the application has no name, so it cannot be suggested;"
            " add spec.name, or register the application manually",
        ),
        (
            "shop",
            "d /app.pipecd.yaml",
            "d /app.pipecd.yaml: the path is not UTF-8; rename the file or its directory",
        ),
    ]


async def test_an_error_is_logged_once_until_the_file_changes() -> None:
    agent = Agent({"b/app.pipecd.yaml": invalid("b/app.pipecd.yaml")})
    with capture_logs() as logs:
        await agent.check()
        await agent.check()
    assert [(entry["event"], entry["repository"], entry["file"], entry["error"]) for entry in logs] == [
        (
            "unregistered_application_invalid",
            "shop",
            "b/app.pipecd.yaml",
            "b/app.pipecd.yaml:7: spec.x: unknown key; remove it",
        )
    ]
    assert len(agent.calls.requests("ReportUnregisteredApplications")) == 1
    agent.heads.files = {"b/app.pipecd.yaml": invalid("b/app.pipecd.yaml", "another error")}
    with capture_logs() as logs:
        await agent.check()
        agent.heads.files = {"b/app.pipecd.yaml": valid("b")}
        assert not (await agent.check()).invalid_files
    assert len(logs) == 1 and "another error" in logs[0]["error"]


async def test_hostile_errors_are_bounded_redacted_and_one_line() -> None:
    text = "\x1b[31m\0 s3cret-value\n" + "x" * 100_000
    agent = Agent({f"{n:04}/app.pipecd.yaml": invalid(f"{n:04}", text) for n in range(1000)})
    report = await agent.check()
    assert len(report.invalid_files) == MAX_INVALID_FILES
    assert report.ByteSize() < 100_000
    for file in report.invalid_files:
        assert file.error.isprintable() and "s3cret" not in file.error


async def test_more_applications_than_fit_into_a_request_do_not_prevent_the_report() -> None:
    agent = Agent({f"{n:04}/app.pipecd.yaml": valid(f"{n:04}", "x" * 60_000) for n in range(100)})
    with capture_logs() as logs:
        report = await agent.check()
        await agent.check()
    assert 40 < len(report.applications) < 100 and report.ByteSize() <= MAX_REQUEST_SIZE + 100_000
    assert [entry["event"] for entry in logs] == ["suggestions_omitted"], "once for a report"


@pytest.mark.parametrize("name", ["a\\0b", "x" * 5000])
def test_a_name_that_the_control_plane_refuses_is_an_error_of_its_file(name: str) -> None:
    from pipecd.piped.source.checkout import decode_config

    text = f'apiVersion: pipecd.dev/v1beta1\nkind: TerraformApp\nspec:\n  name: "{name}"\n'
    with pytest.raises(ConfigError, match=r"null byte|4096") as error:
        decode_config(text.encode(), "app.pipecd.yaml")
    assert error.value.place == Place("app.pipecd.yaml", 4, "spec.name")


def test_labels_that_would_fill_a_report_are_an_error_of_their_file() -> None:
    """An alias makes megabytes of a small file; other applications must be reported."""
    from pipecd.piped.source.checkout import decode_config

    labels = "".join(f"    l{number}: *long\n" for number in range(100))
    text = f"apiVersion: pipecd.dev/v1beta1\nkind: TerraformApp\nspec:\n  description: &long {'x' * 4096}\n"
    with pytest.raises(ConfigError, match="characters in all; the limit is 262144") as error:
        decode_config(f"{text}  labels:\n{labels}".encode(), "app.pipecd.yaml")
    assert error.value.place == Place("app.pipecd.yaml", 5, "spec.labels")
