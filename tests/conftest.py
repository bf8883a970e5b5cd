"""Settings that hold for all tests."""

import os
from collections import Counter

from hypothesis import HealthCheck, settings

# The texts of tests are English, whatever the machine speaks; tests of Chinese ask for it.
os.environ["LANG_COURSE"] = "en"

# No test fails for being slow on a busy machine. In CI the examples are the same at every run; at
# home they are new each time, so that somebody finds what nobody thought of.
settings.register_profile(
    "course",
    deadline=None,
    derandomize=bool(os.environ.get("CI")),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("course")


def pytest_terminal_summary(terminalreporter):
    """Print what was skipped, and why: the reasons say how to have it run."""
    reports = terminalreporter.stats.get("skipped", [])
    places = [report.longrepr for report in reports if isinstance(report.longrepr, tuple)]
    reasons = Counter(reason.removeprefix("Skipped: ") for _, _, reason in places)
    for reason, count in reasons.most_common():
        tests = "1 test was" if count == 1 else f"{count} tests were"
        terminalreporter.write_line(f"{tests} skipped: {reason}", yellow=True)
