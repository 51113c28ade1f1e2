"""What is written to Git when an event is registered: `eventWatcher`, and files of `kind: EventWatcher`."""

from collections.abc import Mapping, Sequence
from typing import Literal, Self

from pydantic import Field, model_validator

from pipecd.config.decode import StrictModel, decode
from pipecd.config.document import Document
from pipecd.config.values import FieldPath, GroupPattern, InsideApplication, Text

KIND = "EventWatcher"
#: Directory of a repository with files of this kind and others.
SHARED_DIRECTORY = ".pipe"
#: Of one entry.
MAX_REPLACEMENTS = 100


class Replacement(StrictModel):
    file: InsideApplication = Field(min_length=1)
    """Path of the file to change, relative to the application's directory; for `kind: EventWatcher`, relative
    to the root of the repository.
    """
    yaml_field: FieldPath = None
    """Path of the field to set in a YAML file, such as `$.spec.containers[0].image`. Comments and formatting
    are preserved.
    """
    json_field: FieldPath = None
    """Path of the field to set in a JSON file, in the same syntax."""
    hcl_field: FieldPath = Field(default=None, alias="HCLField")
    """Block type, labels and name of the attribute to set in an HCL file, such as `module.web.version`."""
    regex: GroupPattern = None
    """Regular expression in RE2 syntax; what its first group matches is replaced, in every match."""

    @model_validator(mode="after")
    def _exactly_one_selector(self) -> Self:
        given = [name for name in (self.yaml_field, self.json_field, self.hcl_field, self.regex) if name]
        if len(given) != 1:
            raise ValueError("exactly one of yamlField, jsonField, HCLField and regex must be given")
        return self


class EventMatcher(StrictModel):
    name: str = Field(min_length=1)
    """Name of the event."""
    labels: Mapping[str, Text] = Field(default_factory=dict)
    """All labels of the event; an event with other labels, or with more, does not match."""


class EventHandlerConfig(StrictModel):
    commit_message: str = ""
    """Message of the commit; `{{ .Value }}` is the event's data, `{{ .EventName }}` its name. Default: a
    sentence with both.
    """
    make_pull_request: bool = False
    """Push the commit to a branch of its own, `pipecd/<application>/<event>`, and open a pull request from
    it. Without access to the Git host (`gitHosts` of the agent), only the branch is pushed.
    """
    branch: str = ""
    """Push to this branch. Default: the branch of the repository that the agent deploys. Not in PipeCD."""
    replacements: Sequence[Replacement] = Field(min_length=1, max_length=MAX_REPLACEMENTS)
    """Where the event's data is written."""


class EventHandler(StrictModel):
    type: Literal["GIT_UPDATE"] = "GIT_UPDATE"
    """What happens: the files in Git are updated."""
    config: EventHandlerConfig
    """How the files are updated."""


class EventWatch(StrictModel):
    matcher: EventMatcher
    """Which events are handled."""
    handler: EventHandler
    """What happens when such an event is registered."""


class SharedEventWatch(StrictModel):
    name: str = Field(min_length=1)
    """Name of the event."""
    labels: Mapping[str, Text] = Field(default_factory=dict)
    """All labels of the event; an event with other labels, or with more, does not match."""
    replacements: Sequence[Replacement] = Field(min_length=1, max_length=MAX_REPLACEMENTS)
    """Where the event's data is written."""


class EventWatcherSpec(StrictModel):
    """`spec` of `kind: EventWatcher`, in the directory `.pipe` of a repository."""

    events: Sequence[SharedEventWatch] = ()
    """Which events are handled, and where their data is written."""


def decode_shared(document: Document) -> EventWatcherSpec:
    """The content of a file of `kind: EventWatcher`. Raises ConfigError."""
    return decode(EventWatcherSpec, document.spec, document, ("spec",))
