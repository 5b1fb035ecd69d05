"""Pictures of strangers' URLs: from the public network, in bounded time and space, or not at all.

No packet leaves this process: names and connections are faked, and recorded.
"""

from __future__ import annotations

import contextlib
import datetime
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.faked_network import PICTURE, PUBLIC, Network, redirect, reply
from tests.hostile_urls import INSIDE, SCHEMES, SPELLINGS

import facegrep
from facegrep.fetch import PictureFetcher, _exchange
from facegrep.fetch._addresses import is_possible, is_public


@pytest.fixture
def network() -> Iterator[Network]:
    made = Network()
    made.names["pictures.example"] = [PUBLIC]
    yield made
    made.join()


def test_a_picture_comes_from_the_address_that_was_checked(network: Network) -> None:
    url = "http://Pictures.Example/a b.jpg?x=%2F&y=é".replace(" ", "%20")
    assert network.fetcher()(url) == PICTURE
    assert network.resolved == ["pictures.example"]
    assert network.connected == [(PUBLIC, 80)]
    lines = network.requests[0].decode().split("\r\n")
    assert lines[0] == "GET /a%20b.jpg?x=%2F&y=%C3%A9 HTTP/1.1"
    assert sorted(lines[1:-2]) == [
        "Accept-Encoding: identity",
        "Accept: image/*",
        "Connection: close",
        "Host: pictures.example",
        "User-Agent: facegrep",
    ]


