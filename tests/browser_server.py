"""A real browser for tests, where the system has one, and a server for it to open."""

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import contextmanager

import pytest

from tools.lessons.outputs import ROOT

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")  # Debian's first
CHROMIUM = next((path for path in map(shutil.which, NAMES) if path), None)
WAIT = 240_000  # milliseconds: for a busy machine; nothing here says how long anything takes

if CHROMIUM is None:
    MISSING = "no Chromium for browser tests; `apt-get install chromium` installs it on Debian"
elif importlib.util.find_spec("playwright") is None:
    MISSING = "Playwright is not installed; `make test` installs it"
else:
    MISSING = ""
needs_browser = pytest.mark.skipif(bool(MISSING), reason=MISSING)


@contextmanager
def chromium():
    """The browser of the system, without a window."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield browser
        browser.close()


def free_port():
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return opened.getsockname()[1]


@contextmanager
def served(command, port, log):
    """Run a server until the test is over; it and its kernels end together."""
    with log.open("wb") as output:
        server = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            end = time.monotonic() + WAIT / 1000
            while True:
                try:
                    socket.create_connection(("localhost", port)).close()
                    break
                except ConnectionError:
                    assert server.poll() is None, log.read_text()
                    assert time.monotonic() < end, log.read_text()
                    time.sleep(0.2)
            yield
        finally:
            for sign in (signal.SIGTERM, signal.SIGINT):
                if server.poll() is None:
                    os.killpg(server.pid, sign)
                    time.sleep(0.5)
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(server.pid, signal.SIGKILL)
                server.wait()
