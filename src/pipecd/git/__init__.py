"""Git through the `git` binary: one mirror per repository, one checkout per use, hidden credentials."""
