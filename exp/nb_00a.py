"""Looking at data

Exported from nbs/00a_data.ipynb: change the notebook and export it again, or change this
file and bring the change back with `python notebook2script.py --update`.
"""
# notebook2script 1 sha256:c3c59749a16a086d head:cdd8a313
__all__ = ['course_root', 'cache_dir', 'data_dirs', 'datasets', 'dataset_info', 'ChecksumError',
           'DownloadError', 'sha256_at', 'sha256_of', 'check_file', 'offline', 'say_once',
           'failure', 'ResumableDownload', 'download', 'locked', 'find_files', 'get_files_of',
           'resolve', 'fetch', 'data_name', 'FONTS', 'VALID_FONTS', 'RECIPE', 'load_glyphs',
           'random_affine', 'warp_basis', 'glyph_weights', 'make_digits', 'draw_warped',
           'write_idx', 'read_idx', 'recipe_id', 'digits_folder', 'write_folder', 'write_digits',
           'digits', 'split_train', 'get_data', 'as_picture', 'show_image', 'show_images']


# %% 00a_data.ipynb cell 2 #40736e12
import difflib
import functools
import gzip
import hashlib
import math
import os
import pickle
import shutil
import stat
import tarfile
import tempfile
import tomllib
import zipfile
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np
import torch
import torch.nn.functional as F


# %% 00a_data.ipynb cell 3 #1f2cd8f0
def course_root():
    """The folder of this course: the nearest with a `data/datasets.toml`, looking upwards from this
    module and then from the current folder. Raises FileNotFoundError when there is none.
    """
    here = globals().get('__file__')  # a notebook has none
    for start in filter(None, (here, Path.cwd() / 'notebook')):
        for folder in Path(start).resolve().parents:
            if (folder / 'data' / 'datasets.toml').is_file():
                return folder
    raise FileNotFoundError(f'no data/datasets.toml in {Path.cwd()} or above it: run this from inside '
                            'the course, or install the course with `pip install -e .`')


# %% 00a_data.ipynb cell 4 #ae1db2cf
def cache_dir():
    "The folder that downloads and generated data land in: the course's `data/`, or a user's cache."
    from platformdirs import user_cache_path
    for folder in (course_root() / 'data', user_cache_path('foundations-course')):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK):
            return folder
    return Path(tempfile.gettempdir())


def data_dirs():
    """The folders searched for data, best first: `$COURSE_DATA` where it is set, the course's `data/`,
    the cache. Raises FileNotFoundError if `$COURSE_DATA` is no folder.
    """
    given = os.environ.get('COURSE_DATA')
    if given and not Path(given).is_dir():
        raise FileNotFoundError(f'COURSE_DATA={given} is not a folder: correct it, or unset it')
    first = [Path(given).resolve()] if given else []
    return list(dict.fromkeys(first + [course_root() / 'data', cache_dir()]))  # no folder twice


# %% 00a_data.ipynb cell 5 #3a208508
def datasets():
    "All that `data/datasets.toml` lists: name -> a dict of title, licence, source, files, mirrors, …"
    with open(course_root() / 'data' / 'datasets.toml', 'rb') as f:
        return tomllib.load(f)


def dataset_info(name):
    "The entry of one dataset. Raises ValueError for an unknown name, listing the known ones."
    known = datasets()
    if name in known:
        return known[name]
    close = difflib.get_close_matches(str(name).lower(), known, n=1)
    hint = f' Did you mean {close[0]!r}?' if close else ''
    raise ValueError(f'unknown dataset {name!r}.{hint} Known: {", ".join(known)}')


# %% 00a_data.ipynb cell 6 #52664502
class ChecksumError(ValueError):
    "A file is not the one that it should be."


class DownloadError(OSError):
    "A dataset is not on this machine, and could not be downloaded either."


# %% 00a_data.ipynb cell 7 #69ce3c3a
@functools.lru_cache(maxsize=1024)
def sha256_at(path, size, mtime_ns):
    "The SHA-256 of a file, remembered for as long as its size and time stay the same."
    with open(path, 'rb') as f:
        return hashlib.file_digest(f, 'sha256').hexdigest()


