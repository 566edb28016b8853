"""Process trees: how much they use, and how to end every member of one."""
from __future__ import annotations

import os
import signal
from dataclasses import dataclass, field

import psutil


@dataclass
class Usage:
    "What a process tree used so far. `seen`: every process ever seen in it, so that strays can be ended."
    now_mb: float = 0.0
    peak_mb: float = 0.0
    cpu_seconds: float = 0.0
    seen: dict = field(default_factory=dict)

    def add_exit(self, end: dict):
        "What the operating system says when a child has ended is better than the last sample."
        self.cpu_seconds = max(self.cpu_seconds, end.get('cpu') or 0)
        self.peak_mb = max(self.peak_mb, end.get('peak_mb') or 0)


def sample(pid: int, usage: Usage) -> None:
    "Add what the tree under `pid` uses now. A tree that is gone changes nothing."
    try:
        root = psutil.Process(pid)
        tree = [root, *root.children(recursive=True)]
    except psutil.Error:
        return
    rss = 0
    for p in tree:
        try:
            with p.oneshot():
                rss += p.memory_info().rss
                t = p.cpu_times()
                usage.seen[p.pid, p.create_time()] = t.user + t.system
        except psutil.Error:
            pass
    usage.now_mb = rss / 1e6
    usage.peak_mb = max(usage.peak_mb, usage.now_mb)
    usage.cpu_seconds = max(usage.cpu_seconds, sum(usage.seen.values()))


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def send(pid: int, signum: int) -> None:
    "Send a signal to one process; none is needed if it is gone."
    try:
        os.kill(pid, signum)
    except (ProcessLookupError, PermissionError):
        pass


def interrupt(pid: int) -> None:
    "What Ctrl-C does: SIGINT to the whole group, so that a waiting subprocess ends too."
    try:
        os.killpg(pid, signal.SIGINT)
    except (ProcessLookupError, PermissionError):
        pass


def kill_session(pid: int, seen: dict) -> None:
    "SIGKILL for a session's every process, and for those of its tree that left it."
    members = set()
    for p in psutil.process_iter():
        try:
            if os.getsid(p.pid) == pid:
                members.add(p.pid)
        except OSError:
            pass
    for child, born in seen:
        try:
            if psutil.Process(child).create_time() == born:
                members.add(child)
        except psutil.Error:
            pass
    for member in members - {os.getpid()}:
        send(member, signal.SIGKILL)
