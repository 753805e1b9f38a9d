"""Silent connections to a running server are closed, and those that ask are served."""

import asyncio
import socket
import threading
import time

import pytest

uvicorn = pytest.importorskip('uvicorn')
connections = pytest.importorskip('sst.upscaling.web.connections')

LIMIT = 0.5  # seconds


async def slow_page(scope, receive, send):
    if scope['type'] == 'http':
        await asyncio.sleep(3 * LIMIT if scope['path'] == '/slow' else 0)
        await send({'type': 'http.response.start', 'status': 200, 'headers': [(b'content-length', b'2')]})
        await send({'type': 'http.response.body', 'body': b'ok'})


@pytest.fixture
def port(monkeypatch):
    monkeypatch.setattr(connections, 'HEAD', LIMIT)
    with socket.create_server(('127.0.0.1', 0)) as listening:
        config = uvicorn.Config(
            slow_page, http=connections.Connection, lifespan='off', log_level='error', timeout_keep_alive=60
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={'sockets': [listening]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield listening.getsockname()[1]
        server.should_exit = True
        thread.join()


def asked(port, content):
    """What comes until the server closes the connection, after these bytes were sent."""
    with socket.create_connection(('127.0.0.1', port), timeout=20) as connection:
        connection.sendall(content)
        return b''.join(iter(lambda: connection.recv(1000), b''))


@pytest.mark.parametrize('content', [b'', b'GET / HTTP/1.1\r\nHost: a'], ids=['nothing', 'half_a_head'])
def test_a_connection_without_a_whole_head_is_closed(port, content):
    assert asked(port, content) == b''


def test_after_an_answer_it_is_closed_as_well(port):
    request = b'GET / HTTP/1.1\r\nHost: a\r\n\r\n'
    assert asked(port, request + b'GET / HTTP').count(b'200 OK') == 1
    assert asked(port, request + request).count(b'200 OK') == 2


def test_a_request_that_takes_long_is_answered(port):
    assert b'200 OK' in asked(port, b'GET /slow HTTP/1.1\r\nHost: a\r\n\r\n')
