"""The job of ``make run``, to its end, with the figures it promises."""

from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml

from al_loop import Campaign

CONFIG = Path(__file__).parents[2] / "configs" / "quickstart.yaml"


@pytest.mark.long
def test_the_quickstart_learns_methanol(tmp_path):
    config = yaml.safe_load(CONFIG.read_text())
    config["folder"] = str(tmp_path / "run")
    for system in [*config["systems"], *config["hold_out"]["never_trained"]]:
        system["file"] = str(CONFIG.parent / system["file"])
    path = tmp_path / "quickstart.yaml"
    path.write_text(yaml.safe_dump(config))

    reports = list(Campaign.from_file(path).run())

    assert len(reports) >= 3
    last = reports[-1]
    assert last.held_out.force_mae_foundation / last.held_out.force_mae_served >= 5
    assert last.held_out.force_mae_served < reports[0].held_out.force_mae_served
    assert last.coverage is not None
    assert last.coverage_frames == 16
    assert set(last.never_trained) == {"ethanol"}
    assert all(report.labels_failed == 0 for report in reports)
    assert sum(report.labels_held_out for report in reports) == 36
    page = (tmp_path / "run" / "report.html").read_text()
    HTMLParser().feed(page)
    assert page.count("data:image/png;base64") >= 5