def sha256_of(path):
    "The SHA-256 of a file, as 64 hexadecimal digits."
    info = os.stat(path)
    return sha256_at(str(path), info.st_size, info.st_mtime_ns)


def check_file(path, file):
    "Raise ChecksumError unless `path` has one of the checksums that `file` (of datasets.toml) accepts."
    found = sha256_of(path)
    if found not in file['sha256']:
        raise ChecksumError(f'{path} is not the file expected: its sha256 is {found}, expected '
                            f'{" or ".join(file["sha256"])}. It is damaged or a different edition: '
                            'delete it (or move it away) and fetch it again')


# %% 00a_data.ipynb cell 8 #a68ca06c
def offline():
    "Is the network forbidden, by `COURSE_OFFLINE=1`? -> bool"
    return os.environ.get('COURSE_OFFLINE', '').lower() not in ('', '0', 'false', 'no')


@functools.cache
def say_once(text):
    "Print a line, unless this very line was printed before in this session."
    print(text)


# %% 00a_data.ipynb cell 9 #2ece090b
def failure(error):
    "What went wrong with a download, in a few words."
    import requests
    if isinstance(error, requests.HTTPError):
        return f'the server answered {error.response.status_code}'
    if isinstance(error, requests.Timeout):
        return 'no answer in time'
    if isinstance(error, requests.ConnectionError):
        return 'no connection'
    if isinstance(error, ValueError):
        return 'wrong checksum'
    return str(error)


class ResumableDownload:
    """A downloader for pooch that keeps what has come in `part`, and continues there.

    part: path of the unfinished file · file: its entry in datasets.toml, with size and sha256 · tries: how
    often a broken connection is taken up again. Raises DownloadError if the file stays incomplete.
    """
    def __init__(self, part, file, tries=4, timeout=(5, 30)):
        self.part = Path(part)
        self.file = file
        self.tries = tries
        self.timeout = timeout

    def __call__(self, url, output_file, pooch, check_only=False):
        resumed = self.have() > 0
        self.complete(url)
        if resumed and sha256_of(self.part) not in self.file['sha256']:
            self.part.unlink()  # the old beginning was of no use
            self.complete(url)
        os.replace(self.part, output_file)

    def have(self):
        "Bytes that have come so far."
        return self.part.stat().st_size if self.part.exists() else 0

    def complete(self, url):
        "Ask again, from where the last answer broke off, until all bytes are there."
        for _ in range(self.tries):
            before = self.have()
            self.append(url)
            if self.have() == self.file['size']:
                return
            if self.have() <= before:
                break
        raise DownloadError(f'truncated: {self.have():,} of {self.file["size"]:,} bytes came')

    def append(self, url):
        "One request for the bytes that are missing, added to `part` as they come."
        import requests
        import urllib3
        headers = {'Range': f'bytes={self.have()}-', 'Accept-Encoding': 'identity'}
        with requests.get(url, headers=headers, stream=True, timeout=self.timeout) as r:
            if r.status_code == 416:  # more was kept than the server has
                self.part.unlink()
                return
            r.raise_for_status()
            mode = 'ab' if r.status_code == 206 else 'wb'  # 200: the server sends it from the start
            try:
                self.write(r.raw.stream(2**16, decode_content=False), mode)
            except urllib3.exceptions.HTTPError:
                pass  # broken off: `complete` sees how far we got

    def write(self, chunks, mode):
        "Write the chunks as they come, with a progress bar; stop if more comes than there should be."
        from tqdm.auto import tqdm
        size = self.file['size']
        with open(self.part, mode) as f, tqdm(total=size, initial=f.tell(), desc=self.file['name'],
                                              unit='B', unit_scale=True, leave=False) as bar:
            for chunk in chunks:
                f.write(chunk)
                bar.update(len(chunk))
                if f.tell() > size:
                    break


