"""The key that signs the seals: Ed25519, in a file outside the store. Whoever has the store cannot sign with it."""

from __future__ import annotations

from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from aragora_cp.errors import ConfigError


class Signer:
    """`key` is the public key, hexadecimal."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.key = private.public_key().public_bytes_raw().hex()

    def sign(self, data: bytes) -> str:
        return self._private.sign(data).hex()


def new_key() -> str:
    """A private key as PEM (PKCS #8), the same as `openssl genpkey -algorithm ed25519`."""
    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def read_signer(path: str) -> Signer:
    """Raises ConfigError, which never tells what the file holds."""
    try:
        private = load_pem_private_key(Path(path).read_bytes(), password=None)
    except OSError as error:
        raise ConfigError(f"audit_key_file: cannot read {path}: {error.strerror}") from error
    except (ValueError, TypeError) as error:
        raise ConfigError(f"audit_key_file: {path} holds no private key in PEM without a password") from error
    if not isinstance(private, Ed25519PrivateKey):
        raise ConfigError(f"audit_key_file: the key in {path} is not an Ed25519 key")
    return Signer(private)


def public_key(text: str) -> str:
    """A public key as seals carry it, from 64 hexadecimal digits or a PEM text of either half. Raises ValueError."""
    if "-----" not in text:
        found = bytes.fromhex(text.strip())
        if len(found) != 32:
            raise ValueError("a public key has 64 hexadecimal digits")
        return found.hex()
    loaded = load_pem_private_key if "PRIVATE" in text else None
    key = loaded(text.encode(), password=None) if loaded else load_pem_public_key(text.encode())
    if isinstance(key, Ed25519PrivateKey):
        key = key.public_key()
    if not isinstance(key, Ed25519PublicKey):
        raise TypeError("not an Ed25519 key")
    return key.public_bytes_raw().hex()


def signed_by(key: str, signature: str, data: bytes) -> bool:
    """Whether `signature` is that of `key` over `data`; False for what is neither."""
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(key)).verify(bytes.fromhex(signature), data)
    except (InvalidSignature, ValueError):
        return False
    return True
