"""Notifications of the agent: `notifier` takes the events of `model.notification`, `receivers` sends them."""
