import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_ssh_private_key, load_ssh_public_key

from fedanomaly.core.errors import UserError
from fedanomaly.federation.deployment.credentials import ServerCredentials, client_files, make_credentials


@pytest.fixture
def folder(tmp_path):
    make_credentials(tmp_path / "keys", 2, ("bank.example", "192.0.2.7"))
    return tmp_path / "keys"


def test_secrets_are_for_the_owner_alone(folder):
    assert folder.stat().st_mode & 0o777 == 0o700
    for name in ("server.key", "client-0.key", "client-1.key"):
        assert (folder / name).stat().st_mode & 0o777 == 0o600


def test_the_server_is_known_by_all_its_names(folder):
    certificate = x509.load_pem_x509_certificate((folder / "server.crt").read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert set(names.get_values_for_type(x509.DNSName)) == {"localhost", "bank.example"}
    assert {str(ip) for ip in names.get_values_for_type(x509.IPAddress)} == {"127.0.0.1", "192.0.2.7"}
    ssl.create_default_context(cafile=str(folder / "ca.crt"))


def test_key_pairs_belong_together(folder):
    for client in (0, 1):
        ca, key = client_files(folder, client)
        private = load_ssh_private_key((folder / f"client-{client}.key").read_bytes(), None)
        public = load_ssh_public_key((folder / f"client-{client}.pub").read_bytes())
        assert private.public_key() == public
        assert ca.endswith("ca.crt") and key.endswith(f"client-{client}.key")
    assert len(ServerCredentials.read(folder).node_keys) == 2


def test_missing_files_are_named(folder, tmp_path):
    with pytest.raises(UserError, match=r"client-7\.key is missing"):
        client_files(folder, 7)
    with pytest.raises(UserError, match=r"ca\.crt is missing"):
        ServerCredentials.read(tmp_path)
    with pytest.raises(UserError, match="holds credentials already"):
        make_credentials(folder, 1)
    for public in folder.glob("*.pub"):
        public.unlink()
    with pytest.raises(UserError, match="nobody could join"):
        ServerCredentials.read(folder)
