"""The report in a real browser: nothing on its console, the 3D view draws and turns, nothing is wider than the page."""

import re
import shutil
import subprocess
from html import escape
from pathlib import Path

import pytest

from al_loop.report.page import ReportData, render_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PROBE = """<script>
addEventListener("load", () => {
  const noted = parent.document.documentElement.dataset;
  const canvas = document.getElementById("viewer");
  const picker = document.getElementById("frame-picker");
  const seen = () => canvas.toDataURL();
  const key = (name) => canvas.dispatchEvent(new KeyboardEvent("keydown", { key: name, cancelable: true }));
  const pictures = [seen()];
  key("ArrowRight"); pictures.push(seen());
  key("+"); pictures.push(seen());
  canvas.dispatchEvent(new WheelEvent("wheel", { deltaY: 200, cancelable: true })); pictures.push(seen());
  picker.value = "2"; picker.dispatchEvent(new Event("change")); pictures.push(seen());
  noted.pictures = new Set(pictures).size;
  noted.options = picker.options.length;
  noted.width = innerWidth;
  noted.beyond = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  noted.plots = [...document.images].filter((image) => image.naturalWidth > 300).length;
  noted.atoms = canvas.dataset.drawn;
});
</script></body>"""


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (apt-get install chromium)")
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_in_chromium(width: int, report_data: ReportData, tmp_path: Path) -> None:
    html = render_report(report_data).replace("</body>", PROBE)
    page = tmp_path / "page.html"
    # A window is at least 500 px wide, a frame as wide as it is told.
    frame = f'<iframe style="border:0" width="{width}" height="900" srcdoc="{escape(html)}"></iframe>'
    page.write_text(f"<!DOCTYPE html><meta charset='utf-8'><title>frame</title>{frame}", encoding="utf-8")
    dom, console = _opened(page)
    root = re.search(r"<html[^>]*>", dom)
    assert root is not None, console
    assert dict(re.findall(r'data-(\w+)="(\w+)"', root[0])) == {
        "pictures": "5",  # at first, turned, nearer, farther, and of another frame
        "options": "3",
        "width": str(width),
        "beyond": "0",
        "plots": "11",
        "atoms": "6",  # of methanol, on a sheet that is not blank
    }, console
    assert "CONSOLE" not in console


def _opened(page: Path) -> tuple[str, str]:
    """The page's DOM after its scripts ran, and what the browser logged."""
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--dump-dom"]
    command += [
        "--window-size=1400,1000",
        f"--user-data-dir={page.parent / 'profile'}",
        "--virtual-time-budget=8000",
    ]
    command += ["--enable-logging=stderr", "--log-level=0", page.as_uri()]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    return result.stdout, result.stderr
