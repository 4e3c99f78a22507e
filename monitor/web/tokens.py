"""API tokens: made, kept as hashes in a file beside the ledger, and recognised.

A token is 256 random bits, shown once; the file keeps its SHA-256, which is enough for a secret that nobody can guess.
The file is read again whenever it changed, so that a revoked token is refused at the next request, whoever revoked it.
An id is never used twice: it is the author of decisions in the ledger, and stays in the file when it is revoked.
"""

from __future__ import annotations

import enum
import fcntl
import hashlib
import hmac
import json
import os
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from monitor.core.instant import format_instant, parse_instant
from monitor.storage.opening import sqlite_path

FORMAT = "jaga-tokens/1"
PREFIX = "jaga_"
"""Begins every token, so that one that leaked is found by those who look for secrets."""

MAX_TOKENS = 1000
"""Tokens in one file, revoked ones too."""

MAX_FILE_BYTES = 1024 * 1024
_LATEST_US = 1 << 53  # the record's last instant (DESIGN, "Entry")
_SECRET_BYTES = 32
_MODE = 0o600
_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_KNOWN = frozenset({"id", "sha256", "scopes", "partner", "created_at", "created_by", "expires_at", "revoked_at"})


class Scope(enum.StrEnum):
    """What a token may do. `admin` may do everything."""

    ADMIN = "admin"
    READ = "read"
    STATEMENTS = "statements"
    MAINTENANCE = "maintenance"
    EXCLUSIONS = "exclusions"
    CLAIMS = "claims"
    INCIDENTS = "incidents"


PARTNER_SCOPES = frozenset({Scope.READ, Scope.STATEMENTS, Scope.CLAIMS})
"""What a partner's token may have; it sees and claims for its own partner only."""


class TokenError(Exception):
    """A token that cannot be made or revoked as it was asked for: wrong use (exit code 2)."""


