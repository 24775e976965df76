"""``python tests/window_scale.py [--runs N] [--steps N] [--events N]``.

The window on a log of many runs, one of them of many steps and events: how long the page takes to
show the list, to find in it, to open the run and to go to other moments of it, and how evenly its
lists scroll, in a real browser.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from playwright.sync_api import sync_playwright
from tools.web.conftest import Look, Window, chromium
from tools.web.large import many_runs, wide_run

SCROLL = """async (list) => {
  const element = document.querySelector(list);
  const frames = [];
  let last = performance.now();
  for (const end = last + 2000; last < end;) {
    element.scrollTop += 300;
    await new Promise(requestAnimationFrame);
    const now = performance.now();
    frames.push(now - last);
    last = now;
  }
  return [frames.length / 2, Math.max(...frames)];
}"""
"""Frames a second, and the longest one in milliseconds."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--events", type=int, default=100_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        window = Window(Path(folder))
        many_runs(window.log, given.runs)
        wide_run(window.log, given.steps // 3, progress=given.events // given.steps - 1)
        try:
            with sync_playwright() as driver:
                browser = driver.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
                measure(Look(browser.new_page()), window.open(), given.runs + 1)
                browser.close()
        finally:
            window.end()


def measure(look: Look, address: str, runs: int) -> None:
    """Print how long things take, in milliseconds."""
    page = look.page
    began = time.perf_counter()
    page.goto(address)
    page.locator("a.row").first.wait_for()
    tell("the list is there", began)
    began = time.perf_counter()
    page.get_by_role("searchbox").fill("training")
    look.until("n => document.querySelector('.filters').innerText.includes(`of ${n}`)", f"{runs:,}")
    tell("runs of a name found", began)
    page.get_by_role("searchbox").fill("")
    scroll(look, "the list of runs", ".runs .list")
    began = time.perf_counter()
    look.go("/run/wide")
    page.locator(".time").wait_for()
    tell("the run is there", began)
    head = look.until(
        "() => Number(/ of ([\\d,]+)/.exec(document.querySelector('.time .told').innerText)"
        "?.[1].replaceAll(',', '') ?? 0)"
    )
    tell("its whole history, too", began)
    taken = []
    for version in random.Random(1).sample(range(1, head), 20):
        began = time.perf_counter()
        look.seek(version)
        taken.append((time.perf_counter() - began) * 1000)
    print(
        f"another of {head:,} moments     {statistics.median(taken):6.0f}, at most {max(taken):.0f}"
    )
    page.get_by_role("button", name="now", exact=True).click()
    scroll(look, "its timeline", ".gantt .list")
    for view in ("steps", "events"):
        page.get_by_role("tab", name=view).click()
        page.locator(f".{view} .row").first.wait_for()
        scroll(look, f"its {view}", f".{view} .list")


def tell(what: str, began: float) -> None:
    print(f"{what:<28} {(time.perf_counter() - began) * 1000:6.0f}")


def scroll(look: Look, what: str, where: str) -> None:
    rate, longest = look.page.evaluate(SCROLL, where)
    print(f"{what:<28} {rate:6.0f} frames a second, the longest {longest:.0f}")


if __name__ == "__main__":
    main()
