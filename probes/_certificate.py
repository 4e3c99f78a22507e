"""What the first certificate of a presented chain says of itself: its subject, its issuer, the names it is for."""

from __future__ import annotations

import functools
import warnings
from dataclasses import dataclass

from probes._fields import host_key


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """Subject and issuer in the form of RFC 4514 (`CN=…,O=…`), and the alternative names, lower case."""

    subject: str
    issuer: str
    names: tuple[str, ...]

    def is_for(self, name: str) -> bool:
        """Whether a client that asks for `name` takes it: by the name itself, or by a wildcard that stands for its
        whole first label (RFC 9525, 6.3).
        """
        wanted = host_key(name)
        first, _, rest = wanted.partition(".")
        by_wildcard = first and not rest[-1:].isdigit() and f"*.{rest}" in self.names  # no address has a wildcard
        return wanted in self.names or bool(by_wildcard)


@functools.lru_cache(maxsize=256)
def read(der: bytes) -> Leaf | None:
    """A certificate; None for what nobody can read."""
    # Imported where a certificate is looked into: a monitor of plain HTTP does not pay for it.
    from cryptography import x509  # noqa: PLC0415

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a target's certificate may be as odd as it likes: serial 0, negative, …
        try:
            found = x509.load_der_x509_certificate(der)
            subject, issuer = found.subject.rfc4514_string(), found.issuer.rfc4514_string()
            try:
                names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            except x509.ExtensionNotFound:
                return Leaf(subject=subject, issuer=issuer, names=())
            return Leaf(
                subject=subject,
                issuer=issuer,
                names=(
                    *(name.lower() for name in names.get_values_for_type(x509.DNSName)),
                    *(str(address) for address in names.get_values_for_type(x509.IPAddress)),
                ),
            )
        except ValueError:
            return None
