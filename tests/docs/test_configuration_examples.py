"""Each example of a configuration file in the guides is accepted by the program that reads such a file.

A part of a file begins at `spec`, and fits one kind of file only, so that a reader sees where it belongs.
Without a value that it has to have, a file is completed here as a reader would.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from docsite.links import pages
from pipecd.config import analysis, application, controlplane, event_watcher, pipectl, piped
from pipecd.config.decode import decode, keys_without_effect
from pipecd.config.document import API_VERSION, Document, parse
from pipecd.errors import ConfigError
from pipecd.piped.notify.configured import check_receivers
from pipecd.piped.platform_availability import check_provider_configs, check_provider_types
from pipecd.piped.unsupported_config import find_keys_without_effect
from pipecd.platforms.awslambda.function import LambdaFunction
from pipecd.platforms.registry import installed_platforms, load_platform
from pipecd.platforms.stage_tables import application_types
from tests.stages.guide.ticket import TicketOptions

ROOT = Path(__file__).parents[2]
#: The example of a platform is not installed here, and has tests of its own.
PAGES = [name for name in pages(ROOT) if not name.startswith(("docs/reference/", "examples/"))]
#: What begins the files of other programs.
OTHER_FILES = re.compile(r"(#.*\n)*(scrape_configs|patches|family|cluster|apiVersion: (?!pipecd))")
#: Keys that a part of a file need not show.
REQUIRED: Mapping[str, Mapping[str, Any]] = {
    "ControlPlane": {
        "sharedSSOConfigs": [
            {"name": "company", "provider": "GITHUB", "github": {"clientId": "a", "clientSecret": "b"}}
        ],
    },
    "Piped": {
        "projectID": "shop",
        "pipedID": "7a1c0000-0000-0000-0000-000000000000",
        "pipedKeyData": "a2V5",
        "apiAddress": "pipecd.example.com:443",
    },
}


@dataclass(frozen=True)
class Example:
    page: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def examples() -> Iterator[Example]:
    for page in PAGES:
        text = (ROOT / page).read_text()
        for block in re.finditer(r"^( *)```ya?ml\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL):
            body = re.sub(rf"^{block[1]}", "", block[2], flags=re.MULTILINE)
            body = body.replace("$argon2id$…", "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHQ$aGFzaA")
            # A value to replace, such as `<key>`, may have to be base64.
            body = re.sub(r"<[^<>@\n]+>|(?<=credentialsData: )\S+", "c2VjcmV0", body)
            if not OTHER_FILES.match(body):
                yield Example(page, text[: block.start()].count("\n") + 2, body)


EXAMPLES = list(examples())


def types_of(kind: str) -> application.ApplicationTypes:
    types = application_types(load_platform(kind))
    return application.ApplicationTypes(
        config_kind=types.config_kind,
        spec=types.spec,
        plugin_fields=types.plugin_fields,
        options={**types.options, "TICKET": TicketOptions},
        check=types.check,
    )


def read_application(document: Document, text: str) -> None:
    config = application.load(text, document.file, types_of)
    options = types_of(config.kind).options
    for index, stage in enumerate(config.spec.pipeline.stages if config.spec.pipeline else ()):
        with_ = document.spec["pipeline"]["stages"][index].get("with")
        refuse(
            keys_without_effect(
                options[stage.name], with_, document, ("spec", "pipeline", "stages", index, "with")
            )
        )


def read_piped(document: Document, text: str) -> None:
    spec = piped.decode_spec(document)
    check_provider_types(spec, document)
    check_provider_configs(spec, document)
    check_receivers(spec, document)
    refuse(find_keys_without_effect(spec, document))


def read_control_plane(document: Document, text: str) -> None:
    controlplane.decode_spec(document)
    refuse(controlplane.find_keys_without_effect(document))


READERS: Mapping[str, Callable[[Document, str], object]] = {
    "ControlPlane": read_control_plane,
    "Piped": read_piped,
    "Pipectl": lambda document, text: pipectl.load(text, document.file),
    "EventWatcher": lambda document, text: event_watcher.decode_shared(document),
    "AnalysisTemplate": lambda document, text: analysis.decode_template(document),
    "LambdaFunction": lambda document, text: decode(LambdaFunction, document.spec, document, ("spec",)),
}
APPLICATION_KINDS = [load_platform(kind).config_kind for kind in installed_platforms()]


def refuse(problems: Any) -> None:
    for place, reason in problems:
        raise ConfigError(reason, place=place)


def read(text: str) -> None:
    """Read the file as its program does. Raises ConfigError, also for a key without effect."""
    document = parse(text, "example.yaml")
    READERS.get(document.kind, read_application)(document, text)


FILES = [each for each in EXAMPLES if re.search("^apiVersion:", each.text, re.MULTILINE)]
PARTS = [each for each in EXAMPLES if each not in FILES]


@pytest.mark.parametrize("example", FILES, ids=str)
def test_an_example_of_a_file_is_accepted(example: Example) -> None:
    read(example.text)


@pytest.mark.parametrize("example", PARTS, ids=str)
def test_an_example_of_a_part_fits_one_kind_of_file(example: Example) -> None:
    data = yaml.safe_load(example.text)
    assert list(data) == ["spec"], "begin the example with spec:"
    errors = {}
    for kind in ("ControlPlane", "Piped", *APPLICATION_KINDS):
        spec = {**REQUIRED.get(kind, {}), **data["spec"]}
        try:
            read(json.dumps({"apiVersion": API_VERSION, "kind": kind, "spec": spec}))
        except ConfigError as error:
            errors[kind] = str(error)
    fits = {"ControlPlane", "Piped", *APPLICATION_KINDS} - errors.keys()
    assert fits, errors
    one_kind = len(fits) == 1 or fits <= {*APPLICATION_KINDS}
    assert one_kind or example.text.startswith("# "), f"say in a comment which file it is: {fits}"
