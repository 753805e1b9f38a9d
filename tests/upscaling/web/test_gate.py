"""The gate by itself, without a server."""

import asyncio

import pytest

pytest.importorskip('starlette')

from starlette.requests import Request
from starlette.responses import PlainTextResponse

from sst.upscaling.web import gate
from sst.upscaling.web.storage import Storage


async def page(scope, receive, send):
    body = await Request(scope, receive).body()
    await PlainTextResponse(body)(scope, receive, send)


def answers(tmp_path, length, receive):
    """What the page sends for an upload of some bytes."""
    sent = []

    async def send(message):
        sent.append(message)

    headers = [(b'host', b'localhost'), (b'content-length', str(length).encode())]
    scope = {'type': 'http', 'method': 'POST', 'path': '/upload', 'headers': headers, 'query_string': b''}
    asyncio.run(gate.Gate(page, '127.0.0.1', (), Storage(tmp_path, 10**6), 10**5)(scope, receive, send))
    return sent


def answer(tmp_path, pieces, pause):
    """The status and body that a request gets whose pieces come with a pause between them."""
    waiting = [{'type': 'http.request', 'body': piece, 'more_body': True} for piece in pieces]
    waiting.append({'type': 'http.request', 'body': b'', 'more_body': False})

    async def receive():
        await asyncio.sleep(pause)
        return waiting.pop(0)

    sent = answers(tmp_path, sum(map(len, pieces)), receive)
    return sent[0]['status'], sent[1]['body']


def test_a_request_that_stops_coming_gets_its_answer(tmp_path, monkeypatch):
    monkeypatch.setattr(gate, '_SILENCE', 0.2)
    assert answer(tmp_path, [b'one', b'two'], 0.01) == (200, b'onetwo')
    status, body = answer(tmp_path, [b'one', b'two'], 5)
    assert status == 408
    assert b'nothing has come' in body


def test_a_visitor_who_leaves_is_no_fault(tmp_path):
    async def receive():
        return {'type': 'http.disconnect'}

    assert answers(tmp_path, 5, receive) == []
