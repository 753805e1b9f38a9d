"""Serving the page. Nothing is fetched from the internet, and nothing stays on the disk."""

import contextlib
import logging
import os
import signal
import socket
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from sst.api import Upscaler
from sst.upscaling.web.storage import own_folder
from sst.utils.errors import UserError
from sst.utils.files import one_line
from sst.utils.optional import require
from sst.utils.platforms import existing_signals

if TYPE_CHECKING:
    from starlette.types import ASGIApp

_MOST_REQUESTS = 200  # at once; more are answered with 503
_LOOPBACK = ('127.', '::1', 'localhost')
_GRADIO = ('gradio', 'Blocks', 'demo', 'the web demo')


def require_gradio() -> None:
    """Import gradio, after `_set_environment`. Raises `UserError` if it is missing."""
    if find_spec('gradio') is None:
        require(*_GRADIO)


def serve(
    models: Mapping[str, Upscaler],
    host: str,
    port: int,
    max_megapixels: float,
    max_disk: float | None = None,
    names: Sequence[str] = (),
) -> None:
    """Show the page until the program is told to end. Then delete all uploads and results.

    Args:
        models (Mapping[str, Upscaler]): what the page offers, by name.
        host (str): address to listen on.
        port (int): to listen on; 0 for any free one.
        max_megapixels (float): of a dropped picture.
        max_disk (float | None): GB of all uploads and results together; None for what suits the pictures.
        names (Sequence[str]): names by which others reach this computer.

    Raises:
        UserError: the address or port cannot be listened on.
    """
    listening = _listen(host, port)
    hangup = existing_signals('SIGHUP')  # the terminal is closed, which nohup has ignored
    ending = [signal.SIGTERM, *(number for number in hangup if signal.getsignal(number) is not signal.SIG_IGN)]
    for number in ending:
        signal.signal(number, signal.default_int_handler)
    with listening, own_folder() as folder:
        try:
            _set_environment(folder)
            require(*_GRADIO)
            from sst.upscaling.web.page import application

            app = application(models, folder, host, names, max_megapixels, max_disk)
            _run(app, listening, host, ending)
        except KeyboardInterrupt:
            _say('stopped')
    os._exit(0)  # a picture that is being enlarged is given up: its thread would keep the program alive


def _listen(host: str, port: int) -> socket.socket:
    """A socket that accepts connections, so that the page can be opened as soon as its address is printed."""
    family = socket.AF_INET6 if ':' in host else socket.AF_INET
    listening = _socket(family)
    try:
        listening.bind((host, port))
        listening.listen()
    except OSError as fault:
        listening.close()
        if isinstance(fault, socket.gaierror) or port == 0 or not _is_free(family, host, 0):
            raise UserError(f'--host {host}: cannot be listened on ({one_line(fault)}); try 127.0.0.1') from fault
        free = next((other for other in range(port + 1, port + 100) if _is_free(family, host, other)), 0)
        raise UserError(f'port {port} cannot be used ({one_line(fault)}); try --port {free}') from fault
    return listening


def _socket(family: socket.AddressFamily) -> socket.socket:
    """A socket that may use a port that another program has just left. Windows allows it without the option."""
    new = socket.socket(family)
    if os.name == 'posix':
        new.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return new


def _is_free(family: socket.AddressFamily, host: str, port: int) -> bool:
    with _socket(family) as attempt:
        try:
            attempt.bind((host, port))
        except (OSError, OverflowError):
            return False
    return True


def _set_environment(folder: Path) -> None:
    """Set the variables that gradio reads when it is imported."""
    os.environ |= {
        'GRADIO_ANALYTICS_ENABLED': 'False',
        'GRADIO_RUN_HISTORY': 'False',  # the browser would keep the pictures
        'GRADIO_TEMP_DIR': str(folder),
        'HF_HUB_OFFLINE': '1',
    }


def _run(app: 'ASGIApp', listening: socket.socket, host: str, ending: Sequence[signal.Signals]) -> None:
    import uvicorn

    from sst.upscaling.web.connections import Connection

    class Server(uvicorn.Server):
        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            logging.getLogger('uvicorn.error').disabled = True  # pages that are still open are no faults
            await super().shutdown(sockets)

    config = uvicorn.Config(
        app, http=Connection, log_level='error', timeout_graceful_shutdown=1, limit_concurrency=_MOST_REQUESTS
    )
    address = f'[{host}]' if ':' in host else host
    _say(f'http://{address}:{listening.getsockname()[1]}  (Ctrl-C to end)')
    if not host.startswith(_LOOPBACK):
        _say(f'Whoever can reach this computer at {host} can use the page.')
    server = Server(config)
    for number in ending:
        signal.signal(number, server.handle_exit)
    server.run(sockets=[listening])


def _say(line: str) -> None:
    with contextlib.suppress(OSError):  # the terminal may be gone
        print(line, flush=True)
