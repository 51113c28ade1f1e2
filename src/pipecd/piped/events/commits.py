"""Makes the commits that write events into the files of a branch, in the mirror. Called by `watcher`.

Events are written together in one commit, unless their watches have commit messages of their own. Each commit
names its events in trailers: after a restart, or when another agent was faster, an event is recognized there.
"""

import asyncio
import hashlib
import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pipecd.config.event_watcher import Replacement
from pipecd.edits import Edit
from pipecd.edits.hcl_text import set_hcl
from pipecd.edits.json_text import set_json
from pipecd.edits.pattern_text import set_matches
from pipecd.edits.yaml_text import set_yaml
from pipecd.errors import ConfigError, Place, Refused
from pipecd.git.forge.pull_request import MAX_BODY_LENGTH, MAX_TITLE_LENGTH
from pipecd.git.lfs import is_pointer
from pipecd.git.mirror import MAX_FILE_SIZE, Entry, Mirrors
from pipecd.model.deployment import TRACE_TRAILER
from pipecd.model.event import Event, EventOutcome, EventResult
from pipecd.piped.events.watches import Watch
from pipecd.templates import render

#: Trailer with the id of an event, and in how many commits of a branch it is searched.
EVENT_TRAILER, SEARCHED_COMMITS = "Pipecd-Event", 200
#: What the names of branches of pull requests begin with.
PULL_REQUEST_BRANCHES = "pipecd/"
#: In characters.
MAX_SUBJECT_VALUE, MAX_MESSAGE_LENGTH, MAX_TRAILER_LENGTH = 100, 32_768, 1_000


@dataclass(frozen=True, kw_only=True)
class Task:
    """An event that a watch writes."""

    watch: Watch
    event: Event

    @property
    def key(self) -> tuple[str, str]:
        return (self.watch.id, self.event.id)


@dataclass(frozen=True, kw_only=True)
class Written:
    """`tip` is the last new commit, or the base if nothing changed; results by `Task.key`."""

    tip: str
    changed: frozenset[tuple[str, str]]
    results: Mapping[tuple[str, str], EventResult]


@dataclass
class _Files:
    """The texts and modes of files at a commit, or why a file cannot be changed."""

    modes: dict[str, str] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    errors: dict[str, Refused] = field(default_factory=dict)

    def text(self, path: str) -> str:
        if path in self.errors:
            raise self.errors[path]
        return self.texts[path]


async def write_events(mirrors: Mirrors, remote: str, base: str, tasks: Sequence[Task]) -> Written:
    """Commits for `tasks` on top of `base`. A task whose files cannot be changed fails alone."""
    results: dict[tuple[str, str], EventResult] = {}
    written = await mirrors.find_trailers(remote, base, EVENT_TRAILER, SEARCHED_COMMITS)
    remaining = [task for task in tasks if task.event.id not in written]
    for task in tasks:
        if task.event.id in written:
            results[task.key] = _success("The event is in the branch already")
    files = await _load_files(mirrors, remote, base, remaining)
    tip, changed = base, set[tuple[str, str]]()
    for message, group in _groups(remaining).items():
        changes = await asyncio.to_thread(_change_files, files, group, results)
        if changes.files:
            contents = {path: (files.modes[path], text.encode()) for path, text in changes.files.items()}
            text = commit_message(message, [task.event for task in changes.tasks])
            tip = await mirrors.commit_files(remote, tip, contents, text)
            changed |= {task.key for task in changes.tasks}
    return Written(tip=tip, changed=frozenset(changed), results=results)


async def _load_files(mirrors: Mirrors, remote: str, commit: str, tasks: Sequence[Task]) -> _Files:
    paths = sorted({path for task in tasks for path in _paths(task.watch)})
    if not paths:
        return _Files()
    entries = await mirrors.find_entries(remote, commit, paths)
    hashes = sorted({entry.hash for entry in entries.values() if entry.is_file})
    contents = await mirrors.read_blobs(remote, hashes)
    files = _Files(modes={path: entry.mode for path, entry in entries.items()})
    for path in paths:
        try:
            files.texts[path] = _decode(path, entries.get(path), contents)
        except Refused as error:
            files.errors[path] = error
    return files


def _paths(watch: Watch) -> list[str]:
    return [_path(watch, replacement) for replacement in watch.replacements]


def _path(watch: Watch, replacement: Replacement) -> str:
    """From the root of the repository; `config` refuses paths that leave the directory."""
    return posixpath.normpath(posixpath.join(watch.directory, replacement.file))


def _decode(path: str, entry: Entry | None, contents: Mapping[str, bytes]) -> str:
    if entry is None:
        raise Refused("there is no such file", remedy="correct the path, or add the file", place=Place(path))
    if not entry.is_file:
        raise Refused("it is not a regular file", remedy="name the file itself", place=Place(path))
    content = contents.get(entry.hash)
    if content is None:
        raise Refused(f"the file has more than {MAX_FILE_SIZE >> 20} MiB", place=Place(path))
    if is_pointer(content):
        raise Refused("the file is stored in Git LFS", remedy="store it in Git", place=Place(path))
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise Refused("the file is not UTF-8 text", remedy="save it as UTF-8", place=Place(path)) from None


