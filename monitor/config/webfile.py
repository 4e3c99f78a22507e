"""The file of `web.config_file`: TLS and users in the shape of exporter-toolkit's web configuration, as exporters have
it. What that knows and this does not is refused by name, never passed over.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path as File
from typing import Literal

from pydantic import Field, StrictStr, ValidationError

from monitor.config.document import Document, read
from monitor.config.models import Model
from monitor.config.problems import ConfigError, Path, Problem
from monitor.config.wording import faults
from monitor.web.passwords import hash_fault
from monitor.web.tls import Tls, TlsError, Web

_ELSEWHERE = {
    ("http_server_config",): "there is no HTTP/2 here, and the headers of the pages are fixed",
    ("rate_limit",): "requests are limited without it",
}


class TlsModel(Model):
    """`tls_server_config`."""

    cert_file: StrictStr = Field(min_length=1)
    key_file: StrictStr = Field(min_length=1)
    client_auth_type: Literal["NoClientCert", "VerifyClientCertIfGiven", "RequireAndVerifyClientCert"] = "NoClientCert"
    client_ca_file: StrictStr | None = Field(default=None, min_length=1)
    min_version: Literal["TLS12", "TLS13"] = "TLS12"
    max_version: Literal["TLS12", "TLS13"] | None = None


class WebFile(Model):
    """The whole file."""

    tls_server_config: TlsModel | None = None
    basic_auth_users: dict[StrictStr, StrictStr] = Field(default={})


def read_web(path: File, shown: str) -> Web:
    """What the file says; ConfigError with everything that is wrong. Files in it are relative to it."""
    document = read(path, shown)
    if document.data is not None and not isinstance(document.data, dict):
        raise ConfigError(
            [document.problem((), "a web configuration is a mapping of tls_server_config, basic_auth_users")]
        )
    problems = [*document.problems]
    try:
        found = WebFile.model_validate(document.data or {})
    except ValidationError as error:
        for where, message, at_key in faults(error, WebFile):
            told = f"is not known here: {_ELSEWHERE[where]}" if where in _ELSEWHERE else _without_hash(where, message)
            problems.append(document.problem(where, told, key=at_key))
        raise ConfigError(problems) from None
    problems += _users(document, found)
    tls = None if found.tls_server_config is None else _tls(found.tls_server_config, path.resolve().parent)
    problems += _certificates(document, tls)
    if problems:
        raise ConfigError(problems)
    return Web(tls=tls, users=found.basic_auth_users)


def _without_hash(where: Path, message: str) -> str:
    return "expected a bcrypt hash in quotes" if where[:1] == ("basic_auth_users",) and where[1:] else message


def _users(document: Document, found: WebFile) -> Iterator[Problem]:
    for user, written in found.basic_auth_users.items():
        path: Path = ("basic_auth_users", user)
        if not user or ":" in user:
            yield document.problem(path, "a user has a name without a colon", key=True)
        if hash_fault(written) is not None:
            yield document.problem(path, "expected a bcrypt hash, as htpasswd -nBC 10 '' writes one")


def _tls(found: TlsModel, base: File) -> Tls:
    return Tls(
        cert_file=base / found.cert_file,
        key_file=base / found.key_file,
        client_auth=found.client_auth_type,
        client_ca_file=None if found.client_ca_file is None else base / found.client_ca_file,
        min_version=found.min_version,
        max_version=found.max_version,
    )


def _certificates(document: Document, tls: Tls | None) -> Iterator[Problem]:
    if tls is None:
        return
    if tls.client_auth != "NoClientCert" and tls.client_ca_file is None:
        yield document.problem(("tls_server_config", "client_auth_type"), "client_ca_file must say who is believed")
    if tls.max_version is not None and tls.max_version < tls.min_version:
        yield document.problem(("tls_server_config", "max_version"), "is below min_version")
        return
    try:
        tls.context()
    except TlsError as error:
        yield document.problem(("tls_server_config", "cert_file"), str(error))
