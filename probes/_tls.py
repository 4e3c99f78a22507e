"""Trust: the SSLContext of a policy, and when the first certificate of a presented chain expires."""

from __future__ import annotations

import functools
import ssl
import warnings
from typing import Any

from probes import FailReason, InconclusiveReason, OwnFault, ProbeError, TlsPolicy

# OpenSSL says these of a certificate whose issuer it does not know; with an empty trust store that is our own fault.
_UNKNOWN_ISSUER = frozenset({2, 20, 21, 27})
_DER = 2  # _ssl.ENCODING_DER, X509_FILETYPE_ASN1


def build_context(policy: TlsPolicy) -> ssl.SSLContext:
    """A client context; 16 to 20 ms with the system's roots, so one for each policy. OwnFault(INTERNAL)."""
    try:
        context = ssl.create_default_context(cafile=policy.ca_file)
        if not policy.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if policy.client_cert:
            context.load_cert_chain(policy.client_cert, policy.client_key)
    except (OSError, ValueError) as error:  # an ssl.SSLError is an OSError
        named = (policy.ca_file, policy.client_cert, policy.client_key)
        files = ", ".join(file for file in named if file) or "the system's roots"
        cause = getattr(error, "strerror", None) or getattr(error, "reason", None) or type(error).__name__
        raise OwnFault(InconclusiveReason.INTERNAL, f"TLS settings: {files} cannot be loaded: {cause}") from None
    if policy.alpn:
        context.set_alpn_protocols(list(policy.alpn))
    return context


def unverified(policy: TlsPolicy) -> TlsPolicy:
    """The policy with which a chain is only read, after verification had refused it."""
    return TlsPolicy(
        verify=False,
        why_unverified="only to read the expiry of a refused chain",
        client_cert=policy.client_cert,
        client_key=policy.client_key,
        alpn=policy.alpn,
    )


def handshake_failure(error: ssl.SSLError, context: ssl.SSLContext, server_name: str) -> ProbeError | OwnFault:
    """What a failed handshake says of the target, or of our own trust store when that holds nothing at all."""
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in _UNKNOWN_ISSUER and not _trusts_anybody(context):
            hint = "the monitor's trust store is empty: install ca-certificates or set ca_file"
            return OwnFault(InconclusiveReason.INTERNAL, hint)
        cause = error.verify_message or error.reason
        return ProbeError(FailReason.TLS, f"certificate of {server_name} refused: {cause}")
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return ProbeError(FailReason.TLS, f"{server_name} closed the connection during the TLS handshake")
    return ProbeError(FailReason.TLS, f"TLS handshake with {server_name} failed: {said(error)}")


def _trusts_anybody(context: ssl.SSLContext) -> bool:
    if context.cert_store_stats()["x509_ca"]:
        return True
    return ssl.get_default_verify_paths().capath is not None  # looked up one by one, never counted


def expiry_s(chain: tuple[bytes, ...]) -> int | None:
    """The Unix second at which the first certificate of a chain expires; None if there is none that can be read."""
    expiries = [expiry for der in chain if (expiry := _not_after_s(der)) is not None]
    return min(expiries, default=None)


def said(error: ssl.SSLError) -> str:
    """What OpenSSL says, as the end of a sentence."""
    return (error.reason or "no reason given").lower().replace("_", " ")


def presented(connection: ssl.SSLObject | None) -> tuple[bytes, ...]:
    """The chain that the peer presented, in DER, the certificate of the peer first; nothing if it presented none."""
    chain: Any = getattr(connection, "get_unverified_chain", None)  # public from 3.13 on
    if chain is not None:
        return tuple(chain())
    inner: Any = getattr(connection, "_sslobj", None)  # 3.11 and 3.12 have it one level down only
    if inner is not None and hasattr(inner, "get_unverified_chain"):
        return tuple(certificate.public_bytes(_DER) for certificate in inner.get_unverified_chain() or ())
    leaf = connection.getpeercert(binary_form=True) if connection is not None else None
    return (leaf,) if leaf else ()


@functools.lru_cache(maxsize=4096)
def _not_after_s(der: bytes) -> int | None:
    # Imported where a certificate is first seen: a monitor of plain HTTP does not pay for it.
    from cryptography import x509  # noqa: PLC0415

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a target's certificate may be as odd as it likes: serial 0, negative, …
        try:
            return int(x509.load_der_x509_certificate(der).not_valid_after_utc.timestamp())
        except ValueError:
            return None  # presented without verification, and no certificate that anybody could read