def test_tls_is_for_the_name_though_the_connection_is_to_the_address(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = []

    class Tls:
        def wrap_socket(self, connection: socket.socket, *, server_hostname: str) -> socket.socket:
            names.append(server_hostname)
            return connection

    monkeypatch.setattr(_exchange, "_tls", Tls)
    assert network.fetcher(allow_http=False)("https://pictures.example/a") == PICTURE
    assert (names, network.connected) == (["pictures.example"], [(PUBLIC, 443)])
    assert "https: URLs only" in network.refused("http://pictures.example/a", allow_http=False)


def certificate(name: str) -> bytes:
    """A certificate of that name that only itself vouches for, and its key, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    form = serialization.PrivateFormat.PKCS8
    secret = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    return made.public_bytes(serialization.Encoding.PEM) + secret


def test_only_a_certificate_that_is_trusted_and_of_the_name_is_accepted(
    network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "certificate.pem"
    file.write_bytes(certificate("pictures.example"))
    theirs_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    theirs_tls.load_cert_chain(file)
    threads = []

    def connect(_address: str, _port: int, _timeout_s: float) -> socket.socket:
        ours, theirs = socket.socketpair()

        def answer() -> None:
            with (
                contextlib.suppress(OSError),
                theirs,
                theirs_tls.wrap_socket(theirs, server_side=True) as connection,
            ):
                connection.recv(4096)
                connection.sendall(reply())

        threads.append(threading.Thread(target=answer))
        threads[-1].start()
        return ours

    network.names["other.example"] = [PUBLIC]
    fetcher = PictureFetcher(resolve=network.resolve, connect=connect)
    with pytest.raises(facegrep.PictureError, match="did not give a picture"):
        fetcher("https://pictures.example/a")
    trusting = ssl.create_default_context(cafile=str(file))
    monkeypatch.setattr(_exchange, "_tls", lambda: trusting)
    assert fetcher("https://pictures.example/a") == PICTURE
    with pytest.raises(facegrep.PictureError, match="did not give a picture"):
        fetcher("https://other.example/a")
    for thread in threads:
        thread.join()


def test_a_server_without_tls_is_refused(network: Network) -> None:
    def connect(_address: str, _port: int, _timeout_s: float) -> socket.socket:
        ours, theirs = socket.socketpair()
        theirs.sendall(b"no TLS" * 100)
        theirs.close()
        return ours

    fetcher = PictureFetcher(resolve=network.resolve, connect=connect)
    with pytest.raises(facegrep.PictureError, match="did not give a picture"):
        fetcher("https://pictures.example/a")


@pytest.mark.parametrize("address", sorted({*INSIDE}))
def test_no_address_that_is_not_public_is_connected_to(network: Network, address: str) -> None:
    assert not is_public(address)
    # Alone, beside a public one before or after it, or where a redirect leads.
    for found in ([address], [PUBLIC, address], [address, PUBLIC]):
        network.names["inside.example"] = found
        network.refused("http://inside.example/a")
    assert network.connected == []
    network.replies["pictures.example"] = redirect("http://inside.example/secret")
    network.refused("http://pictures.example/a")
    assert network.connected == [(PUBLIC, 80)]


@pytest.mark.parametrize(
    "address", [PUBLIC, "8.8.8.8", "1.1.1.1", "47.95.85.22", "2606:4700::1111", "2a00:1450::1"]
)
def test_public_addresses_are_connected_to(network: Network, address: str) -> None:
    network.names["pictures.example"] = [address]
    assert network.fetcher()("http://pictures.example/a") == PICTURE
    literal = f"[{address}]" if ":" in address else address
    assert network.fetcher()(f"http://{literal}/a") == PICTURE
    assert network.connected == [(address, 80)] * 2


@pytest.mark.parametrize("host", sorted({*SPELLINGS}))
def test_a_host_in_another_spelling_leads_nowhere(network: Network, host: str) -> None:
    for address in ("127.0.0.1", "10.0.0.1"):  # what a resolver might make of it
        network.names = {
            host: [address],
            host.lower(): [address],
            host.lower().strip("."): [address],
        }
        network.names["pictures.example"] = [PUBLIC]
        for scheme in ("http", "HTTP", "https"):
            network.refused(f"{scheme}://{host}/secret")
    assert network.connected == []


@pytest.mark.parametrize("url", SCHEMES)
def test_another_scheme_or_form_of_url_is_refused(network: Network, url: str) -> None:
    network.refused(url)
    assert network.resolved == []
    network.replies["pictures.example"] = (
        redirect(url) if url.isascii() and url.isprintable() else b""
    )
    network.refused("http://pictures.example/a")
    assert {address for address, _ in network.connected} <= {PUBLIC}


def test_a_name_that_changes_between_check_and_connection_gains_nothing(network: Network) -> None:
    network.names["pictures.example"] = [[PUBLIC], ["127.0.0.1"]]
    assert network.fetcher()("http://pictures.example/a") == PICTURE
    assert network.resolved == ["pictures.example"]  # once
    network.names["pictures.example"] = [[PUBLIC], ["127.0.0.1"]]
    network.replies["pictures.example"] = redirect("/again")
    network.refused("http://pictures.example/a")
    assert network.connected == [(PUBLIC, 80)] * 2


def test_a_name_that_does_not_exist_is_refused_as_one_that_leads_inside(network: Network) -> None:
    network.names["inside.example"] = ["10.0.0.1"]
    said = network.refused("http://inside.example/a")
    assert network.refused("http://none.example/a") == said
    assert network.refused("http://localhost/a") == said


def test_three_redirects_are_followed_and_no_more(network: Network) -> None:
    for number in range(5):
        network.names[f"r{number}.example"] = [PUBLIC]
        network.replies[f"r{number}.example"] = redirect(f"//r{number + 1}.example/x?y")
    network.replies["r3.example"] = reply()
    assert network.fetcher()("http://r0.example/a") == PICTURE
    network.replies["r3.example"] = redirect("http://r4.example/")
    assert network.refused("http://r0.example/a") == "it is redirected too often"
    network.replies["r0.example"] = redirect("http://r0.example/a")
    assert network.refused("http://r0.example/a") == "it is redirected too often"


def test_no_proxy_of_the_environment_is_asked_and_no_cookie_is_kept(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://10.0.0.1:3128")
    network.names["next.example"] = ["8.8.8.8"]
    cookie = "Location: http://next.example/b\r\nSet-Cookie: a=b; Domain=example\r\n"
    network.replies["pictures.example"] = reply(b"", "302 Found", "text/html", cookie)
    network.replies["next.example"] = reply(extra="Set-Cookie: a=b\r\n")
    fetcher = network.fetcher()
    for _ in range(2):
        assert fetcher("http://pictures.example/a") == PICTURE
    assert network.connected == [(PUBLIC, 80), ("8.8.8.8", 80)] * 2
    assert not any(b"cookie" in request.lower() for request in network.requests)
    assert all(request.startswith(b"GET /") for request in network.requests)  # to no proxy


def test_a_redirect_from_https_to_http_is_refused(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Tls:
        def wrap_socket(self, connection: socket.socket, **_: Any) -> socket.socket:
            return connection

    monkeypatch.setattr(_exchange, "_tls", Tls)
    network.replies["pictures.example"] = redirect("http://pictures.example/a")
    assert "https to http" in network.refused("https://pictures.example/a")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (reply(status="404 Not Found"), "did not give a picture"),
        (reply(status="500 secret"), "did not give a picture"),
        (reply(status="206 Partial Content"), "did not give a picture"),
        (reply(kind="text/html"), "says that it is no picture"),
        (reply(kind=""), "says that it is no picture"),
        (reply(extra="Content-Encoding: gzip\r\n"), "compressed"),
        (reply(extra="Content-Encoding: br\r\n"), "compressed"),
        (reply(b"x" * 2000), "more than"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n\r\n" + b"x" * 5000, "more than"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: 99\r\n\r\nx",
            "did not give",
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: -1\r\n\r\n",
            "did not give",
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n"
            + b"400\r\n"
            + b"x" * 1024
            + b"\r\n" * 1
            + b"400\r\n"
            + b"x" * 1024
            + b"\r\n0\r\n\r\n",
            "more than",
        ),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000, "did not give a picture"),
        (b"SSH-2.0-OpenSSH_9\r\n", "did not give a picture"),
        (b"\0" * 100, "did not give a picture"),
        (b"", "did not give a picture"),
        (redirect(""), "redirected too often"),
        (redirect("http://[::1"), "redirected to no URL"),
    ],
)
def test_what_is_no_picture_is_refused(network: Network, answer: bytes, said: str) -> None:
    network.replies["pictures.example"] = answer
    assert said in network.refused("http://pictures.example/a", max_bytes=1500)


def drip(data: bytes) -> Callable[[socket.socket], None]:
    def answer(connection: socket.socket) -> None:
        for place in range(len(data)):
            connection.sendall(data[place : place + 1])
            time.sleep(0.02)

    return answer


@pytest.mark.parametrize(
    "answer",
    [
        drip(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200),
        drip(reply(b"x" * 300)),
        lambda connection: connection.recv(1),
        lambda connection: (
            [connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n") for _ in range(3)]
            and connection.recv(1)
        ),
    ],
)
def test_a_slow_server_has_no_more_than_the_whole_time(
    network: Network, answer: Callable[[socket.socket], None]
) -> None:
    network.replies["pictures.example"] = answer
    started = time.monotonic()
    assert "in time" in network.refused("http://pictures.example/a", timeout_s=0.4)
    assert time.monotonic() - started < 3


def test_a_slow_resolver_has_no_more_than_the_whole_time(network: Network) -> None:
    held = threading.Event()

    def slow(_host: str, _port: int) -> list[str]:
        held.wait(30)
        return [PUBLIC]

    fetcher = PictureFetcher(allow_http=True, resolve=slow, connect=network.connect, timeout_s=0.3)
    with pytest.raises(facegrep.PictureError, match="in time"):
        fetcher("http://pictures.example/a")
    held.set()
    assert network.connected == []


def test_an_exception_reaches_what_it_names_and_never_a_metadata_service(network: Network) -> None:
    network.names |= {"inside.example": ["10.0.0.7"], "a.oss.example": ["100.118.1.2"]}
    exceptions = ["127.0.0.1:9000", "inside.example:8080", "*.oss.example:80", "meta.example:80"]
    fetcher = network.fetcher(exceptions=exceptions)
    for url in (
        "http://127.0.0.1:9000/a",
        "http://inside.example:8080/a",
        "http://a.oss.example/a",
        "http://pictures.example/a",
    ):
        assert fetcher(url) == PICTURE
    before = list(network.connected)
    for url in ("http://127.0.0.1/a", "http://127.0.0.1:9001/a", "http://inside.example/a"):
        network.refused(url, exceptions=exceptions)
    for address in (
        "100.100.100.200",
        "169.254.169.254",
        "::ffff:100.100.100.200",
        "fd00:ec2::254",
    ):
        assert not is_possible(address)
        network.names["meta.example"] = [address]
        network.refused("http://meta.example/a", exceptions=exceptions)
    assert network.connected == before
    with pytest.raises(facegrep.PictureError, match="https: URLs only"):
        network.fetcher(exceptions=exceptions, allow_http=False)("http://127.0.0.1:9000/a")


def test_a_list_of_hosts_keeps_all_others_out(network: Network) -> None:
    network.names |= {"b.oss.example": [PUBLIC], "oss.example": [PUBLIC], "xoss.example": [PUBLIC]}
    hosts = ["*.oss.example", "pictures.example"]
    for url in ("http://b.oss.example/a", "http://pictures.example/a"):
        assert network.fetcher(hosts=hosts)(url) == PICTURE
    for url in ("http://oss.example/a", "http://xoss.example/a", f"http://{PUBLIC}/a"):
        network.refused(url, hosts=hosts)


def test_oss_is_a_folder_or_an_endpoint(network: Network, tmp_path: Path) -> None:
    (tmp_path / "bucket" / "a").mkdir(parents=True)
    (tmp_path / "bucket" / "a" / "é b.jpg").write_bytes(PICTURE)
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    (tmp_path / "bucket" / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    fetcher = network.fetcher(oss=tmp_path)
    assert fetcher("oss://bucket/a/é b.jpg") == PICTURE
    for url in (
        "oss://bucket/../secret.jpg",
        "oss://bucket/a/../../secret.jpg",
        "oss://bucket//a",
        "oss://../secret.jpg",
        "oss://bucket/link.jpg",
        "oss://bucket/a",
        "oss://bucket/",
        "oss://bucket",
        "oss://UPPER/a",
        "oss://bucket/\0",
        "oss://bucket/\ud800",
    ):
        with pytest.raises(facegrep.PictureError) as caught:
            fetcher(url)
        assert str(tmp_path) not in caught.value.reason
    network.names["bucket.oss.example"] = [PUBLIC]
    assert network.fetcher(oss="http://oss.example")("oss://bucket/a/é b.jpg") == PICTURE
    assert network.requests[-1].startswith(b"GET /a/%C3%A9%20b.jpg HTTP/1.1\r\n")
    network.names["bucket.oss.example"] = ["100.118.1.2"]
    network.refused("oss://bucket/a", oss="http://oss.example")


@pytest.mark.parametrize(
    "options",
    [
        {"hosts": ["http://a"]},
        {"hosts": [""]},
        {"exceptions": ["127.0.0.1"]},
        {"exceptions": ["127.0.0.1:0"]},
        {"exceptions": ["a b:80"]},
        {"oss": "/no/such/folder"},
        {"oss": "https://endpoint.example/path"},
    ],
)
def test_settings_of_another_form_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(facegrep.InvalidArgumentError):
        PictureFetcher(**options)


def test_there_are_as_many_hostile_urls_as_were_promised() -> None:
    assert len({*INSIDE}) + len({*SPELLINGS}) + len({*SCHEMES}) >= 250
