"""Notifications: `notifier` delivers the events of `model.notification` to the functions in `sinks`."""
