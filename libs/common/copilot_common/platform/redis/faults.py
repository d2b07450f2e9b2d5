"""What went wrong with Redis, in words that may be logged."""

import ssl


def name_fault(error: BaseException) -> str:
    """Its type; where TLS refused, OpenSSL's reason too, which is a fixed phrase."""
    cause = error.__cause__ or error.__context__
    for found in (error, cause):
        if isinstance(found, ssl.SSLCertVerificationError):
            return f"{type(found).__name__}: {found.verify_message}"
        if isinstance(found, ssl.SSLError):
            return f"{type(found).__name__}: {found.reason}"
    return type(error).__name__
