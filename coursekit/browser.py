"""A headless Chromium or Chrome, driven over its own protocol, to try pages as a reader meets them."""
from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

NAMES = ('chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable', 'chrome',
         'msedge', '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
         '/Applications/Chromium.app/Contents/MacOS/Chromium')
QUIET = ('--headless=new', '--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-sync',
         '--hide-scrollbars', '--disable-background-networking', '--disable-component-update',
         '--disable-default-apps',
         '--disable-extensions', '--remote-debugging-port=0', '--remote-allow-origins=*',
         '--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1')


def find() -> str | None:
    "The browser to use: `$CHROME`, else the first of those known that is there."
    names = filter(None, (os.environ.get('CHROME'), *NAMES))
    return next(filter(None, map(shutil.which, names)), None)


@contextlib.contextmanager
def started(program):
    "A headless browser with a profile of its own -> the address of its protocol"
    with tempfile.TemporaryDirectory(prefix='browser-', ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen([program, *QUIET, f'--user-data-dir={profile}', 'about:blank'],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            yield protocol(Path(profile, 'DevToolsActivePort'), process)
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def protocol(file: Path, process, patience=30) -> str:
    until = time.monotonic() + patience
    while time.monotonic() < until:
        if process.poll() is not None:
            raise OSError(f'{process.args[0]} ended at once, with status {process.returncode}')
        lines = file.read_text().split() if file.is_file() else []
        if len(lines) == 2:
            return f'ws://127.0.0.1:{lines[0]}{lines[1]}'
        time.sleep(.05)
    raise OSError(f'{process.args[0]} did not open its port within {patience} s')


class Tab:
    "One tab: goes to pages, asks them things, takes pictures; notes errors and requests elsewhere."

    def __init__(self, socket, root):
        self.socket, self.root, self.session = socket, root, None
        self.last, self.errors, self.loaded, self.page = 0, [], False, ''

    async def call(self, method, **params):
        "Send one command and wait for its answer; what happens meanwhile is noted."
        self.last += 1
        message = {'id': self.last, 'method': method, 'params': params}
        if self.session:
            message['sessionId'] = self.session
        await self.socket.write_message(json.dumps(message))
        while True:
            answer = await self.receive()
            if answer.get('id') == self.last:
                if 'error' in answer:
                    raise OSError(f'{method}: {answer["error"]["message"]}')
                return answer['result']

    async def receive(self):
        try:
            text = await asyncio.wait_for(self.socket.read_message(), 60)
        except asyncio.TimeoutError:
            raise OSError(f'{self.page}: the browser has said nothing for a minute') from None
        if text is None:
            raise OSError('the browser ended')
        message = json.loads(text)
        self.note(message.get('method'), message.get('params', {}))
        return message

    def note(self, event, params):
        if event == 'Page.loadEventFired':
            self.loaded = True
        elif event == 'Network.requestWillBeSent':
            url = params['request']['url']
            if not url.startswith((self.root, 'data:', 'blob:', 'about:', 'chrome')):
                self.errors.append(f'{self.page}: asks another host for {url}')
        elif event == 'Network.responseReceived' and params['response']['status'] >= 400:
            self.errors.append(f'{self.page}: {params["response"]["url"]} is not there')
        elif event == 'Runtime.exceptionThrown':
            details = params['exceptionDetails']
            what = details.get('exception', {}).get('description') or details['text']
            self.errors.append(f'{self.page}: {what.splitlines()[0]}')

    async def open(self):
        target = await self.call('Target.createTarget', url='about:blank')
        found = await self.call('Target.attachToTarget', targetId=target['targetId'], flatten=True)
        self.session = found['sessionId']
        for domain in ('Page', 'Runtime', 'Network'):
            await self.call(f'{domain}.enable')

    async def size(self, width, height, scale=1):
        await self.call('Emulation.setDeviceMetricsOverride', width=width, height=height,
                        deviceScaleFactor=scale, mobile=width < 600)

    async def go(self, page):
        "Open a page anew, even if only what follows its `#` differs."
        self.page = page
        for url in ('about:blank', f'{self.root}/{page}'):
            self.loaded = False
            await self.call('Page.navigate', url=url)
            while not self.loaded:
                await self.receive()

    async def ask(self, script):
        "The value of an expression in the page; a promise is waited for."
        answer = await self.call('Runtime.evaluate', expression=script, returnByValue=True,
                                 awaitPromise=True)
        if details := answer.get('exceptionDetails'):
            raise OSError(f'{self.page}: {script}: {details["exception"]["description"]}')
        return answer['result'].get('value')

    async def until(self, script, seconds=15):
        "Wait for an expression to be true -> did it become so?"
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if await self.ask(script):
                return True
            await asyncio.sleep(.1)
        return False

    async def shoot(self, path):
        answer = await self.call('Page.captureScreenshot', format='png')
        Path(path).write_bytes(base64.b64decode(answer['data']))
