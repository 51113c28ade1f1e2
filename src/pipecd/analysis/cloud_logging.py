"""Google Cloud Logging. Source: https://cloud.google.com/logging/docs/reference/v2/rest/v2/entries/list"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pipecd.analysis.cloud_monitoring import require_project
from pipecd.analysis.http import json_answer, request
from pipecd.config.analysis import CloudMonitoringConfig
from pipecd.errors import Temporary
from pipecd.google_credentials import GoogleCredentials

ENDPOINT = "https://logging.googleapis.com"
#: Answers of one query. One may be empty although others follow: the search was not finished in time.
MAX_PAGES = 20
#: Characters of an entry.
MAX_LINE = 10_000


async def list_entries(
    config: CloudMonitoringConfig,
    credentials: GoogleCredentials,
    query: str,
    start: float,
    end: float,
    *,
    limit: int,
) -> Sequence[str]:
    """The entries that match a filter of the Logging query language, newest first, at most `limit`."""
    require_project(config)
    # A comment in the query ends with its line.
    times = f'timestamp >= "{_time(start)}" AND timestamp < "{_time(end)}"'
    body: dict[str, Any] = {
        "resourceNames": [f"projects/{config.project}"],
        "filter": f"(\n{query}\n)\nAND {times}",
        "orderBy": "timestamp desc",
        "pageSize": limit,
    }
    url = f"{config.logging_endpoint or ENDPOINT}/v2/entries:list"
    lines: list[str] = []
    for _ in range(MAX_PAGES):
        headers = await asyncio.to_thread(credentials.headers)
        answer = await request("POST", url, headers=headers, json_body=body)
        content = json_answer("Cloud Logging", answer)
        entries = content.get("entries", []) if isinstance(content, Mapping) else None
        if not isinstance(entries, list):
            raise Temporary("Cloud Logging sent an answer that is none of its API")
        lines += [_line(entry) for entry in entries]
        token = content.get("nextPageToken")
        if not token or len(lines) >= limit:
            return lines[:limit]
        body["pageToken"] = token
    raise Temporary(f"Cloud Logging sent more than {MAX_PAGES} pages; make the query more specific")


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def _line(entry: Any) -> str:
    if not isinstance(entry, Mapping):
        return str(entry)[:MAX_LINE]
    if isinstance(text := entry.get("textPayload"), str):
        return text.strip()[:MAX_LINE]
    payload = entry.get("jsonPayload") or entry.get("protoPayload") or {}
    message = payload.get("message") if isinstance(payload, Mapping) else None
    return (message if isinstance(message, str) else json.dumps(payload))[:MAX_LINE]
