"""A local certificate authority for tests and laboratories: TLS for the server, a key for every node.

The files are laid out so that one option serves both sides: ``--credentials FOLDER``.
"""

from __future__ import annotations

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from fedanomaly.core.errors import UserError

CA, SERVER_CERTIFICATE, SERVER_KEY = "ca.crt", "server.crt", "server.key"
DAYS = 90


@dataclass(frozen=True)
class ServerCredentials:
    """Files the server needs.

    Attributes
    ----------
    ca, certificate, key : Path
        CA certificate, the server's certificate and private key (PEM).
    node_keys : tuple of Path
        Public keys of the nodes that may join; all others are refused.
    """

    ca: Path
    certificate: Path
    key: Path
    node_keys: tuple[Path, ...]

    @classmethod
    def read(cls, folder: Path) -> ServerCredentials:
        """Find the files in ``folder``; raise :class:`UserError` if one is missing."""
        files = [folder / name for name in (CA, SERVER_CERTIFICATE, SERVER_KEY)]
        for file in files:
            if not file.is_file():
                raise UserError(
                    f"{file} is missing; `python -m fedanomaly credentials {folder}` makes a set for tests"
                )
        keys = tuple(sorted(folder.glob("client-*.pub")))
        if not keys:
            raise UserError(f"{folder} holds no client-*.pub; nobody could join this server")
        ca, certificate, key = (file.resolve() for file in files)
        return cls(ca, certificate, key, tuple(public.resolve() for public in keys))


def client_files(folder: Path, client: int) -> tuple[str, str]:
    """Return the paths of the CA certificate and of a client's private key."""
    ca, key = folder / CA, folder / f"client-{client}.key"
    for file in (ca, key):
        if not file.is_file():
            raise UserError(
                f"{file} is missing; copy it from the folder that `python -m fedanomaly credentials` made"
            )
    return str(ca.resolve()), str(key.resolve())


def make_credentials(folder: Path, clients: int, hosts: tuple[str, ...] = ()) -> list[Path]:
    """Write a CA, a server certificate and ``clients`` node keys; valid for 90 days, for tests only.

    Parameters
    ----------
    folder : Path
        Made readable for the owner alone; must not hold credentials yet.
    clients : int
        Number of node keys.
    hosts : tuple of str
        Names and addresses of the server besides localhost.

    Returns
    -------
    list of Path
        The files written.
    """
    if (folder / CA).exists():
        raise UserError(f"{folder} holds credentials already; choose another folder or delete it first")
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    ca_key, server_key = _new_key(), _new_key()
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "fedanomaly test CA")])
    server_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "fedanomaly server")])
    ca = _certificate(
        ca_name, ca_name, ca_key, ca_key, [(x509.BasicConstraints(ca=True, path_length=0), True)]
    )
    names = x509.SubjectAlternativeName([_name(host) for host in ("localhost", "127.0.0.1", *hosts)])
    server = _certificate(server_name, ca_name, server_key, ca_key, [(names, False)])
    written = [
        _write(folder / CA, ca.public_bytes(serialization.Encoding.PEM), secret=False),
        _write(folder / SERVER_CERTIFICATE, server.public_bytes(serialization.Encoding.PEM), secret=False),
        _write(folder / SERVER_KEY, _pem(server_key), secret=True),
    ]
    for client in range(clients):
        key = _new_key()
        public = key.public_key().public_bytes(
            serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
        )
        written.append(_write(folder / f"client-{client}.key", _openssh(key), secret=True))
        written.append(_write(folder / f"client-{client}.pub", public + b"\n", secret=False))
    return written


def _new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP384R1())


def _certificate(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    signer: ec.EllipticCurvePrivateKey,
    extensions: list[tuple[x509.ExtensionType, bool]],
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=DAYS))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(signer, hashes.SHA384())


def _name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _openssh(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )


def _write(path: Path, content: bytes, *, secret: bool) -> Path:
    path.touch(mode=0o600 if secret else 0o644)
    path.write_bytes(content)
    return path
