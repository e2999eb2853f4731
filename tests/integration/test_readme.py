"""The README's Python is run as it stands, on a campaign that takes seconds."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from campaigns import SEVENNET

pytestmark = pytest.mark.long

README = Path(__file__).parents[2] / "README.md"


def test_ten_lines_of_python(small_campaign, tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    assert len([line for line in code.splitlines() if line]) <= 10
    campaign = small_campaign(foundation=SEVENNET)
    assert '"configs/quickstart.yaml"' in code
    assert '"configs/structures/methanol.xyz"' in code
    code = code.replace("configs/quickstart.yaml", str(campaign.config))
    code = code.replace("configs/structures/methanol.xyz", str(tmp_path / "copper.cif"))

    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env=campaign.environment(),
        cwd=tmp_path,
    )

    assert result.returncode == 0, result.stderr
    first, last = result.stdout.strip().split("\n", 1)
    assert first.startswith("0 5 ")
    assert "[" in last
