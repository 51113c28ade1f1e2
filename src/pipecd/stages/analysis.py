"""ANALYSIS: checks metrics, logs and URLs for a while; fails the deployment when one of them shows a fault.

Each call makes the checks that are due, all at once, and stores what they found, so that a restart continues
with the same counts and times. The verdicts are `model.analysis`'s.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from math import isfinite
from pathlib import Path
from typing import Any

from prometheus_client import Gauge

from pipecd.config.analysis import (
    KIND,
    AnalysisEntry,
    AnalysisOptions,
    AnalysisTemplateSpec,
    HttpEntry,
    LogEntry,
    MetricsEntry,
    check_interval,
    decode_template,
    merge_template,
)
from pipecd.config.document import Path as KeyPath
from pipecd.config.document import parse, read_file
from pipecd.config.event_watcher import SHARED_DIRECTORY
from pipecd.errors import ConfigError, NotFound, Place, Refused, Temporary, UserError
from pipecd.json_input import decode_json
from pipecd.model.analysis import (
    AnalysisProviders,
    Check,
    Limits,
    Point,
    Strategy,
    Tally,
    Verdict,
    conclude,
    failure,
    judge_comparison,
    judge_threshold,
    next_check_at,
)
from pipecd.model.stage import CANDIDATE_URL, Again, Done, Failed, Outcome, Source, Work
from pipecd.model.status import StageStatus
from pipecd.stages.approval import SKIPPED_BY
from pipecd.telemetry import AGENT_METRICS
from pipecd.templates import render

#: Keys of stage metadata: PipeCD's own (a duration in Go's notation), and what this stage stores (JSON).
ELAPSED_TIME, STATE = "elapsedTime", "pipecd/analysis"
#: Name of the stored object with the start of the application's last successful analysis.
LATEST_RESULT = "latest-analysis"
#: What is stored for the console: checks of an entry, and of all entries together unless there are many
#: entries; characters of their names, sentences, queries and links.
MAX_CHECKS, MAX_ALL_CHECKS, MIN_CHECKS = 30, 400, 6
MAX_NAME, MAX_WHY, MAX_QUERY, MAX_LINK = 100, 300, 1000, 4000
#: Entries that the log names at the start.
MAX_NAMES = 10
#: Series exist only while the analysis runs.
VALUE = Gauge(
    "pipecd_analysis_value",
    "Median of the values of the last check of a running analysis.",
    ["application_name", "entry"],
    registry=AGENT_METRICS,
)
#: Characters of a sentence about an HTTP answer's body.
_MAX_EXCERPT = 100
#: Fields of `Tally` that are stored.
_COUNTS = ("passed", "failed", "no_data", "inconclusive", "errors_in_row")
_TEMPLATE_SUFFIXES = (".yaml", ".yml", ".json")
PRIMARY, CANARY, BASELINE = "primary", "canary", "baseline"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One entry of the stage. `id` is PipeCD's, such as `metrics-0`; `name` is its template's, or empty.

    `path` is its place in the stage's `with`.
    """

    id: str
    path: tuple[str, int]
    name: str
    config: AnalysisEntry
    app_args: Mapping[str, str]

    @property
    def what(self) -> str:
        """Names the entry in sentences."""
        return f"{self.id} ({self.name})" if self.name else self.id

    @property
    def interval(self) -> float:
        return self.config.interval.total_seconds()

    @property
    def initial_delay(self) -> float:
        return self.config.initial_delay.total_seconds()

    @property
    def limits(self) -> Limits:
        return Limits(
            failures=self.config.failure_limit,
            errors=self.config.consecutive_error_limit,
            inconclusive=self.config.inconclusive_limit if isinstance(self.config, MetricsEntry) else None,
            skip_on_no_data=self.config.skip_on_no_data,
        )


@dataclass(frozen=True, kw_only=True)
class State:
    """What is stored between calls. `started` is in epoch seconds; tallies and checks by the entry's id."""

    started: float
    previous_start: float | None
    tallies: Mapping[str, Tally]
    checks: Mapping[str, Sequence[Check]]
    queries: Mapping[str, str]

    def last_check(self, entry: Entry) -> float:
        tally = self.tallies.get(entry.id, Tally())
        return tally.last.at if tally.last else self.started

    def with_checks(self, checks: Mapping[str, Check], kept: int = MAX_CHECKS) -> "State":
        """With the newest `kept` checks of each entry."""
        tallies = {key: self.tallies.get(key, Tally()).with_check(check) for key, check in checks.items()}
        stored = {
            key: [*self.checks.get(key, ()), replace(check, why=check.why[:MAX_WHY])][-kept:]
            for key, check in checks.items()
        }
        return replace(self, tallies={**self.tallies, **tallies}, checks={**self.checks, **stored})


