"""A store server that speaks TLS only, with certificates made on the spot."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tests.servers import StoreServer


class Authority:
    """A CA of one test, and what it signs, as PEM files in `folder`."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        self.file = self._write(name, self._sign(self._name, self._key, constraints, critical=True))

    def issue(self, name: str, *, address: str = "127.0.0.1") -> tuple[Path, Path]:
        """A certificate that is good for `address`, and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
        text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (self._folder / f"{name}.key").write_bytes(text)
        return self._write(name, self._sign(subject, key, names, critical=False)), self._folder / f"{name}.key"

    def _sign(self, subject: x509.Name, key: Any, extension: Any, *, critical: bool) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        builder = x509.CertificateBuilder(
            self._name, subject, key.public_key(), x509.random_serial_number(),
            now - datetime.timedelta(minutes=5), now + datetime.timedelta(hours=1),
        )  # fmt: skip
        return builder.add_extension(extension, critical=critical).sign(self._key, hashes.SHA256())

    def _write(self, name: str, certificate: x509.Certificate) -> Path:
        file = self._folder / f"{name}.pem"
        file.write_bytes(certificate.public_bytes(Encoding.PEM))
        return file


class TlsServer(StoreServer):
    """Redis: the wheel's Valkey is built without TLS. With `mutual` it wants its clients' certificates."""

    def __init__(self, folder: Path, *, mutual: bool = False, address: str = "127.0.0.1") -> None:
        super().__init__("redis", folder)
        self.authority = Authority(folder)
        self._cert, self._key = self.authority.issue("server", address=address)
        self.client_cert, self.client_key = self.authority.issue("client")
        self._mutual = mutual
        self.url = f"rediss://127.0.0.1:{self.port}"

    def settings(self) -> dict[str, str]:
        return {
            **super().settings(),
            "port": "0",
            "tls-port": str(self.port),
            "tls-cert-file": str(self._cert),
            "tls-key-file": str(self._key),
            "tls-ca-cert-file": str(self.authority.file),
            "tls-auth-clients": "yes" if self._mutual else "no",
        }

    def options(self) -> dict[str, Any]:
        return {
            "ssl_ca_certs": str(self.authority.file),
            "ssl_certfile": str(self.client_cert),
            "ssl_keyfile": str(self.client_key),
            "ssl_check_hostname": False,
        }
