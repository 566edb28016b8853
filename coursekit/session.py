"""One notebook being run: where it is, what it has put out, what it may use, and how it ended.

Both engines tell the same story to a `Session`; it enforces time and memory and turns the story into a `Result`,
so that an outcome does not depend on the engine.
"""
from __future__ import annotations

import asyncio
import signal
import time

from . import processes
from .outputs import claims_in, text_of
from .records import CRASHED, ERROR, FAILED, OOM, PASSED, TIMEOUT, Failure, Job, Result

GRACE = 2.0           # seconds between SIGINT and SIGKILL
MAX_TEXT = 1_000_000  # characters of stream output kept for one cell
TICK = 0.1


class Session:
    "The life of one notebook's process."

    def __init__(self, job: Job, report=lambda *event: None):
        self.job, self.report = job, report
        self.outputs, self.counts, self.sizes, self.cut = {}, {}, {}, {}
        self.pid = self.code = self.cell = self.breach = self.failed = None
        self.stderr, self.notes = '', []
        self.completed = self.killed = False
        self.stopped = asyncio.Event()
        self.began = self.cell_began = time.monotonic()
        self.usage = processes.Usage()

    # what the engines tell

    def started(self, pid: int):
        "The notebook's process is there; from now on it is watched."
        self.pid = pid
        self.guard = asyncio.ensure_future(self.watch())

    def cell_started(self, number: int):
        self.cell, self.cell_began = number, time.monotonic()
        self.outputs[number] = []
        self.report('cell', self.job.key, number)

    def room_for(self, number: int, content: dict) -> bool:
        "May this piece of stream output be kept? The piece that crosses the limit is cut."
        room = MAX_TEXT - self.sizes.get(number, 0)
        self.sizes[number] = self.sizes.get(number, 0) + len(content['text'])
        if len(content['text']) > room:
            self.cut[number] = self.cut.get(number, 0) + len(content['text']) - max(room, 0)
            content['text'] = content['text'][:max(room, 0)]
        return room > 0

    def cell_done(self, number: int, outputs: list, reply: dict) -> bool:
        "A cell has ended, well or badly. -> is the next one to be run?"
        self.outputs[number] = outputs = list(outputs)
        self.counts[number] = len(self.counts) + 1
        if lost := self.cut.get(number):
            note = f'[{lost:,} more characters of output were cut off]\n'
            outputs.append({'output_type': 'stream', 'name': 'stderr', 'text': note})
        must_raise = 'raises-exception' in tags(self.job.raw['cells'][number - 1])
        if self.breach:
            return False
        if any(p.get('source') == 'ask_exit' for p in reply.get('payload') or ()):
            self.fail(number, reply, 'asked its own process to exit (exit() or quit()); a notebook runs to its end')
        elif reply.get('status') == 'error' and not must_raise:
            self.fail(number, reply)
        elif reply.get('status') != 'error' and must_raise:
            self.fail(number, reply, 'is tagged raises-exception but raised nothing')
        return self.failed is None

    def fail(self, number: int, reply: dict, message: str = ''):
        if not message:
            ename, evalue = reply.get('ename', ''), reply.get('evalue', '')
            message = f'{ename}: {evalue}' if evalue else ename
            if ename == 'SystemExit':
                message = f'SystemExit: {evalue} (a notebook that ends its own process has not run to its end)'
        self.failed = (number, message, reply)

    def finished(self, code: int | None, stderr: str = ''):
        "The process is gone. `code`: its exit code (negative: a signal) if it ended by itself, else None."
        self.code, self.stderr = code, stderr
        if self.pid is not None:
            self.guard.cancel()
        self.seconds = time.monotonic() - self.began

    # limits

    async def watch(self):
        "Sample the process tree and stop it when a limit is passed."
        while True:
            processes.sample(self.pid, self.usage)
            if breach := self.check():
                self.breach = breach
                await self.stop(gently=breach[0] == TIMEOUT)
                return
            await asyncio.sleep(TICK)

    def check(self) -> tuple[str, str] | None:
        job, now = self.job, time.monotonic()
        if job.mem_limit and self.usage.now_mb > job.mem_limit * 1000:
            return OOM, f'used {self.usage.now_mb:,.0f} MB; the limit is {job.mem_limit:g} GB'
        if job.cell_timeout and self.cell and now - self.cell_began > job.cell_timeout:
            return TIMEOUT, f'the cell took longer than {job.cell_timeout:g} s'
        if job.timeout and now - self.began > job.timeout:
            return TIMEOUT, f'the notebook took longer than {job.timeout:g} s'
        return None

    async def stop(self, gently: bool):
        "SIGINT, so that the traceback shows where it was; then SIGABRT, whose stack does; then SIGKILL."
        cell = self.cell
        if gently:
            processes.interrupt(self.pid)
            if not await self.settled(cell, GRACE):
                processes.send(self.pid, signal.SIGABRT)
                await self.settled(cell, 0.5)
        self.kill()
        self.stopped.set()

    async def settled(self, cell, seconds: float) -> bool:
        "Has the cell ended, or the process, within some seconds?"
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if cell in self.counts or not processes.alive(self.pid):
                return True
            await asyncio.sleep(0.02)
        return False

    def kill(self):
        "End the process and all that it started."
        if self.pid is not None and not self.killed:
            self.killed = True
            processes.sample(self.pid, self.usage)
            processes.kill_session(self.pid, self.usage.seen)

    # the outcome

    def result(self, engine: str = '') -> Result:
        outcome, cell, message = self.verdict()
        res = Result(self.job.key, outcome, cell, message, self.seconds, self.usage.cpu_seconds,
                     self.usage.peak_mb, engine=engine, notes=self.notes,
                     skipped_cells={str(k): v for k, v in self.job.skip.items()})
        for number, outs in sorted(self.outputs.items()):
            res.claims += [{'cell': number, **claim} for claim in claims_in(outs)]
        if outcome not in (PASSED,):
            reply = self.failed[2] if self.failed else self.last_error()
            res.failure = Failure(reply.get('ename', ''), reply.get('evalue', ''), reply.get('traceback', []),
                                  last_output=self.last_output(cell))
        return res

    def verdict(self) -> tuple[str, int | None, str]:
        if self.breach:
            return self.breach[0], self.cell, self.breach[1]
        if self.failed:
            return FAILED, self.failed[0], self.failed[1]
        if self.completed:
            return PASSED, None, ''
        if self.code is not None:
            outcome, message = exit_meaning(self.code)
            return outcome, self.cell, message
        return ERROR, self.cell, 'the notebook did not run to its end'

    def last_error(self) -> dict:
        "The error among the current cell's outputs (an interrupted cell has one)."
        return next((o for o in reversed(self.outputs.get(self.cell, [])) if o['output_type'] == 'error'), {})

    def last_output(self, cell) -> str:
        texts = [text_of(o['text']) for o in self.outputs.get(cell, []) if o['output_type'] == 'stream']
        return ''.join(texts)[-2000:]


def tags(cell: dict) -> list:
    return cell.get('metadata', {}).get('tags') or []


def exit_meaning(code: int) -> tuple[str, str]:
    "What an exit that nobody asked for tells. -> (outcome, message)"
    if code == -signal.SIGKILL:
        return OOM, 'the process was killed from outside (SIGKILL): most likely the machine ran out of memory'
    if code < 0:
        return CRASHED, f'the process died of {signal.Signals(-code).name}'
    return CRASHED, (f'the process ended itself with exit status {code} (os._exit?) before the notebook was through; '
                     'cells after this one did not run')
