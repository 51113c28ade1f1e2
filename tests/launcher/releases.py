"""Releases of small agents: real wheels, with real hashes, whose agent does what its configuration says.

The agent answers on its admin port as the real one does, and writes down each of its lives.
"""

import base64
import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path

#: Understands the few flags that the launcher gives; `behaviour` in the configuration is one of
#: `well`, `stubborn`, `crash`, `crash <version>` and `silent <version>`. A file `mended` beside its journal
#: ends the crashes.
AGENT = """
import http.server, json, os, re, signal, sys, threading, time
from pathlib import Path

VERSION = "{version}"
flags = dict(part.removeprefix("--").split("=", 1) for part in sys.argv[2:] if "=" in part)
config = Path(flags["config-file"]).read_text()
journal = Path(re.search(r"journal: (.*)", config)[1].strip())
behaviour = re.search(r"behaviour: (.*)", config)[1].strip()
said = re.search(r"said: (.*)", config)


def note(event, **more):
    with journal.open("a") as file:
        file.write(json.dumps({{"event": event, "version": VERSION, "pid": os.getpid(), **more}}) + "\\n")


class Pages(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/restart":
            threading.Thread(target=lambda: (note("ended"), os._exit(0))).start()
        if self.path == "/crash":
            os._exit(3)
        unwell = journal.with_name("unwell").exists()
        body = b"out of touch" if unwell else b"ok" if self.path == "/healthz" else b"agent_metric 1\\n"
        self.send_response(503 if unwell else 200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def stop(*_):
    note("ended")
    sys.exit(0)


def main():
    signal.signal(signal.SIGTERM, stop)
    note("started", argv=sys.argv[1:], config=said[1].strip() if said else "")
    if behaviour in ("crash", "crash v" + VERSION) and not journal.with_name("mended").exists():
        print("the agent gives up", file=sys.stderr)
        sys.exit(7)
    while behaviour == "silent v" + VERSION:
        # One pause alone would go on for ever if the signal came right before it.
        time.sleep(0.1)
    if behaviour == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    server = http.server.ThreadingHTTPServer((flags["admin-host"], int(flags["admin-port"])), Pages)
    print("agent", VERSION, "answers", file=sys.stderr, flush=True)
    if said:
        print("the agent says", said[1], file=sys.stderr, flush=True)
        print("the agent writes", *re.findall(r'"password": "(.*?)"', config), file=sys.stderr, flush=True)
    server.serve_forever(0.05)


main()
"""


def wheel(
    folder: Path, version: str, files: Mapping[str, str], *, name: str = "pipecd", entry_points: str = ""
) -> Path:
    """A wheel of `files`, as pip takes it."""
    info = f"{name}-{version}.dist-info"
    contents = {
        **files,
        f"{info}/entry_points.txt": entry_points,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        "Provides-Extra: aws\nProvides-Extra: gcp\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    rows = [f"{path},sha256={_record(text)},{len(text.encode())}" for path, text in contents.items()]
    contents[f"{info}/RECORD"] = "\n".join([*rows, f"{info}/RECORD,,"]) + "\n"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for inside, text in contents.items():
            archive.writestr(zipfile.ZipInfo(inside, (2020, 1, 1, 0, 0, 0)), text)
    return path


def _record(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")


def publish(folder: Path, version: str, *more: Path) -> Path:
    """A release of the small agent below `folder`, with its list of hashes; the release's folder."""
    release = folder / version
    files = {"pipecd/__init__.py": "", "pipecd/__main__.py": AGENT.format(version=version.removeprefix("v"))}
    made = [wheel(release, version.removeprefix("v"), files), *more]
    lines = [f"{hashlib.sha256(one.read_bytes()).hexdigest()}  {one.name}\n" for one in made]
    (release / "SHA256SUMS").write_text("".join(lines))
    return release
