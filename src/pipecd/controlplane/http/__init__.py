"""The HTTP port: console, sign-in and webhooks."""
