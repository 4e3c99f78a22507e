"""What of a configuration is never shown: literal values under keys that name credentials, and logins inside texts.

References (`${NAME}`) and variables (`{{ name }}`) stay as they are written: they are names, not values.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from monitor.config.problems import Path
from probes.secret import MASK

_WORDS = frozenset({"pass", "pwd", "auth", "otp", "pin", "sid", "csrf", "jwt", "pat", "login"})
_PIECES = (
    "password",
    "passwd",
    "passphrase",
    "passcode",
    "secret",
    "token",
    "authorization",
    "apikey",
    "accesskey",
    "privatekey",
    "authkey",
    "sessionid",
    "cookie",
    "credential",
    "bearer",
    "signature",
)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_MARK = r"\$\{[^{}]*\}|\{\{[^{}]*\}\}"
_MARKS = re.compile(rf"({_MARK})")
_SCHEME = re.compile(r"(?:Basic|Bearer|Digest|Token|ApiKey)\s+", re.IGNORECASE)
# user:password@ of an address; a password may itself be a mark, which then stays.
_LOGIN = re.compile(rf"(?P<before>[\w.+%-]*:(?://(?:[^\s/:@?#]|{_MARK})*:)?)(?P<value>(?:{_MARK}|[^\s/@?#])+)(?=@)")
# The key of `key=value` or `"key": value`; keys are looked for one after the other, as a value may itself hold pairs.
_KEY = re.compile(r"(?P<key>[\w.-]{1,64})[\"']?\s*[=:]\s*[\"']?")
_VALUE = re.compile(rf"(?:{_MARK}|[^\s\"'&,;{{}}])+")
_COMMAND = re.compile(r"(?im)^(?P<before>\s*(?:PASS|AUTH(?:\s+\w+)?|LOGIN\s+\S+)\s+)(?P<value>\S+)")


def is_credential(key: str) -> bool:
    """Whether a key names something that logs in: `password`, `X-Api-Key`, `sessionId`, `$.data.token`."""
    words = [word for word in re.split(r"[^a-z0-9]+", _CAMEL.sub("_", key).lower()) if word]
    joined = "".join(words)
    return not _WORDS.isdisjoint(words) or any(piece in joined for piece in _PIECES)


def hidden(value: Any) -> Any:  # noqa: ANN401 - plain YAML data
    """A credential's value with its literal parts masked, in whatever it is wrapped."""
    if isinstance(value, Mapping):
        return {key: hidden(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [hidden(item) for item in value]
    if value is None or isinstance(value, bool):
        return value
    return _masked(value) if isinstance(value, str) else MASK


def shown(value: Any) -> Any:  # noqa: ANN401 - plain YAML data
    """Plain data as it may be shown: credentials masked by their key, logins masked inside texts."""
    if isinstance(value, Mapping):
        return {key: hidden(item) if is_credential(str(key)) else shown(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [shown(item) for item in value]
    return shown_text(value) if isinstance(value, str) else value


def shown_text(text: str) -> str:
    """A text with the passwords of addresses, of `key=value` and `"key": value` pairs and of mail commands masked."""
    text = _LOGIN.sub(_hide_value, text)
    return _COMMAND.sub(_hide_value, _without_pairs(text))


def scrubbed(message: str, value: Any, path: Path) -> str:  # noqa: ANN401 - plain YAML data
    """A sentence about the value at a path, without the value where the path or the text makes it a secret."""
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        text = str(value)
        safe = hidden(text) if any(is_credential(str(part)) for part in path) else shown_text(text)
        if safe != text:
            for form in (repr(text)[1:-1], text):
                message = message.replace(form, safe)
    return message


def _without_pairs(text: str) -> str:
    """The text with the value of every pair masked whose key names a credential."""
    safe, at = "", 0
    while (key := _KEY.search(text, at)) is not None:
        safe += text[at : key.end()]
        at = key.end()
        value = _VALUE.match(text, at) if is_credential(key["key"]) else None
        if value is not None:
            safe += _masked(value[0])
            at = value.end()
    return safe + text[at:]


def _hide_value(found: re.Match[str]) -> str:
    start, end = found.span("value")
    whole = found[0]
    return whole[: start - found.start()] + _masked(found["value"]) + whole[end - found.start() :]


def _masked(text: str) -> str:
    """`Bearer abc` -> `Bearer ***`, `${A}xyz` -> `${A}***`."""
    scheme = _SCHEME.match(text)
    kept = scheme[0] if scheme else ""
    parts = _MARKS.split(text[len(kept) :])
    return kept + "".join(part if n % 2 or not part else MASK for n, part in enumerate(parts))
