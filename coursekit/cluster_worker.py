"""The far side of `--scheduler`: what a dask worker does with a notebook.

This file travels as text, so that a worker needs no part of the course, and works in two steps:
`task` runs in the worker's thread and starts a fresh process, which lays the course's files out in
a private folder and runs the notebook there with the same `Pool` as a local run. Until that folder
is there, only the standard library is to be had.
"""
import importlib.util
import io
import json
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import zipfile

NEEDED = ('IPython', 'ipykernel', 'jupyter_client', 'nbclient', 'nbformat', 'psutil')
BOOT = ('import sys; '
        'exec(compile(sys.stdin.buffer.read(int(sys.argv[1])), "cluster_worker.py", "exec"))')
PATIENCE = 15  # seconds that the process gets to tidy up after itself


# In the worker


def task(source: str, parcel: bytes, topic: str, key: str) -> dict:
    """Run the notebook in `parcel` in a process of its own. -> its last message, and the worker

    The process ends when its standard input does, so it never outlives the worker, nor a task that
    was cancelled.
    """
    from distributed import get_worker
    worker = get_worker()
    name = worker.get_current_task()
    folder = os.path.realpath(tempfile.mkdtemp(prefix='ck'))
    text = source.encode()
    end = {'error': 'the task was cancelled'}
    try:
        log = tempfile.TemporaryFile()
        command = [sys.executable, '-c', BOOT, str(len(text)), folder, worker.address,
                   str(worker.state.nthreads)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=log)
        try:
            messages = listen(process, text + len(parcel).to_bytes(8, 'big') + parcel)
            while wanted(worker, name):
                try:
                    message = messages.get(timeout=.5)
                except queue.Empty:
                    continue
                if message is None:
                    end = {'error': f'its process ended with status {process.wait()} '
                                    f'and no result{last_lines(log)}'}
                    break
                if 'cell' in message:
                    worker.log_event(topic, {'key': key, 'cell': message['cell']})
                else:
                    end = message
                    break
        finally:
            dismiss(process)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return {**end, 'worker': worker.address, 'folder': folder}


def wanted(worker, name) -> bool:
    "Does anybody still wait for this task?"
    state = worker.state.tasks.get(name)
    return state is not None and state.state != 'cancelled'


def listen(process, data: bytes) -> queue.Queue:
    "Hand the process its input, and collect the messages it writes, a line each; then None."
    messages = queue.Queue()

    def write():
        try:
            process.stdin.write(data)
            process.stdin.flush()
        except OSError:
            pass  # it died; its end tells

    def read():
        for line in process.stdout:
            try:
                messages.put(json.loads(line))
            except ValueError:
                pass
        messages.put(None)

    for job in (write, read):
        threading.Thread(target=job, daemon=True).start()
    return messages


def dismiss(process):
    "End the process: gently, as it has notebooks to stop and a folder to remove."
    try:
        process.stdin.close()
    except OSError:
        pass
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def last_lines(log) -> str:
    "The end of what a process wrote to standard error."
    log.seek(0)
    lines = log.read()[-2000:].decode('utf-8', 'replace').splitlines()
    lines = [line.strip() for line in lines if line.strip()]
    return ': ' + ' / '.join(lines[-3:]) if lines else ''


# In the notebook's own process


def main():
    "Read the parcel from standard input, run its notebook, write messages to standard output."
    speak = os.fdopen(os.dup(1), 'w', encoding='ascii')
    os.dup2(2, 1)  # what anybody else prints is no message

    def say(**message):
        print(json.dumps(message), file=speak, flush=True)

    folder = sys.argv[2]
    size = int.from_bytes(sys.stdin.buffer.read(8), 'big')
    data = sys.stdin.buffer.read(size)
    if len(data) < size:
        return
    with zipfile.ZipFile(io.BytesIO(data)) as parcel:
        order = json.loads(parcel.read('order.json'))
        parcel.extractall(folder)
    if problem := unable(order):
        say(error=problem)
        return
    sys.path[:0] = [os.path.join(folder, order['tools'])]
    say(**carry_out(order, folder, say))


def unable(order: dict) -> str:
    "Why the notebook cannot run here, and what to do; empty when it can."
    if sys.version_info < (3, 11):
        return f'it has Python {sys.version.split()[0]}; 3.11 or newer is needed'
    missing = [name for name in (*NEEDED, *order['packages'])
               if importlib.util.find_spec(name) is None]
    if not missing:
        return ''
    return (f'it lacks {", ".join(missing)}, which the notebook needs: install the course\'s '
            f'packages for {sys.executable} there')


def carry_out(order: dict, folder: str, say) -> dict:
    "Run the notebook with the usual engines. -> the last message"
    import asyncio
    from coursekit import processes
    from coursekit.cluster import environment, own_versions
    from coursekit.engine_fork import available
    from coursekit.records import Job
    from coursekit.runner import Pool
    root = os.path.join(folder, 'course')
    path = os.path.join(root, *order['path'].split('/'))
    with open(path, encoding='utf-8') as f:
        raw = json.load(f)
    tools = os.path.join(folder, order['tools'])
    env = environment(order, root, tools, sys.argv[3], int(sys.argv[4]))
    job = Job(order['key'], path, raw, os.path.dirname(path), env,
              {int(n): why for n, why in order['skip'].items()}, **order['limits'])
    engine = 'kernel' if order['engine'] == 'kernel' or available() else 'fork'
    left = order['seconds_left']
    deadline = None if left is None else time.monotonic() + left
    processes.adopt_orphans()

    def report(kind, key, what=None):
        if kind == 'cell':
            say(cell=what)

    async def run():
        work, loop = asyncio.current_task(), asyncio.get_running_loop()
        threading.Thread(target=end_with_worker, args=(loop, work, folder), daemon=True).start()
        async with Pool(engine, order['modules'], env, root) as pool:
            return await pool.run(job, report, deadline)

    try:
        result = asyncio.run(run())
    except asyncio.CancelledError:
        return {'error': 'the task was cancelled'}
    finally:
        processes.end_descendants()
    keep = order['keep'] == 'all' or order['keep'] == ('passed' if result.ok else 'failed')
    result.raw = result.raw if keep else None
    return {'result': result.as_dict(), 'versions': own_versions()}


def end_with_worker(loop, work, folder):
    "When standard input ends, the worker is gone or wants no more: stop, and leave nothing behind."
    while os.read(0, 1):  # not through sys.stdin, whose lock would be held when Python ends
        pass
    try:
        loop.call_soon_threadsafe(work.cancel)
    except RuntimeError:
        return  # the work is done
    time.sleep(PATIENCE - 5)
    from coursekit import processes
    processes.end_descendants()
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)


if __name__ == '__main__':
    try:
        main()
    finally:
        shutil.rmtree(sys.argv[2], ignore_errors=True)
