"""Keys in files."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from aragora_cp.errors import ConfigError
from aragora_cp.tenancy.signing import new_key, public_key, read_signer, signed_by


def test_a_key_signs_and_is_known_by_either_half(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_text(new_key())
    signer = read_signer(str(path))
    signature = signer.sign(b"text")
    assert signed_by(signer.key, signature, b"text")
    assert not signed_by(signer.key, signature, b"other")
    assert not signed_by("00" * 32, signature, b"text")
    assert not signed_by("", "", b"text")
    public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(signer.key))
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    for text in (pem, path.read_text(), signer.key.upper(), f" {signer.key}\n"):
        assert public_key(text) == signer.key


def test_what_is_no_key_is_told_without_showing_it(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    with pytest.raises(ConfigError, match="audit_key_file: cannot read"):
        read_signer(str(path))
    other = generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    for text in ("", "secret-text", other, new_key().replace("M", "N", 3)):
        path.write_text(text)
        with pytest.raises(ConfigError) as told:
            read_signer(str(path))
        assert "secret-text" not in str(told.value)
    for text in ("", "x", "00", other):
        with pytest.raises((ValueError, TypeError)):
            public_key(text)
