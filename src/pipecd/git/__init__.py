"""Git by the `git` binary: one mirror a repository, one worktree a use, credentials out of sight."""
