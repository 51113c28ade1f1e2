"""`python -m docsite reference` rewrites the pages; `python -m docsite site DIRECTORY` collects the site."""

import sys
from pathlib import Path

from docsite import reference, site

ROOT = Path(__file__).parents[1]


def main(arguments: list[str]) -> None:
    match arguments:
        case ["reference"]:
            for path in reference.write(ROOT):
                print(path)
        case ["site", directory]:
            site.collect(ROOT, Path(directory))
        case _:
            sys.exit(str(__doc__))


main(sys.argv[1:])
