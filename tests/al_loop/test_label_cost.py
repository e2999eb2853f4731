from pathlib import Path

import pytest

from al_loop.tools.preflight.label_notes import LabelCost, label_cost
from al_loop.tools.preflight.load_config import load_config
from dft_interfaces.engines import build_engine

CONFIG = Path(__file__).parents[2] / "configs" / "quickstart.yaml"


def test_all_labels_of_a_campaign_are_counted_and_every_structure_is_asked_for():
    config = load_config(CONFIG)
    engine = build_engine(config.label.engine)
    cost = label_cost(config, engine)
    assert cost.labels == 16 + 16 + 4 + 4 * 12
    assert list(cost.seconds) == ["methanol", "ethanol"]
    assert 0 < cost.seconds["methanol"] < cost.seconds["ethanol"]
    assert cost.too_long == []


def test_a_structure_that_exceeds_the_time_limit_is_named():
    cost = LabelCost({"slab": 7200.0, "atom": 0.2}, labels=10, time_limit_s=3600.0, cores=4)
    assert cost.core_hours == pytest.approx(10 * 3600.1 * 4 / 3600)
    assert cost.too_long == ["slab"]
    assert "slab 2.0 h" in str(cost)
    assert "atom 0.2 s" in str(cost)
    assert "time_s (3600 s): slab" in str(cost)
