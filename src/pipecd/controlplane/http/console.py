"""Serves the console: `/assets/*` with an immutable cache, every other path as the single-page application.

The files come from the package (`pipecd/console`, created by the build) or from `--static-dir`.
"""

import asyncio
import os.path
from contextlib import suppress
from pathlib import Path

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, PlainTextResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

BUILT_CONSOLE = Path(__file__).parents[2] / "console"
_NOT_BUILT = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>PipeCD</title></head>
<body><h1>The console was not built</h1>
<p>The control plane is running; only the console is missing. In a clone of the repository run
<code>make console</code>, then reload. Packages installed with <code>pip</code> contain the console.</p>
</body></html>
"""


class Assets(StaticFiles):
    """Files whose names contain a hash of their contents, so that they can be cached indefinitely.

    The build writes a gzipped copy (`….gz`) of each script and style sheet, which is sent to browsers.
    """

    async def get_response(self, path: str, scope: Scope) -> Response:
        if "\0" in path:  # The functions of the operating system raise ValueError.
            raise HTTPException(404)
        compressed = False
        if "gzip" in Headers(scope=scope).get("accept-encoding", ""):
            with suppress(OSError):  # Such as for a path that is too long, which is answered with 404.
                _, copy = await asyncio.to_thread(self.lookup_path, f"{path}.gz")
                compressed = copy is not None
        response = await super().get_response(f"{path}.gz" if compressed else path, scope)
        if response.status_code == 200:
            response.headers["cache-control"] = "public, max-age=31536000, immutable"
            response.headers["vary"] = "accept-encoding"
            if compressed:
                response.headers["content-encoding"] = "gzip"
        return response


class Pages:
    """The single-page application in `root`."""

    def __init__(self, root: Path) -> None:
        self._root = root

    async def page(self, request: Request) -> Response:
        """The file in `root` that the path names, otherwise `index.html`."""
        name = request.path_params["path"]
        # Unlike that of pathlib, this `isfile` takes every name.
        if name and "/" not in name and not name.startswith(".") and os.path.isfile(self._root / name):  # noqa: PTH113
            return FileResponse(self._root / name, headers={"cache-control": "no-cache"})
        if name.startswith(("api/", "hooks/", "auth/", "assets/")):
            return PlainTextResponse("not found", status_code=404)
        index = self._root / "index.html"
        if not index.is_file():
            return HTMLResponse(_NOT_BUILT, status_code=503)
        return FileResponse(index, headers={"cache-control": "no-cache"})
