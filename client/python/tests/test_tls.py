"""A judge over mutual TLS, with certificates made as docs/tls.md says."""

from __future__ import annotations

import pickle
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import jury

from .conftest import SHORT_TEMPLATE

PAIR = ("What is the capital of France?", ["It is Paris.", "It is Lyon."])
EC = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]


def run(folder: Path, *words: str) -> None:
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)


def sign(folder: Path, name: str, names: str) -> None:
    run(folder, "req", *EC, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
    usage = "extendedKeyUsage=serverAuth,clientAuth\nbasicConstraints=CA:FALSE\n"
    (folder / f"{name}.ext").write_text(f"subjectAltName={names}\n{usage}")
    authority = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "1"]
    run(folder, "x509", "-req", "-in", f"{name}.csr", *authority, "-extfile", f"{name}.ext", "-out", f"{name}.pem")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lab")
    run(folder, "req", "-x509", *EC, "-days", "1", "-subj", "/CN=lab", "-keyout", "ca.key", "-out", "ca.pem")
    sign(folder, "judge", "DNS:judge.lab")
    sign(folder, "trainer", "DNS:trainer.lab")
    return folder


@pytest.fixture(scope="module")
def address(tiny_model: str, lab: Path) -> Iterator[str]:
    certificates = ["--tls-cert", "judge.pem", "--tls-key", "judge.key", "--tls-client-ca", "ca.pem"]
    options = [word if word.startswith("--") else str(lab / word) for word in certificates]
    with jury.local(tiny_model, options=[*options, "--template", SHORT_TEMPLATE]) as judge:
        yield "https://" + judge.address.removeprefix("http://")


def of_trainer(lab: Path) -> jury.Tls:
    return jury.Tls(str(lab / "ca.pem"), str(lab / "trainer.pem"), str(lab / "trainer.key"), "judge.lab")


def test_a_client_with_a_certificate_is_served_and_travels_with_it(address: str, lab: Path) -> None:
    client = jury.Client(address, tls=of_trainer(lab), k=1, max_critique_tokens=1, min_readout_mass=0)
    rewards = client.score(*PAIR).rewards
    assert None not in rewards
    assert pickle.loads(pickle.dumps(client)).with_settings(seed=0).score(*PAIR).rewards == rewards


def test_variables_count_where_nothing_is_named(
    address: str, lab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in of_trainer(lab)._asdict().items():
        monkeypatch.setenv(f"JURY_TLS_{name.upper()}", value)
    assert jury.Client(address).status().workers
    monkeypatch.setenv("JURY_TLS_CERT", "")
    with pytest.raises(jury.InvalidArgument, match="go together"):
        jury.Client(address)


def test_a_client_without_a_certificate_is_told_what_is_missing(address: str, lab: Path) -> None:
    stranger = jury.Client(address, tls=of_trainer(lab)._replace(cert=None, key=None))
    with pytest.raises(jury.Unreachable, match="wants a certificate"):
        stranger.status()
    with pytest.raises(ValueError, match="nowhere.pem"):
        jury.Client(address, tls=jury.Tls(ca=str(lab / "nowhere.pem"))).status()
    with pytest.raises(ValueError, match="write https://"):
        jury.Client("127.0.0.1:7480", tls=of_trainer(lab))
