"""Take the pictures of the web page again: `python docs/screenshots.py ZOO`, with playwright and Debian's chromium.

docs/figures/app-1280.png and app-400.png: the first flowchart target of a zoo, its first example asked about.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

from playwright.sync_api import sync_playwright

from zoo.store import Zoo

FIGURES = Path(__file__).parent / "figures"
WIDTHS = (1280, 400)
QUESTION = "document.querySelector('#wo-question textarea')"


def main(folder: Path) -> None:
    """Serve the page, ask, and take a picture at each width."""
    key = f"zoo#{Zoo.open(folder).rows(kind='flowchart')[0].id}"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "oracle.cli", "app", "--zoo", str(folder), "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        wait_for(port)
        with sync_playwright() as p:
            browser = p.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            for width in WIDTHS:
                page = browser.new_page(viewport={"width": width, "height": 900})
                page.goto(f"http://127.0.0.1:{port}")
                page.wait_for_selector("#wo-shape .wo-facts")
                page.click("#wo-target input")
                page.fill("#wo-target input", key)
                page.get_by_role("option").filter(has_text=key).click()
                page.wait_for_timeout(5000)
                example = page.locator("#wo-examples button").first
                asked = example.inner_text()
                example.click()
                page.wait_for_function(f"text => {QUESTION}.value === text", arg=asked)
                page.click("#wo-ask")
                page.wait_for_selector("#wo-rests .wo-parts")
                page.wait_for_timeout(1000)
                page.screenshot(path=FIGURES / f"app-{width}.png", full_page=True)
            browser.close()
    finally:
        process.terminate()
        process.wait(30)


def wait_for(port: int) -> None:
    """Until the page is served."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.5)
    raise SystemExit("the page was not served within two minutes")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