# %% 00a_data.ipynb cell 10 #a2936edf
def download(file, mirrors, folder):
    """One file, from the first mirror that has it, into `folder`, complete and checked or not at all. -> Path

    file: its entry in datasets.toml. Raises DownloadError, saying what each mirror did.
    """
    import pooch
    pooch.get_logger().setLevel('ERROR')
    get = ResumableDownload(folder / (file['name'] + '.part'), file)
    problems = []
    for mirror in mirrors:
        url = mirror + file.get('remote', file['name'])
        try:
            return Path(pooch.retrieve(url, 'sha256:' + file['sha256'][0], file['name'], folder,
                                       downloader=get))
        except (OSError, ValueError) as e:
            problems.append(f'{url} ({failure(e)})')
    raise DownloadError(f'{file["name"]} could not be downloaded: ' + '; '.join(problems))


# %% 00a_data.ipynb cell 11 #0b73c915
def locked(path):
    "A lock between processes, to be used with `with`; it goes when its holder does."
    from filelock import FileLock
    path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(path.with_name(f'.{path.name}.lock'))


def find_files(info):
    "The first of the data folders that holds all files of a dataset, each verified -> Path, or None."
    for folder in (d / info['folder'] for d in data_dirs()):
        if all((folder / file['name']).is_file() for file in info['files']):
            for file in info['files']:
                check_file(folder / file['name'], file)
            return folder


def get_files_of(name):
    """The folder with a dataset's files, downloaded if need be -> Path

    Raises DownloadError when they are neither here nor to be had, ChecksumError when one here is not
    the right one.
    """
    info = dataset_info(name)
    if folder := find_files(info):
        return folder
    if offline():
        raise DownloadError('not on this machine, and COURSE_OFFLINE is set')
    if not info.get('mirrors'):
        raise DownloadError(f'not on this machine, and not offered for download (see {info["source"]})')
    folder = cache_dir() / info['folder']
    with locked(folder):
        folder.mkdir(exist_ok=True)
        for file in info['files']:
            path = folder / file['name']
            check_file(path, file) if path.is_file() else download(file, info['mirrors'], folder)
    return folder


# %% 00a_data.ipynb cell 12 #2fb19656
def resolve(name):
    """Which dataset stands behind a name on this machine, and where? -> (name, Path)

    The name itself, or its stand-in's if it is not to be had.
    """
    info = dataset_info(name)
    if info.get('built_in'):
        return name, digits_folder()
    try:
        return name, get_files_of(name)
    except DownloadError as e:
        if 'stand_in' not in info:
            raise DownloadError(f'{name}: {e}') from e
        say_once(f'{name}: {e}. Using the built-in stand-in instead: {info["stand_in"]}.')
    return resolve(info['stand_in'])


def fetch(name):
    "The folder (or the file, if it is one) of a dataset. -> Path"
    return resolve(name)[1]


def data_name():
    "Which data `get_data` serves on this machine: `'mnist'` or `'digits'`."
    return resolve('mnist')[0]


# %% 00a_data.ipynb cell 13 #2eceb028
FONTS = tuple("""
    DejaVuSans DejaVuSans-Bold DejaVuSans-Oblique DejaVuSans-BoldOblique
    DejaVuSansMono DejaVuSansMono-Bold DejaVuSansMono-Oblique DejaVuSansMono-BoldOblique
    DejaVuSerif DejaVuSerif-Bold DejaVuSerif-Italic DejaVuSerif-BoldItalic
    STIXGeneral STIXGeneralBol STIXGeneralItalic STIXGeneralBolIta
    cmr10 cmb10 cmti10 cmmi10 cmss10 cmtt10""".split())

VALID_FONTS = ('DejaVuSans-BoldOblique', 'DejaVuSansMono-Oblique', 'DejaVuSerif-Bold', 'STIXGeneralBol',
               'cmti10')

RECIPE = dict(version=1, scale=.91, rotate=.20, shear=.25, log_scale=.16, shift=.085, elastic=.065,
              thicken=.5, thin=.35, blur=.5)


# %% 00a_data.ipynb cell 14 #bd59ccc4
def load_glyphs():
    "The glyph bank that comes with the course -> uint8 (22 fonts, 10 digits, 40, 40), ink is 255"
    with np.load(course_root() / 'data' / 'glyphs.npz', allow_pickle=False) as bank:
        return torch.from_numpy(bank['glyphs'])


