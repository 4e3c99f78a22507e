"""Who may see and do what: the rule of each route, held against the token or the password that a request brings.

Nothing is open by default. A route says that it is public, or which scope it asks for; without either there is none.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

import structlog
from aiohttp import web

from monitor.web.passwords import BusyError, Passwords
from monitor.web.peers import FAILURES, FAILURES_PER_S, Allowance
from monitor.web.problems import ProblemError
from monitor.web.tokens import Scope, Token, TokenFileError, Tokens

MAX_CREDENTIALS = 1024
"""The longest `Authorization` that is looked at."""

ALWAYS_OPEN = frozenset({"/-/healthy", "/-/ready"})
"""What a service manager asks; no password is asked for it."""

CALLER = web.RequestKey("caller", Token)

_log = structlog.get_logger("jaga.web")


@dataclass(frozen=True, slots=True)
class Rule:
    """What a route asks for: `scope` None is public. `partners`: whether a partner's token may, for its own."""

    scope: Scope | None
    partners: bool = False


class Guard:
    """Holds requests against rules. `now_us` is the clock's, `now_s` a monotonic one."""

    def __init__(
        self,
        tokens: Tokens,
        passwords: Passwords | None,
        *,
        now_us: Callable[[], int],
        now_s: Callable[[], float],
    ) -> None:
        self.passwords = passwords
        self._tokens = tokens
        self._now_us = now_us
        self._failures = Allowance(FAILURES_PER_S, FAILURES, now_s)

    async def admit(self, request: web.Request, rule: Rule | None, peer: str) -> None:
        """Let a request pass, with its token as CALLER; ProblemError (401, 403, 429, 503) where it may not.

        `rule` is None for what there is no route for: a password is asked for that too, where one is asked for at all.
        """
        if request.path in ALWAYS_OPEN or (self.passwords is None and (rule is None or rule.scope is None)):
            return
        scheme, _space, credentials = request.headers.get("Authorization", "").partition(" ")
        if len(credentials) > MAX_CREDENTIALS:
            raise ProblemError(HTTPStatus.BAD_REQUEST, f"Authorization is longer than {MAX_CREDENTIALS} characters")
        token = self._token(credentials.strip(), peer) if scheme.lower() == "bearer" else None
        if token is None and self.passwords is not None:
            await self._by_password(self.passwords, credentials if scheme.lower() == "basic" else None, peer)
        if rule is None or rule.scope is None:
            return
        if token is None:
            raise ProblemError(
                HTTPStatus.UNAUTHORIZED,
                f"this needs a token with the scope {rule.scope}: Authorization: Bearer …",
                {"WWW-Authenticate": 'Bearer realm="jaga"'},
            )
        if not token.may(rule.scope) or (token.partner is not None and not rule.partners):
            detail = f"token {token.id} has not the scope {rule.scope}"
            if token.partner is not None and token.may(rule.scope):
                detail = f"token {token.id} is for {token.partner}, and this is not for partners"
            challenge = f'Bearer realm="jaga", error="insufficient_scope", scope="{rule.scope}"'
            raise ProblemError(HTTPStatus.FORBIDDEN, detail, {"WWW-Authenticate": challenge})
        request[CALLER] = token

    def _token(self, presented: str, peer: str) -> Token:
        try:
            token = self._tokens.find(presented)
        except TokenFileError as error:
            _log.error("tokens unreadable", error=str(error))
            raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, "no token can be checked; the log tells why") from error
        state = "unknown" if token is None else token.state(self._now_us())
        if token is not None and state == "valid":
            return token
        self._failed(peer, kind=f"token {state}", about=None if token is None else token.id)
        challenge = 'Bearer realm="jaga", error="invalid_token"'
        # Whoever has the text of an expired token knows already that it was one.
        detail = "this token is not known" if token is None else f"token {token.id} is {state}"
        raise ProblemError(HTTPStatus.UNAUTHORIZED, detail, {"WWW-Authenticate": challenge})

    async def _by_password(self, passwords: Passwords, credentials: str | None, peer: str) -> None:
        challenge = {"WWW-Authenticate": 'Basic realm="jaga", charset="UTF-8"'}
        if credentials is None:
            raise ProblemError(HTTPStatus.UNAUTHORIZED, "this needs a user and a password, or a token", challenge)
        user, password = _pair(credentials)
        if passwords.remembers(user, password):
            return
        if self._failures.left(peer) < 1:
            self._failed(peer, kind="password", about=None)
        try:
            if await passwords.right(user, password):
                return
        except BusyError:
            raise ProblemError(
                HTTPStatus.SERVICE_UNAVAILABLE, "too many passwords are being checked", {"Retry-After": "1"}
            ) from None
        self._failed(peer, kind="password", about=None)
        raise ProblemError(HTTPStatus.UNAUTHORIZED, "this user and password are not known", challenge)

    def _failed(self, peer: str, *, kind: str, about: str | None) -> None:
        """Count wrong credentials; ProblemError 429 once a peer brought too many."""
        if self._failures.take(peer):
            _log.warning("credentials refused", peer=peer, kind=kind, token=about)
            return
        raise ProblemError(
            HTTPStatus.TOO_MANY_REQUESTS,
            "too many wrong credentials came from your address",
            {"Retry-After": str(self._failures.retry_after_s)},
        )


def _pair(credentials: str) -> tuple[str, str]:
    """User and password of a Basic header (RFC 7617); an empty pair where it is none, which is nobody's."""
    try:
        text = base64.b64decode(credentials.strip(), validate=True).decode()
    except (binascii.Error, ValueError):
        return "", ""
    user, _colon, password = text.partition(":")
    return user, password
