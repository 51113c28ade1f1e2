"""Settings for all tests: Hypothesis has no time limits, because the machine may be busy."""

from hypothesis import HealthCheck, settings

# By default an example that takes 200 ms, or slow generation of examples, counts as a failure.
settings.register_profile("no_deadline", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("no_deadline")
