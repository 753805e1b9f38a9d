"""Serving the page: nothing of the internet, and nothing that stays on the disk."""

import importlib.util
import logging
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from sst.api import Upscaler
from sst.utils.errors import UserError
from sst.utils.files import one_line

_LOOPBACK = ('127.', '::1', 'localhost')


def require_gradio() -> None:
    """Raises `UserError` that says what to install, where gradio is missing."""
    if importlib.util.find_spec('gradio') is None:
        raise UserError("the web demo needs gradio, which is not installed; run: pip install 'sst-sr[demo]'")


def serve(models: Mapping[str, Upscaler], host: str, port: int, max_megapixels: float) -> None:
    """Show the page until the program is told to end; then everything that was uploaded or made is deleted.

    Args:
        models (Mapping[str, Upscaler]): what the page offers, by name.
        host (str): address to listen on.
        port (int): to listen on; 0 for any free one.
        max_megapixels (float): of a dropped picture.

    Raises:
        UserError: the address or port cannot be listened on.
    """
    listening = _listen(host, port)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # What is being written while the program ends is deleted with the rest or cannot be finished.
    with listening, tempfile.TemporaryDirectory(prefix='sst-demo-', ignore_cleanup_errors=True) as folder:
        try:
            _set_environment(Path(folder))
            _run(models, Path(folder), listening, host, max_megapixels)
        except KeyboardInterrupt:
            print('stopped')
    sys.stdout.flush()
    os._exit(0)  # a picture that is being enlarged is given up: its thread would keep the program alive


def _listen(host: str, port: int) -> socket.socket:
    """A socket that takes connections, so that the page can be opened as soon as its address is printed."""
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
    """One that may take a port that a program has just left: always on Windows, where the option would steal ports."""
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
    """What gradio reads when it is imported."""
    os.environ |= {
        'GRADIO_ANALYTICS_ENABLED': 'False',
        'GRADIO_RUN_HISTORY': 'False',  # the browser would keep the pictures
        'GRADIO_TEMP_DIR': str(folder),
        'HF_HUB_OFFLINE': '1',
    }


def _run(
    models: Mapping[str, Upscaler], folder: Path, listening: socket.socket, host: str, max_megapixels: float
) -> None:
    import uvicorn

    from sst.web.page import application

    class Server(uvicorn.Server):
        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            logging.getLogger('uvicorn.error').disabled = True  # pages that are still open are no faults
            await super().shutdown(sockets)

    app = application(models, folder, max_megapixels)
    config = uvicorn.Config(app, log_level='error', timeout_graceful_shutdown=1)
    address = f'[{host}]' if ':' in host else host
    print(f'http://{address}:{listening.getsockname()[1]}  (Ctrl-C to end)', flush=True)
    if not host.startswith(_LOOPBACK):
        print(f'Whoever can reach this computer at {host} can use the page.', flush=True)
    Server(config).run(sockets=[listening])
