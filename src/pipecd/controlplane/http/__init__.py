"""The HTTP port: pages, sign-in, webhooks."""
