"""Whatever a repository contains, each entry point of the agent answers or raises an error of its own, soon.

Repetitions of a few tokens find what grows faster than its input: unclosed quotes, nesting, alternatives.
"""

import asyncio
import random
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipecd import hcl
from pipecd.config import piped
from pipecd.config.document import read
from pipecd.config.sources.text import parse_secret
from pipecd.errors import PipecdError
from pipecd.git.command import error_from_output
from pipecd.patterns import PathPattern, PatternError, Regex
from pipecd.piped.source.checkout import decode_config
from pipecd.platforms.terraform.failure import ErrorOutput
from pipecd.platforms.terraform.state import parse_state
from pipecd.remotes import host_name
from pipecd.secrets import Redactor, strip_credentials
from pipecd.templates import render
from tests.loop_latency import LIMIT, loop_latency

TOKENS = (
    *("a", "0", "1.10", " ", "\n", "\t", "\r", "\0", "é", "\ud800", "\ufeff", "\\", '"', "'", "`", "#", "%"),
    *("{", "}", "[", "]", "(", ")", "{{", "}}", "${", "/*", "*/", "<<A\n", "\nA\n", "<<: ", "&a ", "*a "),
    *("- ", "? ", ": ", "|", ">", "!!float ", "---\n", "...\n", "a: ", "=", '\\"', "(a+)+", "(?=", "**/"),
    *("[a-", "$", "://", "@", "git@h:", "https://u:p@", "\x1b[", "Error: ", "on x line 1", "module."),
    *('["', "&lt;", "\\u00", "spec:\n", "  labels: ", "  timeout: '"),
    "apiVersion: pipecd.dev/v1beta1\nkind: TerraformApp\nspec:\n",
)


def redact(text: str) -> None:
    Redactor(["S3cr3t-Value-0123456789"]).text(text)
    strip_credentials(text)


def read_errors(text: str) -> None:
    output = ErrorOutput()
    for line in text.splitlines():
        output.add_line(line)
    output.to_error("plan", 1)
    error_from_output("fetch", text)


ENTRY_POINTS: dict[str, Callable[[str], Any]] = {
    "a YAML file": lambda text: read(text, "f"),
    "an application file": lambda text: decode_config(text.encode(errors="surrogatepass"), "f"),
    "the agent's file": lambda text: piped.load(text, "f"),
    "a stored configuration": lambda text: parse_secret(text.encode(errors="surrogatepass"), "s"),
    "a template": lambda text: render(text, {"attachment": {"a": "x"}}, "f"),
    "a Terraform file": lambda text: hcl.read(text, "f"),
    "a Terraform file in JSON": lambda text: hcl.read_json(text, "f"),
    "a Terraform state": lambda text: parse_state(text.encode(errors="surrogatepass")),
    "a regular expression": lambda text: Regex.parse(text).matches(text),
    "a path pattern": lambda text: list(PathPattern.parse(text).find_matches([text])),
    "the output of a program": redact,
    "the errors of a program": read_errors,
    "a remote": host_name,
}
PIECES = st.lists(st.tuples(st.sampled_from(TOKENS), st.sampled_from([1, 1, 2, 100, 10_000])), max_size=12)


def feed(entry_point: Callable[[str], Any], text: str) -> None:
    started = time.thread_time()
    with suppress(PipecdError, PatternError):
        entry_point(text)
    assert time.thread_time() - started < 5


@pytest.mark.parametrize("name", ENTRY_POINTS)
@given(pieces=PIECES)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_text_is_answered_soon(name: str, pieces: list[tuple[str, int]]) -> None:
    feed(ENTRY_POINTS[name], "".join(token * count for token, count in pieces)[:150_000])


async def test_no_text_blocks_the_event_loop() -> None:
    dice = random.Random(7)
    async with loop_latency() as latency:
        for entry_point in ENTRY_POINTS.values():
            pieces = [dice.choice(TOKENS) * dice.choice([1, 10, 5_000]) for _ in range(20)]
            await asyncio.to_thread(feed, entry_point, "".join(pieces))
    assert latency.longest < LIMIT
