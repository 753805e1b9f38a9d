"""Runs a program without what Windows and macOS lack: `python tests/other_system.py PROGRAM ARGUMENTS`."""

import importlib
import io
import multiprocessing
import os
import runpy
import signal
import sys
from pathlib import Path

# Other people's packages are imported before: on this system they rely on what is hidden.
OTHERS = (
    'concurrent.futures.process', 'cv2', 'filelock', 'lmdb', 'scipy.ndimage', 'skimage.io', 'subprocess',
    'torch.utils.tensorboard', 'torchvision',
)  # fmt: skip
FUNCTIONS = (
    'chown', 'fork', 'forkpty', 'geteuid', 'getgid', 'getloadavg', 'getpgid', 'getuid', 'killpg', 'mkfifo', 'nice',
    'register_at_fork', 'sched_getaffinity', 'sched_setaffinity', 'setsid', 'sysconf', 'uname',
)  # fmt: skip
SIGNALS = ('SIGALRM', 'SIGHUP', 'SIGKILL', 'SIGPIPE', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2', 'alarm', 'pause')
MODULES = ('fcntl', 'grp', 'pwd', 'resource', 'termios', 'triton')
LINUX_FOLDERS = ('/proc/', '/sys/')


def hide() -> None:
    for name in OTHERS:
        importlib.import_module(name)
    for module, names in ((os, FUNCTIONS), (signal, SIGNALS)):
        for name in names:
            delattr(module, name)
    sys.modules.update(dict.fromkeys(MODULES))  # type: ignore[arg-type]  # None: importing it fails
    os_open, io_open = os.open, io.open

    def open_no_folder(path, flags, *arguments, **keywords):
        if os.path.isdir(path):
            raise PermissionError(13, 'Permission denied', path)
        return os_open(path, flags, *arguments, **keywords)

    def open_no_linux_file(file, *arguments, **keywords):
        if str(file).startswith(LINUX_FOLDERS):
            raise FileNotFoundError(2, 'No such file or directory', file)
        return io_open(file, *arguments, **keywords)

    os.open, io.open = open_no_folder, open_no_linux_file
    multiprocessing.set_start_method('spawn')
    sys.platform = 'darwin'  # 'win32' would break the parts of Python that are made for this system


if __name__ == '__main__':
    hide()
    sys.argv = sys.argv[1:]
    sys.path.insert(0, str(Path(sys.argv[0]).parent))
    runpy.run_path(sys.argv[0], run_name='__main__')
