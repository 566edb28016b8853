"""The runner's side of a forked notebook: two pipes and a channel, put back into one order."""
from __future__ import annotations

import codecs
import os

from . import channel
from .session import Session


class Reader:
    """Puts the child's two pipes and its messages back into one order, and tells the session.

    Before it sends message k the child writes mark k into both pipes; so message k comes after all
    text before these marks.
    """
    MARK = 27  # bytes of a mark: \x1e, 16 of the token, colon, 8 digits, newline

    def __init__(self, session: Session, token: str):
        self.session, self.start = session, b'\x1e' + token.encode() + b':'
        self.feed, self.messages, self.done = channel.Feed(), [], 0
        self.buffers = {'stdout': bytearray(), 'stderr': bytearray()}
        decoder = codecs.getincrementaldecoder('utf-8')
        self.decoders = {name: decoder('replace') for name in self.buffers}
        self.passed = {'stdout': 0, 'stderr': 0}
        self.open, self.number, self.outputs, self.displays = {}, None, [], {}
        self.clear_next = False

    def attach(self, loop, ends):
        "Begin to read our ends of the channel and of the two pipes."
        self.loop, self.ended = loop, loop.create_future()
        for name, end in zip(('channel', 'stdout', 'stderr'), ends):
            self.open[name] = end.fileno()
            os.set_blocking(end.fileno(), False)
            loop.add_reader(end.fileno(), self.read, name)

    def detach(self):
        for name in list(self.open):
            self.close(name)

    def close(self, name):
        self.loop.remove_reader(self.open.pop(name))
        if not self.open and not self.ended.done():
            self.ended.set_result(None)

    def read(self, name) -> bool:
        "Take what is there. -> was there anything?"
        try:
            data = os.read(self.open[name], 1 << 18)
        except BlockingIOError:
            return False
        except ConnectionResetError:
            data = b''
        if not data:
            self.close(name)
        elif name == 'channel':
            self.messages += self.feed.messages(data)
        else:
            self.buffers[name] += data
        self.pump()
        return bool(data)

    def drain(self):
        "The child is gone: take what it left behind, whatever marks are missing."
        for name in list(self.open):
            while name in self.open and self.read(name):
                pass
        self.pump(last=True)

    def pump(self, last=False):
        while True:
            for name in self.buffers:
                if self.passed[name] == self.done:
                    self.take_text(name, last)
            if not self.messages or not (last or all(n > self.done for n in self.passed.values())):
                return
            self.done += 1
            for name in self.passed:
                self.passed[name] = max(self.passed[name], self.done)
            self.handle(self.messages.pop(0))

    def take_text(self, name, last):
        "Hand on the text up to the next mark, or as much of it as cannot be the beginning of one."
        buffer = self.buffers[name]
        at = buffer.find(self.start)
        if at >= 0 and len(buffer) >= at + self.MARK:
            text, self.passed[name] = buffer[:at], self.passed[name] + 1
            del buffer[:at + self.MARK]
        else:
            keep = buffer.rfind(b'\x1e', max(0, len(buffer) - self.MARK)) if not last else -1
            end = len(buffer) if keep < 0 else keep
            text = buffer[:end]
            del buffer[:end]
        if text:
            self.text(name, self.decoders[name].decode(bytes(text)))

    def text(self, name, text):
        content = {'name': name, 'text': text}
        if self.number is not None and self.session.room_for(self.number, content):
            self.output({'output_type': 'stream', **content})

    def handle(self, message):
        if 'start' in message:
            self.number, self.outputs = message['start'], []
            self.clear_next = False
            self.session.cell_started(self.number)
            self.session.outputs[self.number] = self.outputs
        elif 'reply' in message:
            self.session.cell_done(message['number'], self.outputs, message['reply'],
                                   message['frames'])
            self.number = None
        elif 'broken' in message:
            self.session.broken = message['broken']
        elif 'end' in message:
            self.session.completed = self.session.failed is None
            self.session.parameters = message['parameters']
            if not self.ended.done():
                self.ended.set_result(None)
        elif self.number is not None:
            self.display(message['type'], message['content'])

    def display(self, kind, content):
        "What a front end does with a message of this kind."
        if not self.session.room_for_rich(self.number, content):
            return
        name = (content.get('transient') or {}).get('display_id')
        if name and kind in ('display_data', 'update_display_data', 'execute_result'):
            for out in self.displays.get(name, ()):
                out.update(data=content['data'], metadata=content['metadata'])
        if kind == 'clear_output':
            if content.get('wait'):
                self.clear_next = True
            else:
                self.clear()
        elif kind in ('display_data', 'execute_result'):
            out = {'output_type': kind, 'data': content['data'], 'metadata': content['metadata']}
            if kind == 'execute_result':
                out['execution_count'] = content['execution_count']
            self.output(out)
            if name:
                self.displays.setdefault(name, []).append(out)
        elif kind == 'error':
            error = {k: content[k] for k in ('ename', 'evalue', 'traceback')}
            self.output({'output_type': 'error', **error})

    def output(self, out):
        if self.clear_next:
            self.clear_next = False
            self.clear()
        self.outputs.append(out)

    def clear(self):
        for outs in self.displays.values():
            outs[:] = [o for o in outs if not any(o is mine for mine in self.outputs)]
        self.outputs.clear()
