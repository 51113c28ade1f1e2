"""The event watcher: writes the data of registered events into files in Git."""
