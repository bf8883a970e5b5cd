"""How soon a change is on screen in the explorer, method by method, on BeetleNet at 64 pixels.

Serves the app as `make explorer` does, opens it in Chromium, and on fresh beetles (so that nothing
was computed before) takes the horn away: milliseconds from the click to the next frame after the
new pictures are in the page. Printed: median and largest of some beetles. On a machine that does
nothing else:

    OMP_NUM_THREADS=2 .venv/bin/python benchmarks/explorer.py

With `--picture docs/explorer.png` it takes the README's picture instead; with LANG_COURSE=zh the
Chinese one, docs/explorer.zh-CN.png. Needs what the tests need.
"""

from __future__ import annotations

import argparse
import io
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from xai_course.core.translation import translate
from xai_course.methods import METHODS

ROOT = Path(__file__).resolve().parent.parent
PORT = 8869

# Does something, and returns the milliseconds until the pictures have changed and are painted.
UNTIL_SHOWN = """async ([find, value]) => {
    const element = document.querySelector(find);
    const view = document.querySelector('.bx-pictures-view');
    const shown = new Promise(resolve => new MutationObserver((_, observer) => {
        observer.disconnect();
        requestAnimationFrame(() => setTimeout(() => resolve(performance.now())));
    }).observe(view, {childList: true, subtree: true, characterData: true}));
    const start = performance.now();
    if (value === null) element.click();
    else {
        element.value = value;
        for (const name of ['input', 'change'])
            element.dispatchEvent(new Event(name, {bubbles: true}));
    }
    return await shown - start;
}"""


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--beetles", type=int, default=9, help="beetles for each method")
    parser.add_argument("--picture", type=Path, help="write a picture of the app, and end")
    arguments = parser.parse_args()
    command = [sys.executable, "-m", "voila", "apps/explorer.ipynb", "--no-browser"]
    command += ["--Voila.config_file_paths=apps", f"--port={PORT}"]
    server = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_for_server(server)
        with sync_playwright() as play:
            browser = play.chromium.launch(
                executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
            )
            page = browser.new_page(
                viewport={"width": 1180, "height": 1100}, device_scale_factor=1.5
            )
            page.set_default_timeout(120_000)
            page.goto(f"http://localhost:{PORT}/")
            page.wait_for_selector(".bx-pictures img")
            if arguments.picture:
                take_picture(page, arguments.picture)
            else:
                print_table(page, arguments.beetles)
            browser.close()
    finally:
        server.terminate()
        server.wait()


def wait_for_server(server: subprocess.Popen[bytes]) -> None:
    """Return when the server answers."""
    for _ in range(600):
        try:
            socket.create_connection(("localhost", PORT)).close()
            return
        except ConnectionError:
            if server.poll() is not None:
                raise SystemExit("Voila ended; is it installed (make explorer)?") from None
            time.sleep(0.2)
    raise SystemExit("Voila does not answer.")


def take_picture(page: Page, path: Path) -> None:
    """Photograph the app with the horn away, in 256 colours."""
    page.get_by_label(translate("horn"), exact=True).click()
    page.locator(".bx-pictures img").nth(3).wait_for()  # beetle and map, before and after
    box = page.locator(".bx-classes-view").bounding_box()
    assert box is not None
    clip = {"x": 0, "y": 8, "width": 1180, "height": box["y"] + box["height"]}
    picture = Image.open(io.BytesIO(page.screenshot(clip=clip))).convert("RGB")
    picture.quantize(256, Image.Quantize.FASTOCTREE).save(path, "PNG", optimize=True)


def print_table(page: Page, beetles: int) -> None:
    """Measure every method."""
    print(f"{'':24}{'another beetle':>22}{'no horn':>22}")
    print(f"{'milliseconds':24}{'median':>12}{'largest':>10}{'median':>12}{'largest':>10}")
    for method in METHODS:
        print(line(page, method, beetles), flush=True)


def line(page: Page, method: str, beetles: int) -> str:
    """Measure one method on fresh beetles; return a line of the table."""
    page.locator(".bx-method select").select_option(method)
    time.sleep(3)
    other, gone = [], []
    first = 10_000 + 1000 * list(METHODS).index(method)
    for seed in range(first, first + beetles):
        other.append(page.evaluate(UNTIL_SHOWN, [".bx-seed input", str(seed)]))
        time.sleep(0.3)
        gone.append(page.evaluate(UNTIL_SHOWN, [".bx-has-horn input", None]))
        time.sleep(0.3)
        page.locator(".bx-has-horn input").click()
        time.sleep(0.5)
    columns = "".join(f"{median(row):12.0f}{max(row):10.0f}" for row in (other, gone))
    return f"{method:24}{columns}"


if __name__ == "__main__":
    main()
