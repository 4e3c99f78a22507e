"""Which kinds of checks need more rights under systemd than the unit gives, and which drop-in gives them."""

from __future__ import annotations

from monitor.config import Settings

DROP_INS = {
    "browser": "runs a browser",
    "exec": "runs other programs",
    "icmp": "opens raw sockets",
}
"""The kinds, each with what the unit alone forbids it; `systemd/<kind>.conf` allows that and says what it costs."""


def needed(settings: Settings) -> list[str]:
    """The kinds that are configured and need a drop-in, sorted."""
    used = {
        step.kind
        for service in settings.services
        for check in service.checks
        for step in (*check.transaction.steps, *check.transaction.finally_)
    }
    return sorted(used & DROP_INS.keys())


def said(kind: str) -> str:
    """What to do for a kind, in one line."""
    return (
        f"under systemd, a check of kind {kind} needs the drop-in systemd/{kind}.conf in "
        f"/etc/systemd/system/jaga.service.d/: it {DROP_INS[kind]}"
    )
