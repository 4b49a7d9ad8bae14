"""The web process over TLS, on a socket: with a certificate of ours, a wrong one, and none where it needs one."""

from __future__ import annotations

import datetime
import json
import socket
import ssl
from ipaddress import IPv4Address
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest
import websockets
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tests.e2e.test_commands import PATIENCE_S, going, lines_until, surefoot

PASSWORD = "correct horse battery"
DAY = datetime.timedelta(days=1)


def self_made(folder: Path, name: str) -> tuple[Path, Path]:
    """A certificate for this machine, signed by its own key, and the key."""
    key = generate_private_key(SECP256R1())
    who = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "surefoot test")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(who)
        .issuer_name(who)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - DAY)
        .not_valid_after(now + DAY)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, SHA256())
    )
    certificate, kept = folder / f"{name}.pem", folder / f"{name}.key"
    certificate.write_bytes(made.public_bytes(Encoding.PEM))
    kept.write_bytes(pem_of(key))
    return certificate, kept


def pem_of(key: EllipticCurvePrivateKey, password: str = "") -> bytes:
    how = BestAvailableEncryption(password.encode()) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how)


def with_tls(certificate: Path, key: Path) -> list[str]:
    return ["web", "--json", "--set", "web.port=0"] + [
        word
        for name, file in (("tls_cert_file", certificate), ("tls_key_file", key))
        for word in ("--set", f"web.{name}={file}")
    ]


def trusting(certificate: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificate))


@pytest.mark.spec("AUTH-3")
async def test_over_tls_one_signs_in_reads_and_hears_the_stream_and_without_it_nothing_is_said(tmp_path: Path) -> None:
    made = surefoot("user", "add", "ann", "--role", "viewer", cwd=tmp_path, said=f"{PASSWORD}\n")
    assert made.returncode == 0, made.stderr
    certificate, key = self_made(tmp_path, "ours")
    stranger, _ = self_made(tmp_path, "another")
    with going(*with_tls(certificate, key), cwd=tmp_path) as process:
        url = json.loads(lines_until(process, "listening")[-1])["url"]
        assert url.startswith("https://127.0.0.1:")
        async with httpx2.AsyncClient(base_url=url, verify=trusting(certificate), timeout=PATIENCE_S) as client:
            answer = await client.post("/api/v1/auth/login", json={"name": "ann", "password": PASSWORD})
            assert answer.status_code == 200, answer.text
            assert "; Secure" in answer.headers["set-cookie"]
            assert answer.headers["strict-transport-security"].startswith("max-age=")
            token = answer.json()["access_token"]
            told = await client.get("/api/v1/me", headers={"authorization": f"Bearer {token}"})
            assert told.json()["name"] == "ann"
        address = url.replace("https", "wss") + "/api/v1/stream"
        async with websockets.connect(address, ssl=trusting(certificate)) as stream:
            await stream.send(json.dumps({"token": token, "topics": ["status"]}))
            assert json.loads(await stream.recv())["type"] == "snapshot"
        async with httpx2.AsyncClient(verify=trusting(stranger), timeout=PATIENCE_S) as client:
            with pytest.raises(httpx2.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
                await client.get(url)
        assert plainly(urlsplit(url).port) == b""


def plainly(port: int | None) -> bytes:
    """What is answered to a request without TLS."""
    with socket.create_connection(("127.0.0.1", port or 0), timeout=PATIENCE_S) as wire:
        wire.sendall(b"GET /api/v1/health/live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        try:
            return wire.recv(1_000)
        except ConnectionResetError:
            return b""


@pytest.mark.spec("AUTH-3")
def test_a_certificate_that_cannot_be_used_is_said_in_one_line(tmp_path: Path) -> None:
    certificate, key = self_made(tmp_path, "ours")
    _, other = self_made(tmp_path, "another")
    locked = tmp_path / "locked.key"
    locked.write_bytes(pem_of(generate_private_key(SECP256R1()), "a passphrase"))
    for name, pair in {
        "no such file": (tmp_path / "none.pem", key),
        "a key of another": (certificate, other),
        "no key": (certificate, certificate),
        "a key with a passphrase": (certificate, locked),
    }.items():
        done = surefoot(*with_tls(*pair), cwd=tmp_path)
        assert done.returncode == 3, name
        (line,) = done.stderr.splitlines()
        assert line.startswith(
            f"surefoot: web.tls_cert_file = {pair[0]}, web.tls_key_file = {pair[1]} cannot be used: "
        )
        assert done.stdout == ""


@pytest.mark.spec("AUTH-3")
def test_an_address_that_others_reach_is_refused_without_tls_or_a_proxy(tmp_path: Path) -> None:
    for words in (["web"], ["run", "--no-terminal"]):
        done = surefoot(*words, "--set", "web.host=0.0.0.0", "--set", "web.port=0", cwd=tmp_path)
        assert done.returncode == 2
        assert "web.host = 0.0.0.0: others could read along" in done.stderr
        assert "listen" not in done.stdout
