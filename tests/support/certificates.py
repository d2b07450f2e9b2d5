"""A certificate authority of a test's own, and what it signs for servers."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Certificate:
    """Files in PEM. The key is for the server's account alone: whoever starts the server gives it to that account."""

    certificate: Path
    key: Path


class Authority:
    """`path`: its certificate, which clients are given."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        usage = x509.BasicConstraints(ca=True, path_length=0)
        signed = self._builder(self._name, self._key, datetime.now(UTC) + _DAY).add_extension(usage, critical=True)
        self.path = folder / f"{name}.crt"
        self.path.write_bytes(_pem(signed.sign(self._key, hashes.SHA256())))

    def issue(self, host: str, *, ends: timedelta = _DAY) -> Certificate:
        """For a server of that name. `ends`: from now; in the past, it has expired."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        names = x509.SubjectAlternativeName([x509.DNSName(host)])
        signed = self._builder(name, key, datetime.now(UTC) + ends).add_extension(names, critical=False)
        stem = f"{host}-{x509.random_serial_number():x}"
        made = Certificate(self._folder / f"{stem}.crt", self._folder / f"{stem}.key")
        made.certificate.write_bytes(_pem(signed.sign(self._key, hashes.SHA256())))
        encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        made.key.write_bytes(key.private_bytes(encoding, form, serialization.NoEncryption()))
        made.key.chmod(0o600)
        return made

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, until: datetime) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(until - 2 * _DAY)
            .not_valid_after(until)
        )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
