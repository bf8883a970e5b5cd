"""Settings that hold for all tests."""

import os

from hypothesis import HealthCheck, settings

# No test fails for being slow on a busy machine. In CI the examples are the same at every run; at
# home they are new each time, so that somebody finds what nobody thought of.
settings.register_profile(
    "course",
    deadline=None,
    derandomize=bool(os.environ.get("CI")),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("course")
