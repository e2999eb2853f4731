"""One HTML file that stands alone, shows everything, and trusts no string."""

import base64
import dataclasses
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from al_loop.cli.round_table import print_round
from al_loop.records import ErrorFigures, RoundReport
from al_loop.report.figures import learning_curve, verdict_bars
from al_loop.report.page import ReportData, render_report, write_report
from al_loop.report.scatter import force_parity, uncertainty_against_error
from al_loop.report.tables import coverage_interval

VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """Collects what a browser would see, and insists that tags are balanced."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.images: list[str] = []
        self.links: list[str] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if tag == "img" and name == "src":
                self.images.append(value or "")
            elif name in {"src", "href"}:
                self.links.append(value or "")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def test_the_page_is_whole_and_stands_alone(report_data: ReportData, tmp_path: Path) -> None:
    path = write_report(report_data, tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]
    page = Page(path.read_text(encoding="utf-8"))
    assert page.links == []
    assert len(page.images) == 11
    for source in page.images:
        data = base64.b64decode(source.removeprefix("data:image/png;base64,"))
        with Image.open(io.BytesIO(data)) as image:
            assert image.format == "PNG"
            assert np.asarray(image.convert("L")).std() > 5  # not a blank sheet
    for expected in (
        "0.0310",  # served force MAE
        "8.1×",  # better than the foundation
        "94 %",
        "72–99 %",  # Wilson interval of 15 of 16
        "SCF not converged after 100 cycles & <more>",
        "2026-01-02 03:04:05",
        "1 of 12 trusted test frames",
        "Frames are trusted up to a force uncertainty of 0.05 eV/Å",
        "1 1 0.7500 0.2500",  # the random audit of round 1
        "promoted in round 0, served now",
        "rejected; the model of round 0 stays",
        "1 33.3 33.3 33.3 33.3 1 ",  # one calculation, and what it cost for nothing
        "close contact: 0.31 of radii",
        "bulk modulus",
        "round 2 is open",
    ):
        assert expected in page.text


def test_the_guarantee_is_counted_by_condition(report_data: ReportData) -> None:
    counts = {"calibration_frames": 7, "frames": 12, "trusted": 9, "exceeding": 1, "upper_bound": 0.43}
    last = report_data.rounds[-1]
    guarantee = {**last.guarantee, "by_condition": {"copper/900K": counts}}
    rounds = [*report_data.rounds[:-1], dataclasses.replace(last, guarantee=guarantee)]
    page = Page(render_report(dataclasses.replace(report_data, rounds=rounds)))
    assert "copper/900K 7 12 9 1 43 %" in page.text
    console = Console(width=160, record=True, file=io.StringIO())
    print_round(rounds[-1], console)
    assert re.search(r"copper/900K +7 +12 +9 +1 +43%", console.export_text())


def test_data_cannot_become_markup(report_data: ReportData, hostile: str) -> None:
    html = render_report(report_data)
    page = Page(html)
    assert page.seen.count("script") == 2  # the viewer and its frames
    assert html.count("</script>") == 2
    assert hostile not in html
    assert page.text.count(hostile) >= 5  # twice never trained, a failure, an event, the config


def test_credentials_do_not_show(report_data: ReportData) -> None:
    html = render_report(report_data)
    assert "hunter2" not in html
    assert "mongodb://***@host/db" in html


def test_a_campaign_without_results(report_data: ReportData) -> None:
    page = Page(render_report(ReportData(report_data.config, [])))
    assert page.images == []
    assert "No round is finished yet" in page.text
    assert "No frame is quarantined" in page.text


def test_a_first_round_without_uncertainties(report_data: ReportData) -> None:
    arrays = {**report_data.evaluation}
    for key in ("forces_uncertainty", "max_force_uncertainty", "uncertainty", "latent_distance"):
        arrays[key] = np.full_like(arrays[key], np.nan)
    first = dataclasses.replace(report_data.rounds[0], coverage=None, coverage_frames=0, guarantee={}, held_out=None)
    page = Page(render_report(dataclasses.replace(report_data, rounds=[first], evaluation=arrays)))
    assert "not trained yet" in page.text
    assert "No probability: no served model is calibrated yet." in page.text
    assert "not enough labels yet" in page.text


def test_an_older_report_is_replaced(report_data: ReportData, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("old")
    assert write_report(report_data, tmp_path).read_text() != "old"


def test_figures_show_nothing_where_there_is_nothing(report: RoundReport) -> None:
    empty = dataclasses.replace(report, held_out=None, frames=0)
    assert learning_curve([empty], "force_mae", "Forces", "eV/Å") is None
    assert verdict_bars([empty]) is None
    arrays = {"role": np.array([1]), "frame_index": np.array([0])}
    assert force_parity(arrays) is None
    sigma = {"uncertainty": np.array([np.nan]), "max_force_error": np.array([0.1]), "role": np.array([0])}
    assert uncertainty_against_error(sigma, 0.15, None) is None


def test_errors_of_nothing_but_zero_are_drawn(report: RoundReport) -> None:
    """A lone atom has no forces to be wrong about; warnings would be errors here."""
    perfect = dataclasses.replace(report, held_out=ErrorFigures(2, 0.0, 0.0, 0.0, 0.0))
    assert learning_curve([perfect], "force_mae", "Forces", "eV/Å") is not None


def test_figures_survive_non_finite_numbers(report: RoundReport) -> None:
    diverged = dataclasses.replace(report.held_out, force_mae_served=float("nan"))
    image = learning_curve([report, dataclasses.replace(report, held_out=diverged)], "force_mae", "Forces", "eV/Å")
    assert image is not None
    assert image.startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("covered", "frames", "low", "high"),
    [(15, 16, 0.71671, 0.98888), (10, 10, 0.72247, 1.0), (0, 9, 0.0, 0.29915), (83, 100, 0.74452, 0.89106)],
)
def test_the_interval_of_the_coverage(covered: int, frames: int, low: float, high: float, report: RoundReport) -> None:
    """E. B. Wilson, J. Am. Stat. Assoc. 22, 209 (1927)."""
    interval = coverage_interval(dataclasses.replace(report, coverage=covered / frames, coverage_frames=frames))
    assert interval == pytest.approx((low, high), abs=1e-5)


def test_no_interval_before_there_is_a_coverage(report: RoundReport) -> None:
    assert coverage_interval(dataclasses.replace(report, coverage=None, coverage_frames=0)) is None


def test_the_report_and_the_terminal_count_each_check_by_itself(report_data: ReportData, report: RoundReport) -> None:
    assert '<td class="n">106</td><td class="n">4</td><td class="n">10</td>' in render_report(report_data)
    console = Console(width=160, record=True, file=io.StringIO())
    print_round(report, console)
    shown = console.export_text()
    assert "each check on its own" in shown
    assert re.search(r"latent distance +79 +31 +0", shown)
    print_round(dataclasses.replace(report, checks={}), console)  # nothing was checked
    assert "each check on its own" not in console.export_text()
