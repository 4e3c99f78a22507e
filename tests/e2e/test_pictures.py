"""The pictures of docs/grafana.md are drawn by the repository's own tool, from a real daemon and a real Prometheus."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from monitor.config import shipped
from tests.e2e.conftest import environment

DASHBOARDS = sorted(file.stem for file in (shipped("grafana") / "dashboards").glob("*.json"))
PATIENCE_S = 240.0
SECONDS = "20"


@pytest.mark.slow
def test_every_panel_of_every_dashboard_is_drawn_from_data(tmp_path: Path, project_root: Path) -> None:
    if shutil.which("prometheus") is None:
        pytest.skip("not installed: prometheus")
    command = [sys.executable, "-m", "docs.tools.pictures", "--seconds", SECONDS, str(tmp_path)]
    done = subprocess.run(
        command, cwd=project_root, env=environment(), capture_output=True, text=True, check=False, timeout=PATIENCE_S
    )
    assert done.returncode == 0, done.stderr
    empty = json.loads(done.stdout)
    assert sorted(empty) == DASHBOARDS
    # The one panel that may be empty: whether anything keeps this machine's clock right is not ours to say.
    assert {title for titles in empty.values() for title in titles} <= {"Clock against its reference"}
    for name in DASHBOARDS:
        document = json.loads((shipped("grafana") / "dashboards" / f"{name}.json").read_text(encoding="utf-8"))
        drawn = ET.parse(tmp_path / f"{name}.svg").getroot()  # noqa: S314 - it was just drawn here
        texts = " ".join(text for text in drawn.itertext() if text)
        for panel in document["panels"]:
            assert panel["title"] in texts, f"{name}: {panel['title']}"
        assert "NaN" not in "".join(f"{one.attrib}" for one in drawn.iter())


def test_the_page_shows_each_dashboard(project_root: Path) -> None:
    page = (project_root / "docs" / "grafana.md").read_text(encoding="utf-8")
    shown = re.findall(r"\]\((pictures/\w+\.svg)\)", page)
    assert sorted(shown) == [f"pictures/{name}.svg" for name in DASHBOARDS]
    for picture in shown:
        ET.parse(project_root / "docs" / picture)  # noqa: S314 - our own


def test_pictures_hold_the_dashboards_as_they_are(project_root: Path) -> None:
    """A panel that was added or renamed is in the checked-in picture too, or the picture must be drawn again."""
    for name in DASHBOARDS:
        document = json.loads((shipped("grafana") / "dashboards" / f"{name}.json").read_text(encoding="utf-8"))
        drawn = ET.parse(project_root / "docs" / "pictures" / f"{name}.svg").getroot()  # noqa: S314 - our own
        texts = " ".join(text for text in drawn.itertext() if text)
        assert [panel["title"] for panel in document["panels"] if panel["title"] not in texts] == []
