"""Those who run the services are told where to read on; partners are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from monitor.messages import Kind
from monitor.messages.links import RUNBOOKS, Links

PAGE = Links(page="https://jaga.example.id")
WIKI = Links(runbooks="https://wiki.example.id/{runbook}.html")


@pytest.mark.parametrize(
    ("links", "kind", "fields", "expected"),
    [
        (PAGE, Kind.BLIND, {}, ["https://jaga.example.id/"]),
        (PAGE, Kind.DEGRADED, {"service": "portal"}, ["https://jaga.example.id/#service-portal"]),
        (PAGE, Kind.ESCALATION, {"service": "portal", "incident": "i-1"}, ["https://jaga.example.id/#incident-i-1"]),
        (WIKI, Kind.BLIND, {}, ["https://wiki.example.id/SlaServiceUnknown.html"]),
        (WIKI, Kind.RECOVERED, {"service": "portal", "incident": "i-1"}, None),
        (Links(), Kind.DOWN, {"service": "portal", "incident": "i-1"}, None),
        # Both may be addresses of the house, which a partner can not reach.
        (PAGE, Kind.MAINTENANCE_ANNOUNCED, {"service": "portal", "partner": "acme"}, None),
        (PAGE, Kind.DISRUPTION, {"service": "portal"}, None),
        (PAGE, Kind.PLAN, {"service": "portal", "incident": "i-1"}, None),
    ],
)
def test_links_are_as_far_as_they_are_configured(
    links: Links, kind: Kind, fields: dict[str, str], expected: list[str] | None
) -> None:
    added = links.added(kind.value, fields)
    assert added.get("links") == expected
    assert {name: value for name, value in added.items() if name != "links"} == fields


def test_every_runbook_that_is_linked_is_there(project_root: Path) -> None:
    known = {file.stem for file in (project_root / "docs" / "runbooks").glob("*.md")}
    assert set(RUNBOOKS.values()) <= known