class TokenFileError(Exception):
    """The file of the tokens cannot be used: operation, file, cause and hint (exit code 3)."""

    def __init__(self, operation: str, file: Path, cause: str, hint: str) -> None:
        super().__init__(f"{operation} {file}: {cause} ({hint})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A token as it is kept. Instants are microseconds UTC; `expires_us` None never expires."""

    id: str
    sha256: str = field(repr=False)
    scopes: frozenset[Scope]
    partner: str | None = None
    created_us: int
    created_by: str
    expires_us: int | None = None
    revoked_us: int | None = None

    def state(self, now_us: int) -> str:
        """`valid`, `expired` or `revoked`."""
        if self.revoked_us is not None:
            return "revoked"
        return "expired" if self.expires_us is not None and now_us >= self.expires_us else "valid"

    def may(self, scope: Scope) -> bool:
        """Whether it opens what asks for the scope."""
        return scope in self.scopes or Scope.ADMIN in self.scopes


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """A token to be made. `id` None takes the next free `t-N`."""

    scopes: frozenset[Scope]
    id: str | None = None
    partner: str | None = None
    expires_us: int | None = None


def tokens_path(store: str, *, base: Path) -> Path:
    """Where the tokens of a store are: beside its file, or beside the configuration where it is none."""
    file = sqlite_path(store, base=base)
    return base / "ledger.tokens" if file is None else file.with_suffix(".tokens")


class Tokens:
    """The tokens of one file. Reading never writes; writing is one at a time, and whole or not at all."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._seen: tuple[int, ...] | None = None
        self._held: tuple[Token, ...] = ()

    def all(self) -> tuple[Token, ...]:
        """Every token in the order they were made, none where there is no file; TokenFileError where it is no good."""
        seen = self._stat()
        if seen is None:
            self._seen, self._held = None, ()
        elif seen != self._seen:
            # What changes between stat and read has another stat the next time.
            self._held, self._seen = self._read(), seen
        return self._held

    def find(self, presented: str) -> Token | None:
        """The token that this is, whatever its state. Every hash is compared, each in constant time."""
        digest, found = _digest(presented), None
        for token in self.all():
            if hmac.compare_digest(token.sha256, digest):
                found = token
        return found

    def create(self, wish: Wish, *, by: str, now_us: int) -> tuple[Token, str]:
        """Make a token: what is kept of it, and the token itself, which nobody sees again; TokenError."""
        _check(wish, now_us)
        with self._writing() as held:
            if len(held) >= MAX_TOKENS:
                raise TokenError(f"{self.file} holds {MAX_TOKENS} tokens, the most there may be")
            known = {token.id for token in held}
            if wish.id in known:
                raise TokenError(
                    f"there is or was a token {wish.id}; an id is not used twice, as decisions are told by it"
                )
            text = PREFIX + secrets.token_urlsafe(_SECRET_BYTES)
            token = Token(
                id=wish.id or next(name for n in range(1, MAX_TOKENS + 2) if (name := f"t-{n}") not in known),
                sha256=_digest(text),
                scopes=wish.scopes,
                partner=wish.partner,
                created_us=now_us,
                created_by=by,
                expires_us=wish.expires_us,
            )
            held.append(token)
        return token, text

    def revoke(self, id_: str, *, now_us: int) -> Token:
        """Refuse a token from its next request on; TokenError where there is none. Once revoked it stays as it was."""
        with self._writing() as held:
            for n, token in enumerate(held):
                if token.id == id_:
                    held[n] = token if token.revoked_us is not None else replace(token, revoked_us=now_us)
                    return held[n]
        raise TokenError(f"there is no token {id_}; jaga token list shows those there are")

    def _stat(self) -> tuple[int, ...] | None:
        try:
            found = self.file.stat()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._fault("look at", error) from error
        return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns

    def _read(self) -> tuple[Token, ...]:
        try:
            with self.file.open("rb") as opened:
                mode = os.fstat(opened.fileno()).st_mode & 0o777
                written = opened.read(MAX_FILE_BYTES + 1)
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise self._fault("read", error) from error
        if mode & 0o077:
            cause = f"its mode is {mode:04o}, and whoever writes there makes tokens"
            raise TokenFileError("read", self.file, cause, f"chmod 600 {self.file}")
        try:
            if len(written) > MAX_FILE_BYTES:
                raise ValueError("it is too long")  # noqa: TRY301 - told below as everything that is wrong with it
            return tuple(_tokens(json.loads(written)))
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            hint = "restore it, or move it away and make new tokens"
            raise TokenFileError("read", self.file, f"it is damaged: {error}", hint) from error

    @contextmanager
    def _writing(self) -> Iterator[list[Token]]:
        """The tokens, to be changed in place; they are durable when the block ends, and untouched if it fails."""
        folder = self.file.parent
        try:
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise self._fault("write", error) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            held = list(self._read())
            yield held
            self._write(held, lock)
        except OSError as error:
            raise self._fault("write", error) from error
        finally:
            os.close(lock)

    def _write(self, tokens: Sequence[Token], folder: int) -> None:
        partial = self.file.with_name(f"{self.file.name}.partial")
        with suppress(FileNotFoundError):
            partial.unlink()
        document = {"format": FORMAT, "tokens": [_written(token) for token in tokens]}
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE), "w") as out:
            if os.geteuid() == 0:  # made for the daemon, whose user owns the folder
                owner = os.fstat(folder)
                os.fchown(out.fileno(), owner.st_uid, owner.st_gid)
            json.dump(document, out, indent=1)
            out.write("\n")
            out.flush()
            os.fsync(out.fileno())
        partial.replace(self.file)
        os.fsync(folder)

    def _fault(self, operation: str, error: OSError) -> TokenFileError:
        cause = error.strerror or type(error).__name__
        return TokenFileError(operation, self.file, cause, "act as the daemon's user, or as root")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()


def _check(wish: Wish, now_us: int) -> None:
    if not wish.scopes:
        raise TokenError("a token needs a scope")
    if wish.id is not None and not _ID.fullmatch(wish.id):
        raise TokenError(
            f"{wish.id!r} is no id: 1 to 63 of a-z, 0-9, dot, dash and underscore, a letter or digit first"
        )
    if wish.partner is not None and not wish.scopes <= PARTNER_SCOPES:
        beyond = ", ".join(sorted(wish.scopes - PARTNER_SCOPES))
        allowed = ", ".join(sorted(PARTNER_SCOPES))
        raise TokenError(f"a partner's token cannot have {beyond}: it sees its own partner only, by {allowed}")
    if wish.expires_us is not None and wish.expires_us <= now_us:
        raise TokenError("it would expire before it is made")
    if wish.expires_us is not None and wish.expires_us > _LATEST_US:
        raise TokenError(f"it would expire after {format_instant(_LATEST_US)}: that is never")


def _written(token: Token) -> dict[str, Any]:
    return {
        "id": token.id,
        "sha256": token.sha256,
        "scopes": sorted(token.scopes),
        "partner": token.partner,
        "created_at": format_instant(token.created_us),
        "created_by": token.created_by,
        "expires_at": None if token.expires_us is None else format_instant(token.expires_us),
        "revoked_at": None if token.revoked_us is None else format_instant(token.revoked_us),
    }


def _tokens(document: Any) -> Iterator[Token]:  # noqa: ANN401 - any JSON
    """The tokens of a file's document; ValueError where it is none. A doubtful file opens nothing."""
    if (
        not isinstance(document, dict)
        or document.get("format") != FORMAT
        or not isinstance(document.get("tokens"), list)
    ):
        msg = f"it is no {FORMAT}"
        raise ValueError(msg)
    for entry in document["tokens"]:
        if not isinstance(entry, dict) or entry.keys() != _KNOWN:
            msg = "an entry has other fields"
            raise ValueError(msg)
        yield _token(entry)


def _token(entry: Mapping[str, Any]) -> Token:
    partner = entry["partner"]
    if not isinstance(partner, str | None) or not re.fullmatch(r"[0-9a-f]{64}", str(entry["sha256"])):
        msg = f"token {entry['id']!r} is not as it was written"
        raise ValueError(msg)
    return Token(
        id=str(entry["id"]),
        sha256=str(entry["sha256"]),
        scopes=frozenset(Scope(scope) for scope in entry["scopes"]),
        partner=partner,
        created_us=parse_instant(str(entry["created_at"])),
        created_by=str(entry["created_by"]),
        expires_us=_instant(entry["expires_at"]),
        revoked_us=_instant(entry["revoked_at"]),
    )


def _instant(written: object) -> int | None:
    return None if written is None else parse_instant(str(written))
