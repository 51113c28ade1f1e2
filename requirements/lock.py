"""Pins every dependency with hashes, one file a purpose. No file names where packages come from.

Run by `make lock`. Files: build (what builds the package), run (the quickstart), dev (and the tests), agent,
agent-terraform and server (the images), console (Node, where the machine has none).
"""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
FILES = {
    "build": ("--only-group", "build"),
    "run": ("--extra", "quickstart"),
    "agent": ("--extra", "aws", "--extra", "gcp"),
    "agent-terraform": ("--extra", "aws", "--extra", "gcp", "--extra", "terraform"),
    "server": ("--extra", "postgres"),
    "aws": ("--extra", "aws-emulator"),
    "dev": ("--all-extras", "--group", "dev"),
    "console": ("--only-group", "console"),
}


def main() -> None:
    for name, wanted in FILES.items():
        only = [word for word in wanted if word != "--only-group"]
        source = ["--group", only[0]] if "--only-group" in wanted else ["pyproject.toml", *wanted]
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
