"""Stop a process where it hurts, for tests of what is left behind."""

import os


def stop_at_rename(monkeypatch, number):
    """Raise KeyboardInterrupt in place of the n-th rename of a file."""
    real, calls = os.replace, []

    def replace(source, target):
        calls.append(target)
        if len(calls) == number:
            raise KeyboardInterrupt
        return real(source, target)

    monkeypatch.setattr(os, "replace", replace)