def _groups(tasks: Sequence[Task]) -> Mapping[str, Sequence[Task]]:
    """Tasks by the message of their commit; empty for the default message."""
    groups: dict[str, list[Task]] = {}
    for task in tasks:
        groups.setdefault(_custom_message(task), []).append(task)
    return groups


def _custom_message(task: Task) -> str:
    template = task.watch.commit_message
    try:
        data = {"Value": task.event.data, "EventName": task.event.name}
        return render(template, data, "commitMessage").text.strip()
    except ConfigError:
        # As in PipeCD.
        return template.strip()


@dataclass(frozen=True)
class _Changes:
    files: Mapping[str, str]
    tasks: Sequence[Task]


def _change_files(
    files: _Files, tasks: Sequence[Task], results: dict[tuple[str, str], EventResult]
) -> _Changes:
    """Changes the texts of `files`, and adds the results of `tasks`."""
    changed: dict[str, str] = {}
    changing: list[Task] = []
    for task in tasks:
        try:
            texts, count = _edit(files, task)
        except Refused as error:
            results[task.key] = EventResult(outcome=EventOutcome.FAILURE, message=f"Failed to change {error}")
            continue
        if not count:
            results[task.key] = _success("Nothing to change: the files have this value already")
            continue
        files.texts.update(texts)
        changed |= texts
        changing.append(task)
        values = "1 value" if count == 1 else f"{count} values"
        results[task.key] = _success(f"Set {values} in {', '.join(sorted(texts))}")
    return _Changes(changed, changing)


def _edit(files: _Files, task: Task) -> tuple[dict[str, str], int]:
    """The new texts of the files that change, and the number of values."""
    texts: dict[str, str] = {}
    total = 0
    for replacement in task.watch.replacements:
        path = _path(task.watch, replacement)
        edit = _set(texts.get(path) or files.text(path), path, replacement, task.event.data)
        total += edit.count
        if edit.count:
            texts[path] = edit.text
    return texts, total


def _set(text: str, path: str, replacement: Replacement, value: str) -> Edit:
    if replacement.yaml_field:
        return set_yaml(text, path, replacement.yaml_field, value)
    if replacement.json_field:
        return set_json(text, path, replacement.json_field, value)
    if replacement.hcl_field:
        return set_hcl(text, path, replacement.hcl_field, value)
    assert replacement.regex
    return set_matches(text, path, replacement.regex, value)


def _success(message: str) -> EventResult:
    return EventResult(outcome=EventOutcome.SUCCESS, message=message)


def commit_message(custom: str, events: Sequence[Event]) -> str:
    """The message of a commit that writes `events`, with its trailers. `custom` is empty for the default."""
    unique = list({event.id: event for event in events}.values())
    text = custom or _default_message(unique)
    trailers = [line for event in unique for line in _trailers(event)]
    return f"{text[:MAX_MESSAGE_LENGTH].rstrip()}\n\n" + "".join(
        f"{line}\n" for line in dict.fromkeys(trailers)
    )


def _default_message(events: Sequence[Event]) -> str:
    lines = [f"Set {event.name} to {_one_line(event.data)[:MAX_SUBJECT_VALUE]}" for event in events]
    if len(lines) == 1:
        return lines[0]
    return "\n".join([f"Set values of {len(lines)} events", "", "Events:", *(f"- {line}" for line in lines)])


def _trailers(event: Event) -> Sequence[str]:
    contexts = {
        key: value
        for key, value in sorted(event.contexts.items())
        if key.lower() not in (EVENT_TRAILER.lower(), TRACE_TRAILER.lower())
    }
    if event.trigger_commit:
        contexts[TRACE_TRAILER] = event.trigger_commit
    contexts[EVENT_TRAILER] = event.id
    return [f"{key}: {_one_line(value)[:MAX_TRAILER_LENGTH]}" for key, value in contexts.items()]


def _one_line(text: str) -> str:
    return re.sub(r"[\s\x00-\x1f\x7f]+", " ", text).strip()


def pull_request_branch(watch: Watch) -> str:
    """`pipecd/<application>/<event>`, and a part of a hash, since labels and target branches may differ."""
    mark = watch.key
    if watch.branch:
        mark = hashlib.sha256(f"{watch.key}/{watch.branch}".encode()).hexdigest()
    return f"{PULL_REQUEST_BRANCHES}{_branch_part(watch.owner)}/{_branch_part(watch.event_name)}-{mark[:6]}"


def _branch_part(name: str) -> str:
    part = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")[:60]
    return part or "event"


def pull_request_texts(message: str) -> tuple[str, str]:
    """Title and body of the pull request of a commit with this message. Trailers stay lines of their own."""
    subject, _, rest = message.strip().partition("\n")
    text, _, trailers = rest.strip().rpartition("\n\n")
    fence = "`" * 3
    while fence in trailers:
        fence += "`"
    body = f"{text}\n\n{fence}\n{trailers}\n{fence}".strip()
    return subject.strip()[:MAX_TITLE_LENGTH], body[:MAX_BODY_LENGTH]
