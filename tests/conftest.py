"""What holds for every test: a property may take as long as a busy machine makes it."""

from hypothesis import HealthCheck, settings

# Otherwise an example that takes a fifth of a second, or slow making of examples, counts as a failure.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")
