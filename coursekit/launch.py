"""Starting the warm parent of the `fork` engine.

It is started before anything else, when the command line is not yet read, and gets ready while the
runner imports its own parts and makes its plan. So this module imports next to nothing.
"""
from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

TOOLS = Path(__file__).resolve().parent.parent
APART = {'-h', '--help', '--scheduler', '--readme', 'kernel'}  # what needs no parent
waiting = []  # a parent that was started early and not yet taken


@dataclass
class Launched:
    "A warm parent: its process, our end of its socket, and the folder it works in."
    process: subprocess.Popen
    control: socket.socket
    folder: str

    def end(self):
        "End a parent that has not forked anything."
        self.control.close()
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def launch() -> Launched:
    "Start a warm parent. What it is to import, and in what environment, it is told later."
    folder = tempfile.mkdtemp(prefix='ck')
    env = os.environ | {'PYTHONPATH': str(TOOLS), 'IPYTHONDIR': os.path.join(folder, 'ipython')}
    env.pop('PYTEST_CURRENT_TEST', None)
    env.setdefault('MPLBACKEND', 'module://matplotlib_inline.backend_inline')
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, '-Xfrozen_modules=off', '-m', 'coursekit.warm', str(theirs.fileno())],
            env=env, cwd=folder, pass_fds=[theirs.fileno()], start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return Launched(process, ours, folder)


def early(argv):
    "Start a parent now if the command line looks as if one will be needed."
    words = {word for arg in argv for word in arg.split('=')}
    if sys.platform == 'linux' and not words & APART:
        waiting.append(launch())


def take() -> Launched:
    "The parent that was started early, or a new one."
    return waiting.pop() if waiting else launch()


def discard():
    "End the parent that was started early if nobody took it."
    while waiting:
        waiting.pop().end()