# %% 00a_data.ipynb cell 15 #9d5c3023
def random_affine(n, generator):
    "n random 2×3 matrices, from a pixel of the new picture to a point of the old one, both in [−1, 1]."
    def spread(amount, *shape):
        return (torch.rand(n, *shape, generator=generator) * 2 - 1) * amount
    angle, shear = spread(RECIPE['rotate']), spread(RECIPE['shear'])
    zoom = RECIPE['scale'] * spread(RECIPE['log_scale'], 2).exp()
    shift = spread(RECIPE['shift'], 2)
    cos, sin = angle.cos(), angle.sin()
    across = torch.stack([cos, sin], 1) * zoom[:, :1]
    down = torch.stack([cos * shear - sin, sin * shear + cos], 1) * zoom[:, 1:]
    return torch.stack([across, down, shift], 2)  # (n, 2, 3)


# %% 00a_data.ipynb cell 16 #6318301f
def warp_basis(side):
    "The 3 + 25 pictures that every warp is a weighted sum of: x, y, 1, and the bumps of a 5×5 field."
    line = (torch.arange(side) + .5) / side * 2 - 1
    y, x = torch.meshgrid(line, line, indexing='ij')
    bumps = F.interpolate(torch.eye(25).view(25, 1, 5, 5), size=(side, side), mode='bicubic',
                          align_corners=True)
    return torch.cat([torch.stack([x, y, torch.ones_like(x)]), bumps[:, 0]]).flatten(1)  # (28, side²)


# %% 00a_data.ipynb cell 17 #d7bc235e
def glyph_weights(glyphs):
    "Each glyph as it is, thickened, and thinned: uint8 (…, 40, 40) -> float (3, n, 40, 40) in [0, 1]"
    x = glyphs.reshape(-1, 1, 40, 40) / 255
    thick = x.lerp(F.max_pool2d(x, 3, 1, 1), RECIPE['thicken'])
    thin = x.lerp(-F.max_pool2d(-x, 3, 1, 1), RECIPE['thin'])
    return torch.stack([x, thick, thin])[:, :, 0]


# %% 00a_data.ipynb cell 18 #407bafd0
def make_digits(n, fonts=FONTS, seed=0, side=28):
    """n pictures of random digits in random fonts, warped. -> (images, labels, font numbers)

    images: uint8 (n, side, side), ink is 255 · labels: int64 (n,) · font numbers: int64 (n,), places in
    FONTS. The same seed gives the same pictures; the global random state is left alone. Raises ValueError for
    an unknown font.
    """
    if unknown := sorted(set(fonts) - set(FONTS)):
        raise ValueError(f'make_digits: unknown fonts {unknown}; known: {", ".join(FONTS)}')
    g = torch.Generator().manual_seed(seed)
    labels = torch.randint(10, (n,), generator=g)
    font = torch.tensor([FONTS.index(f) for f in fonts])[torch.randint(len(fonts), (n,), generator=g)]
    weight = torch.tensor([0, 0, 1, 2])[torch.randint(4, (n,), generator=g)]
    field = torch.randn(n, 2, 25, generator=g) * RECIPE['elastic']
    warp = torch.cat([random_affine(n, g), field], 2)  # (n, 2, 28)
    blur = torch.rand(n, generator=g) * RECIPE['blur']
    source = glyph_weights(load_glyphs()).view(3, len(FONTS), 10, 1, 40, 40)
    images = torch.empty(n, side, side, dtype=torch.uint8)
    for rows in torch.arange(n).split(2000):  # small enough for the cache
        picture = source[weight[rows], font[rows], labels[rows]]
        images[rows] = draw_warped(picture, warp[rows], blur[rows], side)
    return images, labels, font


def draw_warped(picture, warp, blur, side):
    "Pictures (n, 1, 40, 40) drawn through warps (n, 2, 28), each blurred by its amount -> uint8 (n, side, side)"
    grid = (warp @ warp_basis(side)).view(-1, 2, side, side).permute(0, 2, 3, 1)  # (n, side, side, 2)
    x = F.grid_sample(picture, grid, align_corners=False)
    x = x.lerp(F.avg_pool2d(x, 3, 1, 1), blur.view(-1, 1, 1, 1))
    return (x[:, 0] * 255).round().to(torch.uint8)


