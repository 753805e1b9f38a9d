"""Which requests reach the page: those that a browser makes for the page itself, under a name of this computer."""

import asyncio
import ipaddress
import re
import socket
from collections.abc import Iterable

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sst.upscaling.web.storage import Storage
from sst.utils.errors import UserError

_PLACE = re.compile(r'\[([0-9a-f:.%]+)\](?::\d+)?|([^\s:/@?#\\\[\]]+?)\.?(?::\d+)?')  # host, perhaps a port
_SILENCE = 60.0  # seconds that a request may wait with its next bytes
_LARGEST_MESSAGE = 10**6  # bytes of a request that is no upload


class _RefusedError(Exception):
    """Why a request is not answered: HTTP's status and a line."""


class Gate:
    """Lets through what the page itself asks.

    Any page in a visitor's browser can send requests to this one; they say which page they come from. And the owner of
    a name can have it lead to this computer, so that his page and this one look like one (DNS rebinding); then the
    request says the name.

    Args:
        app (ASGIApp): the page.
        host (str): that it listens on.
        names (Iterable[str]): under which it may be reached, besides that, this computer's, localhost and IP addresses.
        storage (Storage): where uploads go.
        largest (int): bytes of an upload.
    """

    def __init__(self, app: ASGIApp, host: str, names: Iterable[str], storage: Storage, largest: int) -> None:
        self.app, self.storage, self.largest = app, storage, largest
        own = socket.gethostname().casefold()
        short = own.partition('.')[0]
        self.given = {name.casefold() for name in names}
        self.names = (self.given | {'localhost', host.casefold(), own, short, f'{short}.local'}) - {''}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope['type'] == 'lifespan':
            await self.app(scope, receive, send)
            return
        try:
            headers = Headers(scope=scope)
            self._check_source(headers)
            if scope['type'] != 'http' or '=http' in scope['path'].casefold():  # gradio would fetch that address
                raise _RefusedError(403, 'not possible here')
            if scope['method'] in ('GET', 'HEAD'):
                await self.app(scope, receive, send)
            else:
                with self.storage.room_for(self._length(scope['path'], headers)):
                    await self.app(scope, _in_time(receive), send)
        except ClientDisconnect:
            pass  # nobody is there for an answer, and the server would print a long stack trace
        except TimeoutError:
            await _answer(scope, receive, send, 408, f'nothing has come for {_SILENCE:.0f} s; try again')
        except _RefusedError as refusal:
            await _answer(scope, receive, send, *refusal.args)
        except UserError as error:
            await _answer(scope, receive, send, 507, str(error))

    def _check_source(self, headers: Headers) -> None:
        hosts = headers.getlist('host')
        if len(hosts) != 1 or not self._is_ours(_name_in(hosts[0])):
            raise _RefusedError(403, f'{", ".join(hosts)} is no name of this computer; if it is, add --allow-host NAME')
        for origin in headers.getlist('origin'):
            place = origin.partition('://')[2].casefold()
            if place != hosts[0].casefold() and _name_in(place) not in self.given:
                raise _RefusedError(403, f'{origin} is another page; it may not use this one')

    def _is_ours(self, name: str) -> bool:
        return name in self.names or name.endswith('.localhost') or _is_address(name)

    def _length(self, path: str, headers: Headers) -> int:
        """The length of a request's body in bytes."""
        length = headers.get('content-length', '')
        if not length.isdecimal():
            raise _RefusedError(411, 'a request must say how long it is')
        most = self.largest if path.endswith('/upload') else _LARGEST_MESSAGE
        if int(length) > most:
            raise _RefusedError(413, f'{int(length) / 1e6:.1f} MB are too much; {most / 1e6:.1f} MB are the limit')
        return int(length)


def _name_in(place: str) -> str:
    """The host in `host:port`; '' if there is no valid host."""
    match = _PLACE.fullmatch(place.casefold())
    return match[1] or match[2] if match else ''


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _in_time(receive: Receive) -> Receive:
    """`receive`, which raises TimeoutError if the body of a request stops coming. It holds a place meanwhile."""
    whole = False

    async def timed() -> Message:
        nonlocal whole
        if whole:  # what comes now is the end of the connection, for which pages wait
            return await receive()
        message = await asyncio.wait_for(receive(), _SILENCE)
        whole = not message.get('more_body', False)
        return message

    return timed


async def _answer(scope: Scope, receive: Receive, send: Send, status: int, text: str) -> None:
    if scope['type'] == 'websocket':
        await send({'type': 'websocket.close'})
    else:
        # What is still to come of the request is not read.
        await PlainTextResponse(text, status, {'Connection': 'close'})(scope, receive, send)
