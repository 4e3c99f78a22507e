"""What may be asked of a running daemon over its control socket: decisions, backups, a reload, a sign of life."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from monitor.app.adopt import Insistence
from monitor.app.backup import Backups
from monitor.app.process import Reread
from monitor.core.wire import write_fact
from monitor.ledger.act import Done
from monitor.ledger.command import Command, CommandError, read_command
from monitor.ledger.decide import Refused
from monitor.sealing.keys import KeyFileError
from monitor.storage import StoreError

KNOWN = ("decide", "backup", "backup state", "reload", "replace key", "erase", "ping")


class Decides(Protocol):
    """`Daemon.decide`."""

    def __call__(self, command: Command, *, by: str, over_closed: bool = False) -> Awaitable[Done | Refused]:
        """Carry a decision out."""


class ReplacesKey(Protocol):
    """`Rounds.replace_key`."""

    def __call__(self, *, by: str, lost: bool, note: str | None = None) -> Awaitable[str]:
        """Put a new signing key in the place of the one in force; its public line."""


class Erases(Protocol):
    """`Daemon.erase`."""

    def __call__(self, reference: str, *, by: str, note: str | None = None) -> Awaitable[Refused | None]:
        """Erase personal data: gone when this returns."""


class Commands:
    """Answers requests of the control socket: one JSON object in, one out.

    `reload` gives `kept`, the services that keep their lists because they are not UP, or `refused` with the reason;
    `while_down` with a `reason` takes their new lists too. `decide` gives `recorded` (facts as written) and `remarks`,
    or `refused` with the reason; anything that could not be done is an `error`. The author is `by` where it is given,
    else the login of whoever asks, by the kernel's word. `backup` begins one to `path`; `backup state` is asked until
    it has ended.
    """

    def __init__(
        self,
        decide: Decides,
        *,
        backups: Backups,
        reload: Callable[[Insistence | None], Awaitable[Reread]],
        replace_key: ReplacesKey,
        erase: Erases,
        not_ready: Callable[[], str | None],
    ) -> None:
        self._decide = decide
        self._backups = backups
        self._replace_key = replace_key
        self._erase = erase
        self._reload = reload
        self._not_ready = not_ready

    async def handle(self, request: Mapping[str, Any], login: str) -> dict[str, Any]:
        """The answer to one request of `login`; ValueError where it makes no sense."""
        match request.get("do"):
            case "decide":
                return await self._decided(request, login)
            case "backup":
                return self._begun(request)
            case "backup state":
                return await self._backups.state()
            case "reload":
                done = await self._reload(_insistence(request, login))
                return {"reloaded": True, "kept": list(done.kept)} if done.why is None else {"refused": done.why}
            case "replace key":
                return await self._replaced(request, login)
            case "erase":
                return await self._erased(request, login)
            case "ping":
                return {"pid": os.getpid(), "not_ready": self._not_ready()}
            case other:
                msg = f"nothing is known of {other!r}; there are {', '.join(KNOWN)}"
                raise ValueError(msg)

    def _begun(self, request: Mapping[str, Any]) -> dict[str, Any]:
        path = request.get("path")
        if not isinstance(path, str) or not path or "\0" in path:
            msg = "a backup needs the path to write to"
            raise ValueError(msg)
        self._backups.begin(Path(path), personal=request.get("personal") is not False)
        return {"begun": path}

    async def _replaced(self, request: Mapping[str, Any], login: str) -> dict[str, Any]:
        by, note = _author_and_note(request, login)
        try:
            return {"key": await self._replace_key(by=by, lost=request.get("lost") is True, note=note)}
        except (KeyFileError, StoreError) as error:
            return {"error": str(error)}

    async def _erased(self, request: Mapping[str, Any], login: str) -> dict[str, Any]:
        by, note = _author_and_note(request, login)
        try:
            refused = await self._erase(str(request.get("of")), by=by, note=note)
        except StoreError as error:
            return {"error": str(error)}
        return {"erased": True} if refused is None else {"refused": refused.reason}

    async def _decided(self, request: Mapping[str, Any], login: str) -> dict[str, Any]:
        written, named = request.get("command"), request.get("by")
        if not isinstance(written, Mapping):
            msg = "a decision needs its command"
            raise CommandError(msg)
        if named is not None and not isinstance(named, str):
            msg = "by is a name"
            raise CommandError(msg)
        command = read_command(written)
        try:
            done = await self._decide(command, by=named or login, over_closed=request.get("over_closed") is True)
        except StoreError as error:
            return {"error": str(error)}
        if isinstance(done, Refused):
            return {"refused": done.reason}
        return {"recorded": [write_fact(entry.fact) for entry in done.entries], "remarks": list(done.remarks)}


def _insistence(request: Mapping[str, Any], login: str) -> Insistence | None:
    named, reason = request.get("by"), request.get("reason")
    if request.get("while_down") is not True:
        return None
    if not isinstance(reason, str) or not reason.strip():
        msg = "a list that changes while its service is not up needs its reason"
        raise ValueError(msg)
    if named is not None and not isinstance(named, str):
        msg = "by is a name"
        raise ValueError(msg)
    return Insistence(by=named or login, reason=reason.strip())


def _author_and_note(request: Mapping[str, Any], login: str) -> tuple[str, str | None]:
    by, note = request.get("by") or login, request.get("note")
    if not isinstance(by, str) or not isinstance(note, str | None):
        msg = "by and note are texts"
        raise CommandError(msg)
    return by, note
