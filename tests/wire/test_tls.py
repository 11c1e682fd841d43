"""HTTPS by `transport.Http`, on real sockets: whose certificate is believed, and that their authorities are read once."""

from __future__ import annotations

import http.server
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from wire.sockets import tls_context
from wire.transport import Http, TryAgain


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def served(authority: trustme.CA) -> Iterator[int]:
    """A server for `localhost` that ends every connection after its answer; its port."""

    class Hello(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "5")
            self.end_headers()
            self.wfile.write(b"hello")

        def log_message(self, *args: object) -> None:
            pass

    class Quiet(http.server.ThreadingHTTPServer):
        def handle_error(self, *args: object) -> None:
            """A client that refuses the certificate is no error."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    with Quiet(("127.0.0.1", 0), Hello) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield int(server.server_address[1])
        server.shutdown()
        thread.join(5.0)


def written(authority: trustme.CA, folder: Path) -> str:
    authority.cert_pem.write_to_path(folder / "ca.pem")
    return str(folder / "ca.pem")


def test_a_server_of_a_known_authority_is_believed(served: int, authority: trustme.CA, tmp_path: Path) -> None:
    http = Http(f"https://localhost:{served}", 5.0, ca_file=written(authority, tmp_path))
    assert http.get("/").body == b"hello"


def test_a_server_of_an_authority_nobody_trusts_is_not(served: int) -> None:
    with pytest.raises(TryAgain, match="TLS failed") as refused:
        Http(f"https://localhost:{served}", 5.0).get("/")
    assert not refused.value.sent


def test_a_server_under_another_name_is_not(served: int, authority: trustme.CA, tmp_path: Path) -> None:
    with pytest.raises(TryAgain, match="TLS failed") as refused:
        Http(f"https://127.0.0.1:{served}", 5.0, ca_file=written(authority, tmp_path)).get("/")
    assert not refused.value.sent


def test_the_authorities_are_read_once_and_not_on_the_way_of_an_alert(
    served: int, authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading certifi's file takes longer than all else that happens between a signal and its BUY."""
    read: list[object] = []
    load = ssl.SSLContext.load_verify_locations

    def noted(self: ssl.SSLContext, *args: object, **kwargs: object) -> None:
        read.append(args)
        load(self, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", noted)
    file = written(authority, tmp_path)
    one, other = (Http(f"https://localhost:{served}", 5.0, ca_file=file) for _ in range(2))
    for client in (one, other, one):
        assert client.get("/").status == 200
        client.close()
    assert len(read) == 1
    assert tls_context(file).verify_mode == ssl.CERT_REQUIRED
    assert tls_context(file).check_hostname


def test_over_tls_a_renewed_connection_is_ready_and_its_tickets_are_not_taken_for_an_end(
    authority: trustme.CA, tmp_path: Path
) -> None:
    """TLS 1.3 sends session tickets behind the handshake: whoever asks only whether the socket can be read takes it for closed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    authority.issue_cert("localhost").configure_cert(context)
    heard: list[bytes] = []
    with socket.create_server(("localhost", 0)) as listener:

        def serve() -> None:
            one, _ = listener.accept()
            with context.wrap_socket(one, server_side=True) as wrapped:
                while data := wrapped.recv(1000):
                    heard.append(data)
                    if not b"".join(heard).endswith(b"a=b"):
                        continue
                    wrapped.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

        serving = threading.Thread(target=serve, daemon=True)
        serving.start()
        http = Http(f"https://localhost:{listener.getsockname()[1]}", 5.0, ca_file=written(authority, tmp_path))
        assert http.renew()
        for _ in range(2):
            assert http.post("/x", {"a": "b"}).status == 200
        http.close()
        serving.join(5.0)
    assert b"".join(heard).count(b"POST /x") == 2, (
        "the server takes no second connection: all went over the one that was made ready"
    )
