"""A server for the tests that look at a page in a real browser."""

import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import contextmanager

from tools.lessons.outputs import ROOT

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
WAIT = 240_000  # milliseconds: for a busy machine; nothing here says how long anything takes


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
            for sign in (signal.SIGINT, signal.SIGTERM):
                if server.poll() is None:
                    os.killpg(server.pid, sign)
                    time.sleep(0.5)
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(server.pid, signal.SIGKILL)
                server.wait()
