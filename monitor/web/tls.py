"""How the pages are secured: the web configuration in the shape of exporter-toolkit's, and its TLS context."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

CLIENT_AUTH = {
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}
"""Who must show a certificate. A certificate that is asked for and not verified proves nothing and is not offered."""

VERSIONS = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}


class TlsError(Exception):
    """The certificates cannot be used: operation, file and cause."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """`tls_server_config`: the server's certificate chain and key, and what clients must show."""

    cert_file: Path
    key_file: Path
    client_auth: str = "NoClientCert"
    client_ca_file: Path | None = None
    min_version: str = "TLS12"
    max_version: str | None = None

    def context(self) -> ssl.SSLContext:
        """A context of it; TlsError where the files do not give one."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = VERSIONS[self.min_version]
        if self.max_version is not None:
            context.maximum_version = VERSIONS[self.max_version]
        self.renew(context)
        if self.client_ca_file is not None:
            try:
                context.load_verify_locations(cafile=self.client_ca_file)
            except (OSError, ValueError) as error:
                raise _fault("read the clients' authorities in", self.client_ca_file, error) from error
        context.verify_mode = CLIENT_AUTH[self.client_auth]
        return context

    def renew(self, context: ssl.SSLContext) -> None:
        """Read certificate and key again: connections that begin after it have the new ones."""
        try:
            context.load_cert_chain(self.cert_file, self.key_file, password=_no_password)
        except (OSError, ValueError) as error:
            raise _fault("use the certificate and key in", self.cert_file, error) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Web:
    """The web configuration. Without it the pages speak plain HTTP, and only tokens are asked for."""

    tls: Tls | None = None
    users: Mapping[str, str] = field(default_factory=dict, repr=False)


def _no_password() -> str:
    msg = "the key is locked by a password, and nobody is there to give it"
    raise ValueError(msg)


def _fault(operation: str, file: Path, error: OSError | ValueError) -> TlsError:
    """Its words are OpenSSL's or the system's about the form of the file, and hold nothing of what is in it."""
    cause = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
    return TlsError(f"{operation} {file}: {cause}")
