"""Throw-away certificates and signatures, by openssl(1)."""

from __future__ import annotations

import base64
import json
import subprocess
import time
from pathlib import Path


def openssl(*words: str | Path, given: bytes = b"") -> bytes:
    return subprocess.run(["openssl", *map(str, words)], input=given, capture_output=True, check=True).stdout


class Authority:
    """A certificate authority in a directory of its own."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder, self.certificate = folder, folder / "ca.crt"
        self._key = folder / "ca.key"
        _key(self._key)
        openssl("req", "-x509", "-new", "-key", self._key, "-subj", "/CN=test authority", "-days", "2", "-out", self.certificate)

    def issue(self, name: str, alternatives: str, *, expired: bool = False) -> tuple[Path, Path]:
        """Return certificate and key of a server whose names are ``alternatives`` (``IP:127.0.0.1,DNS:localhost``)."""
        key, request, certificate, extra = (self.folder / f"{name}.{kind}" for kind in ("key", "csr", "crt", "ext"))
        _key(key)
        extra.write_text(f"subjectAltName={alternatives}\n")
        openssl("req", "-new", "-key", key, "-subj", f"/CN={name}", "-out", request)
        signed: list[str | Path] = ["-CA", self.certificate, "-CAkey", self._key, "-CAcreateserial", "-extfile", extra, "-out", certificate]
        openssl("x509", "-req", "-in", request, "-days", "-1" if expired else "2", *signed)
        return certificate, key


def _key(path: Path) -> None:
    openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", path)


class TokenSigner:
    """Signs the tokens that docker-registry believes: RS256, with the certificate in the header (``x5c``)."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.certificate, self._key = folder / "token.crt", folder / "token.key"
        openssl(
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-keyout",
            self._key,
            "-subj",
            "/CN=token",
            "-days",
            "2",
            "-out",
            self.certificate,
        )
        lines = self.certificate.read_text().splitlines()
        self._chain = ["".join(line for line in lines if not line.startswith("-"))]

    def token(self, *, account: str, service: str, access: list[dict[str, object]]) -> str:
        now = int(time.time())
        claims = {"iss": "test", "sub": account, "aud": service, "exp": now + 60, "nbf": now - 10, "iat": now, "jti": "1", "access": access}
        head = _encoded(json.dumps({"typ": "JWT", "alg": "RS256", "x5c": self._chain}).encode())
        body = f"{head}.{_encoded(json.dumps(claims).encode())}"
        return f"{body}.{_encoded(openssl('dgst', '-sha256', '-sign', self._key, given=body.encode()))}"


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
