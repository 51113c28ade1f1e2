"""Generates the reference pages from the code, and prepares the documentation site.

Run by `make docs-reference` and `make docs`. `configuration`, `metrics`, `rpcs` and `commands` each return
pages as text; `reference` writes and compares them. `site` collects all Markdown files of the repository for
the site generator, and `links` checks the links between them. Not part of the package.
"""
