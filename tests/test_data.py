"""The data layer (chapter 00a) on bad input and bad lines. No real network: servers on 127.0.0.1 only."""
import gzip
import hashlib
import io
import os
import pickle
import stat
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

import exp.nb_00a as data

ROOT = Path(__file__).parent.parent
CONTENT = bytes(range(256)) * 400  # 102,400 bytes


def sha(content):
    return hashlib.sha256(content).hexdigest()


class Mirror:
    """A web server on this machine, good or bad.

    files: path -> bytes · cut: hang up after so many bytes of each answer · ranges: does it understand
    Range? · status: answer with this status only · lie: promise the length but send nothing
    """
    def __init__(self, files, cut=None, ranges=True, status=None):
        self.asked = asked = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                asked.append((self.path, self.headers['Range']))
                content = files.get(self.path)
                if status or content is None:
                    return self.send_error(status or 404)
                start = int(self.headers['Range'][6:-1]) if ranges and self.headers['Range'] else 0
                if start >= len(content):
                    return self.send_error(416)
                self.send_response(206 if start else 200)
                self.send_header('Content-Length', str(len(content) - start))
                if self.path.endswith('.gz'):  # as some servers do; it must not be unpacked on the way
                    self.send_header('Content-Encoding', 'gzip')
                self.end_headers()
                self.wfile.write(content[start:][:cut])

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self.url = f'http://127.0.0.1:{self.server.server_port}/'
        threading.Thread(target=self.server.serve_forever, args=(.01,), daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def mirror():
    made = []

    def make(content=CONTENT, name='file.bin', **kwargs):
        made.append(Mirror({'/' + name: content}, **kwargs))
        return made[-1]
    yield make
    for m in made:
        m.close()


@pytest.fixture
def course(tmp_path, monkeypatch):
    "A course folder of our own, with a data/datasets.toml that `course(text)` writes."
    root = tmp_path / 'course'
    (root / 'data').mkdir(parents=True)
    (root / 'data' / 'glyphs.npz').write_bytes((ROOT / 'data' / 'glyphs.npz').read_bytes())
    for name in ('COURSE_DATA', 'COURSE_OFFLINE', 'http_proxy', 'https_proxy', 'HTTP_PROXY', 'HTTPS_PROXY'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(data, 'course_root', lambda: root)
    data._say_once.cache_clear()

    def write(name='set', mirrors=(), content=CONTENT, sums=None, file='file.bin', extra='', more=''):
        sums = [sha(content)] if sums is None else sums
        (root / 'data' / 'datasets.toml').write_text(f'''
[digits]
title = "digits"
built_in = true
[{name}]
title = "a set"
source = "nowhere"
folder = "{name}"
mirrors = {list(mirrors)}
{more}
[[{name}.files]]
name = "{file}"
size = {len(content)}
sha256 = {sums}
{extra}
'''.replace("'", '"'))
        return root / 'data'
    write.root = root
    return write


def files(folder):
    "All that lies in a folder, apart from lock files, as relative paths."
    return sorted(str(p.relative_to(folder)) for p in Path(folder).rglob('*')
                  if p.is_file() and not p.name.endswith('.lock')
                  and p.name not in ('datasets.toml', 'glyphs.npz'))


# ---- names

@pytest.mark.parametrize('name, hint', [('minst', 'mnist'), ('MNIST', 'mnist'), ('cifar', 'cifar10'),
                                        ('shakespear', 'shakespeare')])
def test_unknown_dataset_suggests_a_known_one(name, hint):
    with pytest.raises(ValueError, match=f"unknown dataset '{name}': did you mean '{hint}'.*Known are digits, mnist"):
        data.fetch(name)


@pytest.mark.parametrize('name', ['', 'no such thing', '../mnist', None, 3])
def test_unknown_dataset_lists_the_known(name):
    with pytest.raises(ValueError, match='unknown dataset .*Known are digits, mnist'):
        data.fetch(name)


def test_from_the_command_line_import_is_cheap_and_an_error_is_exit_status_1():
    code = ('import sys, time, torch; start = time.process_time(); import exp.nb_00a as data;'
            'print(time.process_time() - start); print(sorted({"matplotlib", "pooch", "requests"} & set(sys.modules)));'
            'data.fetch("minst")')
    run = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, cwd=ROOT)
    seconds, heavy = run.stdout.splitlines()
    assert float(seconds) < .5 and heavy == '[]'
    assert run.returncode == 1
    assert run.stderr.strip().splitlines()[-1].startswith("ValueError: unknown dataset 'minst'")


def test_datasets_toml_is_complete():
    known = data.datasets()
    assert {'digits', 'mnist', 'cifar10', 'spoken_digits'} <= set(known)
    for name, info in known.items():
        assert info['title'] and info['licence'] and info['source'], name
        if info.get('built_in'):
            continue
        assert info.get('stand_in', 'digits') in known
        for mirror in info.get('mirrors', []):
            assert mirror.startswith('https://') and mirror.endswith('/')
        for file in info['files']:
            assert file['size'] > 0 and '/' not in file['name']
            assert all(len(s) == 64 and int(s, 16) for s in file['sha256'])
    assert len(known['mnist']['mirrors']) >= 2


# ---- on the disk

def test_found_in_course_data_without_touching_the_network(course, tmp_path, monkeypatch):
    course(mirrors=['http://127.0.0.1:9/'])
    shared = tmp_path / 'shared'
    (shared / 'set').mkdir(parents=True)
    (shared / 'set' / 'file.bin').write_bytes(CONTENT)
    monkeypatch.setenv('COURSE_DATA', str(shared))
    assert data.fetch('set') == shared / 'set' / 'file.bin'
    assert files(course.root) == []


def test_course_data_may_be_relative_to_the_course(course, monkeypatch):
    course()
    shared = course.root.parent / 'shared'
    (shared / 'set').mkdir(parents=True)
    (shared / 'set' / 'file.bin').write_bytes(CONTENT)
    monkeypatch.setenv('COURSE_DATA', '../shared')
    monkeypatch.chdir('/')
    assert data.fetch('set').read_bytes() == CONTENT


def test_course_data_that_is_no_folder(course, monkeypatch):
    course()
    monkeypatch.setenv('COURSE_DATA', '/no/such/folder')
    with pytest.raises(FileNotFoundError, match='COURSE_DATA=/no/such/folder is not a folder'):
        data.fetch('set')


def test_wrong_checksum_on_the_disk_is_an_error_even_with_a_stand_in(course, mirror):
    m = mirror()
    folder = course(mirrors=[m.url], more='stand_in = "digits"') / 'set'
    folder.mkdir()
    (folder / 'file.bin').write_bytes(CONTENT[:-1] + b'?')
    with pytest.raises(data.ChecksumError, match='file.bin is damaged, or another edition.*Delete it'):
        data.fetch('set')
    assert m.asked == []


def test_several_checksums_are_accepted(course):
    other = b'the same, packed otherwise'
    folder = course(sums=[sha(CONTENT), sha(other)]) / 'set'
    folder.mkdir()
    for content in (CONTENT, other):
        (folder / 'file.bin').write_bytes(content)
        assert data.fetch('set').read_bytes() == content
    (folder / 'file.bin').write_bytes(b'a third')
    with pytest.raises(data.ChecksumError):
        data.fetch('set')


def test_a_file_changed_since_it_was_checked_is_checked_again(course, monkeypatch):
    folder = course() / 'set'
    folder.mkdir()
    path = folder / 'file.bin'
    path.write_bytes(CONTENT)
    hashed = []
    digest = hashlib.file_digest
    monkeypatch.setattr(hashlib, 'file_digest', lambda f, name: hashed.append(name) or digest(f, name))
    data.fetch('set')
    data.fetch('set')
    assert len(hashed) == 1
    path.write_bytes(bytes(len(CONTENT)))
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
    with pytest.raises(data.ChecksumError):
        data.fetch('set')


# ---- no network

def test_offline_never_touches_the_network(course, mirror, monkeypatch):
    m = mirror()
    course(mirrors=[m.url])
    monkeypatch.setenv('COURSE_OFFLINE', '1')
    with pytest.raises(data.DownloadError, match=r'set: not on this machine, and COURSE_OFFLINE is set.*'
                                                 'file.bin into set/'):
        data.fetch('set')
    assert m.asked == [] and files(course.root) == []


@pytest.mark.parametrize('value, off', [('1', True), ('true', True), ('0', False), ('', False), ('no', False)])
def test_values_of_course_offline(course, mirror, monkeypatch, value, off):
    course(mirrors=[mirror().url])
    monkeypatch.setenv('COURSE_OFFLINE', value)
    if off:
        with pytest.raises(data.DownloadError):
            data.fetch('set')
    else:
        assert data.fetch('set').read_bytes() == CONTENT


def test_no_network_says_so_and_leaves_nothing(course):
    course(mirrors=['http://127.0.0.1:9/', 'http://127.0.0.1:10/'])
    with pytest.raises(data.DownloadError, match='127.0.0.1:9: no connection; 127.0.0.1:10: no connection'):
        data.fetch('set')
    assert files(course.root / 'data') == ['.set.failed']


def test_no_name_server(course, monkeypatch):
    import socket

    def no_such_host(*args, **kwargs):
        raise socket.gaierror(-3, 'Temporary failure in name resolution')
    monkeypatch.setattr(socket, 'getaddrinfo', no_such_host)
    course(mirrors=['https://data.example.org/'])
    with pytest.raises(data.DownloadError, match='data.example.org: no connection'):
        data.fetch('set')


def test_stand_in_is_used_and_told_once(course, capsys, monkeypatch):
    course(name='mnist', mirrors=['http://127.0.0.1:9/'], more='stand_in = "digits"')
    monkeypatch.setattr(data, '_write_digits', lambda folder: (folder / 'here').touch())
    assert data.fetch('mnist').name.startswith('digits-')
    assert data.data_name() == 'digits'
    data.fetch('mnist')
    told = capsys.readouterr().out.splitlines()
    assert 'no connection' in told[0] and 'Using the built-in stand-in: digits' in told[0]
    assert len(told) == 2 and 'could be reached a moment ago' in told[1]


def test_a_failure_is_forgotten_after_five_minutes(course, mirror, monkeypatch):
    monkeypatch.setattr(data, '_write_digits', lambda folder: (folder / 'here').touch())
    course(mirrors=['http://127.0.0.1:9/'], more='stand_in = "digits"')
    assert data._resolve('set')[0] == 'digits'
    m = mirror()
    course(mirrors=[m.url], more='stand_in = "digits"')
    assert data._resolve('set')[0] == 'digits' and m.asked == []
    before = time.time() - 301
    os.utime(course.root / 'data' / '.set.failed', (before, before))
    assert data._resolve('set')[0] == 'set'


# ---- downloads

def test_download_lands_complete_and_only_once(course, mirror):
    m = mirror()
    folder = course(mirrors=[m.url])
    assert data.fetch('set') == folder / 'set' / 'file.bin'
    assert data.fetch('set').read_bytes() == CONTENT
    assert m.asked == [('/file.bin', None)]
    assert files(folder) == ['set/file.bin']


def test_the_second_mirror_is_used_when_the_first_is_down_or_wrong(course, mirror):
    down, wrong = 'http://127.0.0.1:9/', mirror(content=b'x' * len(CONTENT))
    missing, broken, good = mirror(name='other'), mirror(status=503), mirror()
    course(mirrors=[down, wrong.url, missing.url, broken.url, good.url])
    assert data.fetch('set').read_bytes() == CONTENT
    assert [len(m.asked) for m in (wrong, missing, broken, good)] == [1, 1, 1, 1]
    assert files(course.root / 'data') == ['set/file.bin']


def test_remote_name(course, mirror):
    course(mirrors=[mirror(name='input.txt').url], extra='remote = "input.txt"')
    assert data.fetch('set').name == 'file.bin'


def test_wrong_checksum_leaves_nothing(course, mirror):
    course(mirrors=[mirror(content=bytes(len(CONTENT))).url])
    with pytest.raises(data.DownloadError, match='wrong checksum'):
        data.fetch('set')
    assert files(course.root / 'data') == ['.set.failed']


def test_a_packed_file_arrives_packed(course, mirror):
    packed = gzip.compress(CONTENT)
    course(mirrors=[mirror(content=packed, name='file.gz').url], content=packed, file='file.gz')
    assert data.fetch('set').read_bytes() == packed


def test_a_broken_download_is_resumed(course, mirror):
    m = mirror(cut=30_000)
    course(mirrors=[m.url])
    assert data.fetch('set').read_bytes() == CONTENT
    assert [r for _, r in m.asked] == [None, 'bytes=30000-', 'bytes=60000-', 'bytes=90000-']


def test_a_truncated_download_is_an_error_and_goes_on_next_time(course, mirror):
    m = mirror(cut=20_000)
    course(mirrors=[m.url])
    with pytest.raises(data.DownloadError, match='truncated: 80,000 of 102,400 bytes came'):
        data.fetch('set')
    assert files(course.root / 'data') == ['.set.failed', 'set/file.bin.part']
    assert data.fetch('set').read_bytes() == CONTENT
    assert m.asked[4:] == [('/file.bin', 'bytes=80000-'), ('/file.bin', 'bytes=100000-')]
    assert 'set/file.bin.part' not in files(course.root / 'data')


def test_a_second_mirror_goes_on_where_the_first_broke_off(course, mirror):
    first, second = mirror(cut=10_000), mirror()
    course(mirrors=[first.url, second.url])
    assert data.fetch('set').read_bytes() == CONTENT
    assert second.asked == [('/file.bin', 'bytes=40000-')]


def test_a_server_that_knows_no_ranges_starts_again(course, mirror):
    folder = course(mirrors=[mirror(ranges=False).url]) / 'set'
    folder.mkdir()
    (folder / 'file.bin.part').write_bytes(CONTENT[:5000])
    assert data.fetch('set').read_bytes() == CONTENT


@pytest.mark.parametrize('rubbish', [b'?' * 5000, b'?' * len(CONTENT), b'?' * (len(CONTENT) + 5)])
def test_a_bad_beginning_is_thrown_away(course, mirror, rubbish):
    folder = course(mirrors=[mirror().url]) / 'set'
    folder.mkdir()
    (folder / 'file.bin.part').write_bytes(rubbish)
    assert data.fetch('set').read_bytes() == CONTENT
    assert files(course.root / 'data') == ['set/file.bin']


def test_a_server_that_sends_more_than_it_should(course, mirror):
    course(mirrors=[mirror(content=CONTENT * 50).url])
    with pytest.raises(data.DownloadError, match='wrong checksum'):
        data.fetch('set')
    assert files(course.root / 'data') == ['.set.failed']


def test_no_address(course):
    course()
    with pytest.raises(data.DownloadError, match=r'no address offers it in this form \(nowhere\).*COURSE_DATA'):
        data.fetch('set')


def test_downloads_do_not_land_in_course_data(course, mirror, tmp_path, monkeypatch):
    shared = tmp_path / 'shared'
    shared.mkdir()
    monkeypatch.setenv('COURSE_DATA', str(shared))
    course(mirrors=[mirror().url])
    assert data.fetch('set').is_relative_to(course.root)
    assert files(shared) == []


# ---- archives and pickles

def a_zip(path, members):
    with zipfile.ZipFile(path, 'w') as z:
        for name, content in members:
            z.writestr(name, content)
    return path


def a_tar(path, members):
    with tarfile.open(path, 'w:gz') as t:
        for member, content in members:
            member = tarfile.TarInfo(member) if isinstance(member, str) else member
            member.size = len(content) if member.isfile() else 0
            t.addfile(member, io.BytesIO(content))
    return path


def zip_link(target):
    info = zipfile.ZipInfo('link')
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info, target


def tar_link(kind, target):
    info = tarfile.TarInfo('link')
    info.type, info.linkname = kind, target
    return info


OUTSIDE = ['../evil', 'a/../../evil', '/evil', '..\\evil', 'C:\\evil', '//host/share/evil']


@pytest.mark.parametrize('make', [a_zip, a_tar])
@pytest.mark.parametrize('name', OUTSIDE)
def test_an_archive_never_writes_outside(tmp_path, make, name):
    archive = make(tmp_path / 'archive', [('good', b'1'), (name, b'2')])
    with pytest.raises(ValueError, match='not safe.*points outside'):
        data.unpack(archive, tmp_path / 'new' / 'out')
    assert files(tmp_path) == ['archive'] and not Path('/evil').exists()


@pytest.mark.parametrize('kind', [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_a_tar_with_links_or_devices_is_refused(tmp_path, kind):
    archive = a_tar(tmp_path / 'archive', [(tar_link(kind, str(tmp_path)), b''), ('link/evil', b'2')])
    with pytest.raises(ValueError, match="not safe.*'link' is a link or a device"):
        data.unpack(archive, tmp_path / 'out')
    assert files(tmp_path) == ['archive']


def test_a_zip_with_a_link_is_refused(tmp_path):
    archive = a_zip(tmp_path / 'archive', [zip_link(str(tmp_path)), ('link/evil', b'2')])
    with pytest.raises(ValueError, match='is a link or a device'):
        data.unpack(archive, tmp_path / 'out')
    assert files(tmp_path) == ['archive']


@pytest.mark.parametrize('make', [a_zip, a_tar])
def test_a_good_archive(tmp_path, make):
    archive = make(tmp_path / 'archive', [('a/b/1', b'1'), ('2', b'2')])
    out = data.unpack(archive, tmp_path / 'out')
    assert files(out) == ['2', 'a/b/1'] and (out / '2').read_bytes() == b'2'
    with pytest.raises(FileExistsError, match='exists already'):
        data.unpack(archive, out)


@pytest.mark.parametrize('make', [a_zip, a_tar])
@pytest.mark.parametrize('damage', [lambda b: b[:len(b) // 2], lambda b: b'', lambda b: b'<html>' * 99,
                                    lambda b: b[:60] + b'????????' + b[68:]])
def test_a_damaged_archive_leaves_nothing(tmp_path, make, damage):
    archive = make(tmp_path / 'archive', [('a', os.urandom(5000)), ('b', os.urandom(5000))])
    archive.write_bytes(damage(archive.read_bytes()))
    with pytest.raises(ValueError, match='damaged, or no zip or tar'):
        data.unpack(archive, tmp_path / 'out')
    assert files(tmp_path) == ['archive'] and not (tmp_path / 'out').exists()


def test_fetch_unpacks_once_and_from_read_only_data(course, tmp_path, monkeypatch):
    archive = a_zip(tmp_path / 'file.zip', [('recordings/0.wav', b'hum')])
    course(content=archive.read_bytes(), file='file.zip', extra='unpack = true')
    shared = tmp_path / 'shared'
    (shared / 'set').mkdir(parents=True)
    archive.rename(shared / 'set' / 'file.zip')
    monkeypatch.setenv('COURSE_DATA', str(shared))
    folder = data.fetch('set')
    assert (folder / 'recordings' / '0.wav').read_bytes() == b'hum'
    assert folder.is_relative_to(course.root) and files(shared) == ['set/file.zip']
    (shared / 'set' / 'file.zip').unlink()
    assert data.fetch('set') == folder


def test_an_evil_archive_with_the_right_checksum_is_still_refused(course, mirror, tmp_path):
    content = a_zip(tmp_path / 'evil.zip', [('../../evil', b'2')]).read_bytes()
    folder = course(mirrors=[mirror(content=content, name='f.zip').url], content=content, file='f.zip',
                    extra='unpack = true')
    with pytest.raises(ValueError, match='not safe'):
        data.fetch('set')
    assert files(folder) == ['set/f.zip']


class Trap:
    "Leaves a file when it is unpickled."
    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, 'w')


@pytest.mark.parametrize('pack', [bytes, gzip.compress])
def test_a_pickle_is_not_loaded_before_its_checksum_matched(tmp_path, pack):
    path = tmp_path / ('p.pkl' if pack is bytes else 'p.pkl.gz')
    path.write_bytes(pack(pickle.dumps(Trap(tmp_path / 'ran'))))
    for wrong in ('0' * 64, ['0' * 64, '1' * 64], []):
        with pytest.raises(data.ChecksumError, match='was not loaded'):
            data.load_pickle(path, wrong)
    assert not (tmp_path / 'ran').exists()
    data.load_pickle(path, sha(path.read_bytes())).close()
    assert (tmp_path / 'ran').exists()


# ---- the digits

def test_the_digits_are_made_whole_or_not_at_all(course, monkeypatch):
    course()
    write = data.write_idx

    def fail_at_labels(path, x):
        if 'labels' in path.name:
            raise KeyboardInterrupt
        write(path, x)
    make = data.make_digits
    monkeypatch.setattr(data, 'make_digits', lambda n, *args, **kwargs: make(20, *args, **kwargs))
    monkeypatch.setattr(data, 'write_idx', fail_at_labels)
    with pytest.raises(KeyboardInterrupt):
        data.digits()
    assert files(course.root / 'data') == []
    assert [p for p in (course.root / 'data').iterdir() if p.is_dir()] == []
    monkeypatch.setattr(data, 'write_idx', write)
    assert data.digits()[0].shape == (40, 28, 28)
    assert len(files(course.root / 'data')) == 4


MAKE = """
import sys, time
from pathlib import Path
import exp.nb_00a as data
data.course_root = lambda: Path(sys.argv[1])
make = data.make_digits
def slow(n, *args, **kwargs):
    print('made', flush=True)
    time.sleep(.2)
    return make(30, *args, **kwargs)
data.make_digits = slow
print(data._digits_folder().name)
"""


def test_two_processes_make_the_digits_once(course):
    folder = course()
    runs = [subprocess.Popen([sys.executable, '-c', MAKE, str(course.root)], stdout=subprocess.PIPE, text=True,
                             cwd=ROOT) for _ in range(2)]
    outs = [run.communicate(timeout=60)[0].split() for run in runs]
    assert [run.returncode for run in runs] == [0, 0]
    assert sorted(out.count('made') for out in outs) == [0, 3]
    assert outs[0][-1] == outs[1][-1] and len(files(folder)) == 4


def test_another_recipe_is_another_folder(course, monkeypatch):
    course()
    before = data._recipe_id()
    monkeypatch.setitem(data.RECIPE, 'elastic', .07)
    assert data._recipe_id() != before


def test_digits_depend_on_nothing_but_the_seed():
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    try:
        a = data.make_digits(5000, seed=3)
        torch.manual_seed(99)
        torch.set_num_threads(1)
        b = data.make_digits(5000, seed=3)
    finally:
        torch.set_num_threads(threads)
        torch.set_rng_state(state)
    assert all(torch.equal(x, y) for x, y in zip(a[1:], b[1:]))
    assert (a[0].int() - b[0].int()).abs().max() <= 1  # a sum in another order may round otherwise
    assert (a[0] != b[0]).float().mean() < 1e-4


def test_another_bank_changes_what_is_drawn_and_nothing_else():
    own = data.load_glyphs()
    digits = data.make_digits(200, seed=3)
    for given in (own, own.flip(3).flip(3)):
        assert all(torch.equal(a, b) for a, b in zip(digits, data.make_digits(200, seed=3, glyphs=given)))
    for n_classes in (1, 3, 26):
        bank = torch.zeros(22, n_classes, 12, 9, dtype=torch.uint8)
        images, labels, font = data.make_digits(200, seed=3, side=16, glyphs=bank)
        assert images.shape == (200, 16, 16) and not images.any()
        assert labels.dtype == torch.int64 and labels.unique().tolist() == list(range(n_classes))
        assert torch.equal(font, digits[2])
    bank = torch.zeros(22, 2, 20, 20, dtype=torch.uint8)
    bank[16, 1] = 255  # ink in one font only, and in one class
    images, labels, font = data.make_digits(200, ['cmr10', 'cmb10'], seed=3, glyphs=bank)
    inked = images.flatten(1).any(1)
    assert torch.equal(inked, (labels == 1) & (font == 16)) and 0 < inked.sum() < 200


@pytest.mark.parametrize('wrong', [torch.zeros(21, 10, 40, 40), torch.zeros(22, 40, 40), torch.zeros(22, 0, 40, 40),
                                   torch.zeros(22, 10, 40, 0), torch.zeros(1, 22, 10, 40, 40)])
def test_a_bank_of_another_shape_is_refused(wrong):
    with pytest.raises(ValueError, match=r'glyphs must be \(22 fonts, classes, h, w\), not \(\d+, '):
        data.make_digits(5, glyphs=wrong.byte())


@pytest.mark.parametrize('wrong, kind', [
    (torch.zeros(22, 10, 40, 40), 'torch.float32'), (torch.ones(1).bool(), 'torch.bool'),
    (torch.zeros(22, 10, 40, 40).numpy(), 'ndarray'), ('ABC', 'str'), ([], 'list')])
def test_a_bank_of_another_type_is_refused(wrong, kind):
    with pytest.raises(TypeError, match=f'glyphs must be a tensor of torch.uint8, not {kind}'):
        data.make_digits(5, glyphs=wrong)


def test_built_in_digits_hold_back_whole_fonts():
    train = set(data.FONTS) - set(data.VALID_FONTS)
    assert len(data.FONTS) == 22 and len(data.VALID_FONTS) == 5 and len(train) == 17
    x_train, y_train, x_valid, y_valid = data.digits()
    assert x_train.shape == (50_000, 28, 28) and x_valid.shape == (10_000, 28, 28)
    again = data.make_digits(10_000, data.VALID_FONTS, seed=1)
    assert torch.equal(again[1], y_valid)
    assert (again[0].int() - x_valid.int()).abs().max() <= 1
    assert set(again[2].tolist()) == {data.FONTS.index(f) for f in data.VALID_FONTS}
    assert y_train.bincount().min() > 4500


def test_committed_glyphs_are_what_the_fonts_give():
    bank, anew = data.load_glyphs(), data.build_glyphs()
    assert bank.shape == (22, 10, 40, 40) and bank.dtype == torch.uint8
    assert (bank.float() - anew.float()).abs().mean() < .5
    assert (ROOT / 'data' / 'glyphs.npz').stat().st_size < 400_000


def test_get_data_is_what_the_chapters_rely_on():
    x_train, y_train, x_valid, y_valid = data.get_data()
    assert x_train.shape == (50_000, 784) and x_valid.shape == (10_000, 784)
    assert x_train.dtype == torch.float32 and y_train.dtype == torch.int64
    assert x_train.min() == 0 and x_train.max() == 1 and set(y_valid.tolist()) == set(range(10))


# ---- pictures

@pytest.mark.parametrize('shape', [(784,), (28, 28), (1, 28, 20), (28, 20, 1), (3, 28, 20), (28, 20, 3)])
@pytest.mark.parametrize('kind', [torch.float32, torch.bfloat16, torch.uint8, torch.bool])
def test_show_image_takes_the_usual_shapes(shape, kind):
    import matplotlib
    matplotlib.use('agg')
    import matplotlib.pyplot as plt
    x = (torch.arange(torch.tensor(shape).prod()).view(shape) % 2).to(kind)
    assert data.show_image(x, title='t').get_title() == 't'
    assert len(data.show_images([x, x, x], n_cols=2, titles='abc').axes) == 4
    plt.close('all')


@pytest.mark.parametrize('shape', [(), (0,), (783,), (2, 28, 28), (4, 28, 28), (1, 1, 28, 28), (5, 0)])
def test_show_image_names_a_shape_that_it_cannot_show(shape):
    with pytest.raises(ValueError) as e:
        data.show_image(torch.zeros(shape))
    assert str(shape) in str(e.value) and 'show_images' in str(e.value)

