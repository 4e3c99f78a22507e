"""The landing page: the version, the services with their verdicts, the links."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from importlib import resources
from typing import Any

from jinja2 import Environment, StrictUndefined

_FOLDER = "templates"
_POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


class Landing:
    """The page's template, read once. `policy` is its Content-Security-Policy: its own style by hash, nothing else."""

    def __init__(self) -> None:
        folder = resources.files("monitor.web") / _FOLDER
        self._style = (folder / "landing.css").read_text(encoding="utf-8")
        environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
        self._template = environment.from_string((folder / "landing.html").read_text(encoding="utf-8"))
        hashed = base64.b64encode(hashlib.sha256(self._style.encode()).digest()).decode()
        self.policy = f"{_POLICY}; style-src 'sha256-{hashed}'"

    def render(
        self,
        *,
        version: str,
        not_ready: str | None,
        status: Mapping[str, Any] | None,
        checkpoint: str | None = None,
    ) -> str:
        """The page; `status` is the document of `monitor.web.status`, None while the daemon is not ready."""
        return self._template.render(
            style=self._style,
            version=version,
            not_ready=not_ready,
            status=status,
            checkpoint=checkpoint,
        )
