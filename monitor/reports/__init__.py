"""Statements as people read them: text, CSV, HTML. Every format is a view of the same JSON object."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

Document = Mapping[str, Any]


def file_name(document: Document, extension: str) -> str:
    """`SLA-2026-10-acme-portal-v1.html`, from the statement's ids; nothing in it can leave its folder."""
    parts = (document["period"]["month"], document["partner"]["id"], document["service"]["id"])
    safe = "-".join(re.sub(r"[^A-Za-z0-9._-]", "_", str(part)) for part in parts)
    return f"SLA-{safe}-v{document['version']}.{extension}"