# %% 00a_data.ipynb cell 19 #fa6160e6
def write_idx(path, x):
    "Write a uint8 tensor in the idx format of MNIST: a type code, the shape, the bytes."
    if x.dtype != torch.uint8:
        raise TypeError(f'write_idx writes uint8, not {x.dtype}')
    header = bytes([0, 0, 8, x.dim()]) + np.array(x.shape, '>u4').tobytes()
    Path(path).write_bytes(header + x.numpy().tobytes())


def read_idx(path):
    """Read an idx file, packed (`.gz`) or not, whichever is there. -> uint8 tensor of the shape it says

    Raises FileNotFoundError, and ValueError for anything that is not an idx file of bytes.
    """
    path = Path(path)
    if not path.exists():
        path = path.with_name(path.name.removesuffix('.gz') if path.suffix == '.gz' else path.name + '.gz')
    raw = path.read_bytes()
    raw = bytearray(gzip.decompress(raw) if path.suffix == '.gz' else raw)
    if len(raw) < 4 or raw[:3] != b'\0\0\x08':
        raise ValueError(f'{path} is not an idx file of bytes: it begins with {bytes(raw[:4])}')
    start = 4 + 4 * raw[3]
    shape = np.frombuffer(raw[4:start], '>u4').tolist()
    if len(raw) != start + math.prod(shape):
        raise ValueError(f'{path} says it holds {shape}, but has {len(raw) - start:,} bytes: delete it '
                         'and fetch it again')
    return torch.frombuffer(raw, dtype=torch.uint8, offset=start).view(shape)


# %% 00a_data.ipynb cell 20 #445ddab2
def recipe_id():
    "A short text that changes whenever the recipe, the fonts held out or the glyphs do."
    text = repr((RECIPE, FONTS, VALID_FONTS)).encode() + load_glyphs().numpy().tobytes()
    return f'{RECIPE["version"]}-{hashlib.sha256(text).hexdigest()[:8]}'


def digits_folder():
    """The folder with the built-in digits in MNIST's own layout, made on the first call. -> Path

    Of the 60,000 in the `train` files the last 10,000, and all in the `t10k` files, are in VALID_FONTS.
    """
    name = 'digits-' + recipe_id()
    for folder in data_dirs():
        if (folder / name).is_dir():
            return folder / name
    target = cache_dir() / name
    with locked(target):
        if not target.is_dir():
            write_folder(target, write_digits)
    return target


def write_folder(target, write):
    "Make a folder whole or not at all: `write(folder)` fills it under another name, then it is renamed."
    part = Path(tempfile.mkdtemp(prefix=f'.{target.name}-', dir=target.parent))
    try:
        write(part)
        part.chmod(0o755)
        os.replace(part, target)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def write_digits(folder, n_train=50_000, n_valid=10_000):
    "The built-in digits as four idx files."
    train_fonts = [f for f in FONTS if f not in VALID_FONTS]
    parts = [make_digits(n_train, train_fonts, seed=0), make_digits(n_valid, VALID_FONTS, seed=1)]
    images, labels, _ = map(torch.cat, zip(*parts))
    write_idx(folder / 'train-images-idx3-ubyte', images)
    write_idx(folder / 'train-labels-idx1-ubyte', labels.byte())
    images, labels, _ = make_digits(n_valid, VALID_FONTS, seed=2)
    write_idx(folder / 't10k-images-idx3-ubyte', images)
    write_idx(folder / 't10k-labels-idx1-ubyte', labels.byte())


# %% 00a_data.ipynb cell 21 #e74083eb
def digits():
    """The built-in digits: 50,000 to train in 17 fonts, 10,000 to validate in 5 others.

    -> (x_train, y_train, x_valid, y_valid): uint8 (n, 28, 28), ink is 255, and int64 (n,)
    """
    return split_train(digits_folder())


def split_train(folder, n_train=50_000):
    "The `train` files of a folder in MNIST's layout: the first 50,000 to train, the rest to validate."
    x = read_idx(folder / 'train-images-idx3-ubyte')
    y = read_idx(folder / 'train-labels-idx1-ubyte').long()
    return x[:n_train], y[:n_train], x[n_train:], y[n_train:]