async def check_analysis(
    options: AnalysisOptions, path: KeyPath, source: Source, providers: AnalysisProviders
) -> None:
    """Raises ConfigError if an entry's template is missing, or its provider, or what the provider must have.

    `path` is that of the stage in the application's file.
    """
    where: KeyPath = (*path, "with")
    try:
        for entry in await asyncio.to_thread(_entries, options, source):
            where = (*path, "with", *entry.path, "provider")
            match entry.config:
                case MetricsEntry(provider=provider):
                    providers.check_metrics(provider)
                case LogEntry(provider=provider):
                    providers.check_logs(provider)
    except UserError as error:
        place = error.place or source.config.place(*where)
        raise ConfigError(error.what, remedy=error.remedy, place=place) from None


async def analyse(work: Work[AnalysisOptions]) -> Outcome:
    outcome = await _analyse(work)
    if not isinstance(outcome, Again):
        _remove_values(work.application.name)
    return outcome


async def _analyse(work: Work[AnalysisOptions]) -> Outcome:
    for action in work.actions:
        if not action.approve:
            work.log.info(f"Skipped by {action.requested_by}")
            note = f"Skipped by {action.requested_by}"
            return Done(note=note, status=StageStatus.SKIPPED, saved={SKIPPED_BY: action.requested_by})
    source = await work.checkouts.target()
    entries = await asyncio.to_thread(_entries, work.options, source)
    duration = work.options.duration.total_seconds()
    if STATE not in work.saved:
        return await _start(work, entries, duration)
    state = _decode(work.saved[STATE])
    ended = work.now >= state.started + duration
    due = {entry.id: entry for entry in entries if _is_due(entry, state, duration, work.now)}
    if due:
        kept = max(MIN_CHECKS, min(MAX_CHECKS, MAX_ALL_CHECKS // len(entries)))
        state = await _check(work, source, due, state, kept)
        for entry in due.values():
            if why := failure(state.tallies[entry.id], entry.limits):
                return Failed(reason=why, remedy=_REMEDY, saved=_saved(work, entries, state))
    if ended:
        return await _end(work, entries, state)
    upcoming = [at for entry in entries if (at := _next_check_at(entry, state, duration, work.now))]
    end = state.started + duration
    after = max(min([*upcoming, end]) - work.now, 0.0)
    return Again(after=after, saved=_saved(work, entries, state), note=_note(entries, state, end - work.now))


_REMEDY = "see the stage's log for each check"


async def _start(work: Work[AnalysisOptions], entries: Sequence[Entry], duration: float) -> Outcome:
    if entries:
        names = ", ".join(entry.what for entry in entries[:MAX_NAMES])
        more = f" and {len(entries) - MAX_NAMES} more" if len(entries) > MAX_NAMES else ""
        work.log.info(f"Analysing {names}{more} for {duration:g} s")
    else:
        work.log.info("The stage has no metrics, logs and https: it only waits")
    # Those of an analysis that was cancelled.
    _remove_values(work.application.name)
    previous = await _previous_start(work)
    state = State(started=work.now, previous_start=previous, tallies={}, checks={}, queries={})
    after = min([duration, *(entry.initial_delay + entry.interval for entry in entries)])
    return Again(after=after, saved=_saved(work, entries, state), note=_note(entries, state, duration))


async def _end(work: Work[AnalysisOptions], entries: Sequence[Entry], state: State) -> Outcome:
    for entry in entries:
        tally = state.tallies.get(entry.id, Tally())
        if _passes_unseen(entry, state):
            continue
        if why := conclude(tally, entry.limits, entry.what):
            remedy = "check the query and its provider, or set skipOnNoData if no data is expected"
            return Failed(reason=why, remedy=remedy, saved=_saved(work, entries, state))
    await work.storage.store(LATEST_RESULT, json.dumps({"start_time": int(state.started)}).encode())
    checks = sum(tally.passed for tally in state.tallies.values())
    work.log.success(f"The analysis succeeded: {checks} checks passed")
    return Done(note=f"{checks} checks passed", saved=_saved(work, entries, state))


def _show_value(work: Work[AnalysisOptions], entry: "Entry", check: Check) -> None:
    if check.middle is None:
        return
    VALUE.labels(work.application.name, entry.id).set(check.middle)


def _remove_values(application_name: str) -> None:
    VALUE.remove_by_labels({"application_name": application_name})


def _passes_unseen(entry: Entry, state: State) -> bool:
    """A comparison with the previous analysis cannot be made at the first one, as in PipeCD."""
    config = entry.config
    return (
        isinstance(config, MetricsEntry)
        and config.strategy is Strategy.PREVIOUS
        and state.previous_start is None
        and not state.tallies.get(entry.id, Tally()).failed
    )


def _next_check_at(entry: Entry, state: State, duration: float, now: float) -> float | None:
    delay = entry.initial_delay
    return next_check_at(
        state.started + delay, entry.interval, duration - delay, now, state.last_check(entry)
    )


def _is_due(entry: Entry, state: State, duration: float, now: float) -> bool:
    at = _next_check_at(entry, state, duration, now)
    return at is not None and at <= now


async def _check(
    work: Work[AnalysisOptions], source: Source, due: Mapping[str, Entry], state: State, kept: int
) -> State:
    """Makes the checks of the entries at the same time."""
    results = await asyncio.gather(*(_check_entry(work, source, entry, state) for entry in due.values()))
    queries = dict(state.queries)
    for entry, (check, query) in zip(due.values(), results, strict=True):
        _show_value(work, entry, check)
        log = work.log.info if check.verdict in (Verdict.PASSED, Verdict.NO_DATA) else work.log.error
        log(f"[{entry.id}] {check.verdict.value}: {check.why.removeprefix(f'{entry.what}: ')}")
        if query and query != queries.get(entry.id):
            work.log.info(f"[{entry.id}] query: {query[:MAX_QUERY]}")
            queries[entry.id] = query[:MAX_QUERY]
    return replace(state, queries=queries).with_checks(
        {entry.id: check for entry, (check, _) in zip(due.values(), results, strict=True)}, kept
    )


async def _check_entry(
    work: Work[AnalysisOptions], source: Source, entry: Entry, state: State
) -> tuple[Check, str]:
    """The check, and the rendered query. Raises ConfigError and Refused, which fail the stage."""
    seconds = entry.config.timeout.total_seconds() or 30.0
    queries: list[str] = []
    try:
        async with asyncio.timeout(seconds):
            check = await _CHECKS[type(entry.config)](work, source, entry, state, queries)
    except Temporary as error:
        check = Check(at=work.now, verdict=Verdict.ERROR, why=f"{entry.what}: {error}")
    except TimeoutError:
        why = f"{entry.what}: no answer within {seconds:g} s"
        check = Check(at=work.now, verdict=Verdict.ERROR, why=why)
    return check, queries[0] if queries else ""


async def _check_metrics(
    work: Work[AnalysisOptions], source: Source, entry: Entry, state: State, queries: list[str]
) -> Check:
    config = entry.config
    assert isinstance(config, MetricsEntry)

    async def points(variant: str, end: float) -> Sequence[Point]:
        query = _render_query(config.query, work, source, entry, variant)
        queries.append(query)
        return await work.analysis.points(config.provider, query, end - entry.interval, end)

    if config.strategy is Strategy.THRESHOLD:
        assert config.expected
        return judge_threshold(
            await points(PRIMARY, work.now),
            low=config.expected.min,
            high=config.expected.max,
            at=work.now,
            what=entry.what,
        )
    if config.strategy is Strategy.PREVIOUS:
        if state.previous_start is None:
            await points(PRIMARY, work.now)
            why = f"{entry.what}: there was no analysis before to compare with"
            return Check(at=work.now, verdict=Verdict.INCONCLUSIVE, why=why)
        then = state.previous_start + (work.now - state.started)
        new, old = await asyncio.gather(points(PRIMARY, work.now), points(PRIMARY, then))
        other = "the previous analysis"
    else:
        other = BASELINE if config.strategy is Strategy.CANARY_BASELINE else PRIMARY
        new, old = await asyncio.gather(points(CANARY, work.now), points(other, work.now))
    return await asyncio.to_thread(
        judge_comparison,
        new,
        old,
        config.deviation,
        at=work.now,
        what=entry.what,
        other=other,
        alpha=config.alpha,
        min_points=config.min_points,
        min_difference=config.min_difference,
    )


async def _check_logs(
    work: Work[AnalysisOptions], source: Source, entry: Entry, state: State, queries: list[str]
) -> Check:
    config = entry.config
    assert isinstance(config, LogEntry)
    query = _render_query(config.query, work, source, entry, PRIMARY)
    queries.append(query)
    lines = await work.analysis.log_lines(config.provider, query, work.now - entry.interval, work.now)
    if not lines:
        return Check(at=work.now, verdict=Verdict.PASSED, why=f"{entry.what}: no lines")
    why = f"{entry.what}: {len(lines)} lines, such as {lines[0][:_MAX_EXCERPT]!r}"
    return Check(at=work.now, verdict=Verdict.FAILED, why=why)


async def _check_http(
    work: Work[AnalysisOptions], source: Source, entry: Entry, state: State, queries: list[str]
) -> Check:
    config = entry.config
    assert isinstance(config, HttpEntry)
    url = _render_query(config.url, work, source, entry, PRIMARY)
    queries.append(f"{config.method} {url}")
    answer = await work.analysis.request(
        config.method, url, {header.key: header.value for header in config.headers}
    )
    if answer.status != config.expected_code:
        why = f"{entry.what}: the status is {answer.status}, not {config.expected_code}"
        return Check(at=work.now, verdict=Verdict.FAILED, why=why)
    pattern = config.response_pattern
    matches = (
        await asyncio.to_thread(pattern.matches, answer.body)
        if pattern
        else config.expected_response in answer.body
    )
    if not matches:
        why = f"{entry.what}: the answer does not contain {config.expected_response[:_MAX_EXCERPT]!r}"
        return Check(at=work.now, verdict=Verdict.FAILED, why=why)
    return Check(at=work.now, verdict=Verdict.PASSED, why=f"{entry.what}: the status is {answer.status}")


_CHECKS = {MetricsEntry: _check_metrics, LogEntry: _check_logs, HttpEntry: _check_http}


def _render_query(text: str, work: Work[AnalysisOptions], source: Source, entry: Entry, variant: str) -> str:
    """Both names of each variable work: those of PipeCD's code, and those of its documentation."""
    config = entry.config
    variant_args: Mapping[str, str] = {}
    if isinstance(config, MetricsEntry):
        by_variant = {
            PRIMARY: config.primary_args,
            CANARY: config.canary_args,
            BASELINE: config.baseline_args,
        }
        variant_args = by_variant[variant]
    kubernetes = getattr(getattr(source.config.spec, "input", None), "namespace", "")
    data = {
        "App": {"Name": work.application.name, "Env": ""},
        "K8s": {"Namespace": kubernetes or "default"} if work.deployment.kind == "KUBERNETES" else {},
        "Variant": {"Name": variant},
        "VariantCustomArgs": variant_args,
        "VariantArgs": variant_args,
        "AppCustomArgs": entry.app_args,
        "AppArgs": entry.app_args,
        "Candidate": {"URL": work.shared.get(CANDIDATE_URL, "")},
    }
    return render(text, data, f"the query of {entry.what}").text


async def _previous_start(work: Work[AnalysisOptions]) -> float | None:
    try:
        stored = decode_json(await work.storage.load(LATEST_RESULT))
    except (NotFound, Refused):
        # Of the second, the agent's key was replaced.
        return None
    return float(stored["start_time"])


def _entries(options: AnalysisOptions, source: Source) -> Sequence[Entry]:
    """The entries with their templates. Raises ConfigError."""
    configs: Sequence[tuple[str, str, Sequence[AnalysisEntry]]] = (
        ("metrics", "metrics", options.metrics),
        ("log", "logs", options.logs),
        ("http", "https", options.https),
    )
    needed = any(entry.template for _, _, entries in configs for entry in entries)
    template = _load_template(source.root) if needed else AnalysisTemplateSpec()
    templates: Mapping[str, Mapping[str, Any]] = {
        "metrics": template.metrics,
        "log": template.logs,
        "http": template.https,
    }
    app_args = source.config.spec.app_custom_args
    found = []
    for kind, key, entries in configs:
        for index, entry in enumerate(entries):
            config = merge_template(entry, templates[kind])
            entry_id = f"{kind}-{index}"
            try:
                check_interval(config, options.duration)
            except ValueError as error:
                raise ConfigError(f"{entry_id}: {error}", remedy="shorten the interval") from None
            args = {**app_args, **(entry.template.app_args if entry.template else {})}
            name = entry.template.name if entry.template else ""
            found.append(Entry(id=entry_id, path=(key, index), name=name, config=config, app_args=args))
    return found


def _load_template(root: Path) -> AnalysisTemplateSpec:
    """The first file of the kind in `.pipe`, by name; an empty one if there is none. Raises ConfigError."""
    directory = root / SHARED_DIRECTORY
    if not directory.is_dir():
        return AnalysisTemplateSpec()
    for path in sorted(directory.iterdir()):
        if path.suffix not in _TEMPLATE_SUFFIXES or not path.is_file():
            continue
        file = f"{SHARED_DIRECTORY}/{path.name}"
        if not path.resolve().is_relative_to(root.resolve()):
            raise ConfigError("the link points outside the repository", place=Place(file))
        document = parse(read_file(path, file, missing="restore the file"), file)
        if document.kind == KIND:
            return decode_template(document)
    return AnalysisTemplateSpec()


def _saved(work: Work[AnalysisOptions], entries: Sequence[Entry], state: State) -> Mapping[str, str]:
    """JSON for the stage's metadata: what the next call needs, and what the console shows."""
    stored = {
        "started": state.started,
        "previous_start": state.previous_start,
        "entries": {
            entry.id: {**_describe(work, entry, state), **_encode(state, entry)}
            for entry in entries
            if entry.id in state.tallies
        },
    }
    elapsed = f"{max(work.now - state.started, 0):.0f}s"
    return {STATE: json.dumps(stored), ELAPSED_TIME: elapsed}


def _encode(state: State, entry: Entry) -> dict[str, Any]:
    tally = state.tallies[entry.id]
    checks = state.checks.get(entry.id, ())
    return {
        **{name: getattr(tally, name) for name in _COUNTS},
        "query": state.queries.get(entry.id, ""),
        "checks": [_encode_check(check) for check in checks],
    }


def _encode_check(check: Check) -> dict[str, Any]:
    """JSON has no infinity and no NaN, and browsers refuse them."""
    figures = {name: getattr(check, name) for name in ("low", "middle", "high", "other")}
    finite = {name: value if value is None or isfinite(value) else None for name, value in figures.items()}
    return {**asdict(check), **finite, "verdict": check.verdict.value}


def _describe(work: Work[AnalysisOptions], entry: Entry, state: State) -> dict[str, Any]:
    """What the console shows beside the checks."""
    config = entry.config
    described: dict[str, Any] = {"name": entry.name[:MAX_NAME], "allowed_failures": config.failure_limit}
    if isinstance(config, MetricsEntry):
        described["strategy"] = config.strategy.value
        if config.strategy is Strategy.THRESHOLD and config.expected:
            described["expected"] = config.expected.model_dump()
    query = state.queries.get(entry.id, "")
    if 0 < len(query) < MAX_QUERY and isinstance(config, MetricsEntry | LogEntry):
        link = work.analysis.link(config.provider, query, state.started, work.now)
        described["link"] = link if len(link) <= MAX_LINK else ""
    return described


def _decode(text: str) -> State:
    stored = decode_json(text)
    tallies, checks, queries = {}, {}, {}
    for key, entry in stored["entries"].items():
        checks[key] = [_decode_check(check) for check in entry["checks"]]
        counts = {name: entry[name] for name in _COUNTS}
        tallies[key] = Tally(**counts, last=checks[key][-1] if checks[key] else None)
        queries[key] = entry["query"]
    return State(
        started=stored["started"],
        previous_start=stored["previous_start"],
        tallies=tallies,
        checks=checks,
        queries=queries,
    )


def _decode_check(stored: Mapping[str, Any]) -> Check:
    """Members that another version of the agent stored are ignored."""
    known = {member.name: stored[member.name] for member in fields(Check) if member.name in stored}
    return Check(**{**known, "verdict": Verdict(stored["verdict"])})


def _note(entries: Sequence[Entry], state: State, remaining: float) -> str:
    passed = sum(tally.passed for tally in state.tallies.values())
    failed = sum(tally.failed for tally in state.tallies.values())
    counts = f"{passed} checks passed, {failed} failed" if passed or failed else "No check yet"
    return f"{counts}; {max(remaining, 0):.0f} s remaining"
