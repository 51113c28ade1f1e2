"""Releases of a stub agent: real wheels with real hashes; the configuration controls the agent's behaviour.

The stub agent answers on its admin port like the real one, and records its starts and ends in a journal.
"""

import base64
import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path

#: Accepts the flags the launcher passes. `behaviour` in the configuration is one of `healthy`,
#: `ignore-sigterm`, `crash`, `crash <version>` and `silent <version>`. A file `fixed` beside its journal ends
#: the crashes; a file `unhealthy` makes its endpoints answer 503.
AGENT = """
import http.server, json, os, re, signal, sys, threading, time
from pathlib import Path

VERSION = "{version}"
flags = dict(part.removeprefix("--").split("=", 1) for part in sys.argv[2:] if "=" in part)
config = Path(flags["config-file"]).read_text()
journal = Path(re.search(r"journal: (.*)", config)[1].strip())
behaviour = re.search(r"behaviour: (.*)", config)[1].strip()
label = re.search(r"label: (.*)", config)


def record(event, **fields):
    with journal.open("a") as file:
        file.write(json.dumps({{"event": event, "version": VERSION, "pid": os.getpid(), **fields}}) + "\\n")


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/restart":
            threading.Thread(target=lambda: (record("ended"), os._exit(0))).start()
        if self.path == "/crash":
            os._exit(3)
        unhealthy = journal.with_name("unhealthy").exists()
        body = b"disconnected" if unhealthy else b"ok" if self.path == "/healthz" else b"agent_metric 1\\n"
        self.send_response(503 if unhealthy else 200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def stop(*_):
    record("ended")
    sys.exit(0)


def main():
    signal.signal(signal.SIGTERM, stop)
    record("started", argv=sys.argv[1:], label=label[1].strip() if label else "")
    if behaviour in ("crash", "crash v" + VERSION) and not journal.with_name("fixed").exists():
        print("the agent exits", file=sys.stderr)
        sys.exit(7)
    while behaviour == "silent v" + VERSION:
        # A single pause would never end if the signal arrived immediately before it.
        time.sleep(0.1)
    if behaviour == "ignore-sigterm":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    server = http.server.ThreadingHTTPServer((flags["admin-host"], int(flags["admin-port"])), Handler)
    print("agent", VERSION, "listens", file=sys.stderr, flush=True)
    if label:
        print("agent label:", label[1], file=sys.stderr, flush=True)
        print("agent password:", *re.findall(r'"password": "(.*?)"', config), file=sys.stderr, flush=True)
    server.serve_forever(0.05)


main()
"""


def write_wheel(
    folder: Path, version: str, files: Mapping[str, str], *, name: str = "pipecd", entry_points: str = ""
) -> Path:
    """Write a wheel of `files` that pip can install. Returns its path."""
    info = f"{name}-{version}.dist-info"
    contents = {
        **files,
        f"{info}/entry_points.txt": entry_points,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        "Provides-Extra: aws\nProvides-Extra: gcp\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    rows = [f"{path},sha256={_record_hash(text)},{len(text.encode())}" for path, text in contents.items()]
    contents[f"{info}/RECORD"] = "\n".join([*rows, f"{info}/RECORD,,"]) + "\n"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name_in_archive, text in contents.items():
            archive.writestr(zipfile.ZipInfo(name_in_archive, (2020, 1, 1, 0, 0, 0)), text)
    return path


def _record_hash(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")


def publish(folder: Path, version: str, *extra_wheels: Path) -> Path:
    """Publish a release of the stub agent below `folder`, with its hashes. Returns the release's folder."""
    release = folder / version
    files = {"pipecd/__init__.py": "", "pipecd/__main__.py": AGENT.format(version=version.removeprefix("v"))}
    wheels = [write_wheel(release, version.removeprefix("v"), files), *extra_wheels]
    lines = [f"{hashlib.sha256(wheel.read_bytes()).hexdigest()}  {wheel.name}\n" for wheel in wheels]
    (release / "SHA256SUMS").write_text("".join(lines))
    return release