def get_data():
    """MNIST where it is to be had, else the built-in digits, ready for a network.

    -> (x_train, y_train, x_valid, y_valid): float32 (50000, 784) and (10000, 784) in [0, 1], int64 labels
    """
    def flat(x):
        return x.flatten(1).float().div_(255)
    x_train, y_train, x_valid, y_valid = split_train(fetch('mnist'))
    return flat(x_train), y_train, flat(x_valid), y_valid


# %% 00a_data.ipynb cell 22 #cbe78164
def as_picture(x):
    """Anything that is one picture -> a numpy array (h, w) or (h, w, 3), as matplotlib wants it

    x: a tensor or array (n²,), (h, w), (1, h, w), (h, w, 1), (3, h, w) or (h, w, 3). Raises ValueError otherwise.
    """
    x = torch.as_tensor(x).detach().cpu()
    x = x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
    if x.dim() == 1 and math.isqrt(len(x)) ** 2 == len(x) > 0:
        x = x.view(math.isqrt(len(x)), -1)
    if x.dim() == 3 and x.shape[0] in (1, 3):
        x = x.permute(1, 2, 0)
    if x.dim() == 3 and x.shape[2] == 1:
        x = x[:, :, 0]
    if x.dim() == 2 or (x.dim() == 3 and x.shape[2] == 3):
        return x.numpy()
    raise ValueError(f'one picture is (n²,), (h, w), (1, h, w), (3, h, w) or (h, w, 3), not {tuple(x.shape)}; '
                     'for several use show_images')


def show_image(x, ax=None, title=None, cmap='Greys', **kwargs):
    """Show one picture. -> the matplotlib axes

    x: as `as_picture` takes it · ax: axes to draw in (default: new ones) · title: text above · cmap: colours of a
    grey picture (default: ink on paper) · kwargs: for `imshow`. Raises ValueError for other shapes.
    """
    import matplotlib.pyplot as plt
    x = as_picture(x)
    if ax is None:
        _, ax = plt.subplots(figsize=(2, 2))
    ax.imshow(x, cmap=cmap, **kwargs)
    ax.set_axis_off()
    if title is not None:
        ax.set_title(title, fontsize=9)
    return ax


def show_images(xs, n_cols=10, titles=None, size=1., **kwargs):
    """Show several pictures in a grid. -> the matplotlib figure

    xs: a list of pictures, or a tensor (n, …) of them · titles: one for each · size: inches a picture
    takes · kwargs: for `show_image`. Raises ValueError if there is none, or a title is missing.
    """
    import matplotlib.pyplot as plt
    xs = list(xs)
    if not xs:
        raise ValueError('show_images: there is nothing to show')
    if titles is not None and len(titles) != len(xs):
        raise ValueError(f'show_images: {len(xs)} pictures, but {len(titles)} titles')
    n_cols = min(n_cols, len(xs))
    n_rows = math.ceil(len(xs) / n_cols)
    height = size * (1 if titles is None else 1.25)
    fig, axs = plt.subplots(n_rows, n_cols, figsize=(size * n_cols, height * n_rows), squeeze=False)
    for i, ax in enumerate(axs.flat):
        if i < len(xs):
            show_image(xs[i], ax, None if titles is None else titles[i], **kwargs)
        else:
            ax.set_axis_off()
    return fig


# cell hashes: 40736e12:404594ce 1f2cd8f0:cf462c7c ae1db2cf:890d9e3a 3a208508:22285731
#   52664502:ef8b415a 69ce3c3a:56115e10 a68ca06c:4b78ca31 2ece090b:e07b59bf a2936edf:40c462d8
#   0b73c915:648704c1 2fb19656:c840ffec 2eceb028:d95f35bb bd59ccc4:025bae0b 9d5c3023:4193e561
#   6318301f:808dd246 d7bc235e:b9225fff 407bafd0:acbaa258 fa6160e6:ce24f185 445ddab2:296a176c
#   e74083eb:e1a1575e cbe78164:ccae9e8e
