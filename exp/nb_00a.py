"""Looking at data

Exported from nbs/00a_data.ipynb: change the notebook and export it again, or change this
file and bring the change back with `python notebook2script.py --update`.
"""
# notebook2script 1 sha256:56d03310c4e09d10 head:cdd8a313
__all__ = ['show_image', 'show_images', 'write_idx', 'read_idx', 'FONTS', 'build_glyphs',
           'course_root', 'load_glyphs', 'RECIPE', 'make_digits', 'VALID_FONTS', 'digits',
           'datasets', 'ChecksumError', 'DownloadError', 'ResumableDownload', 'unpack',
           'load_pickle', 'fetch', 'data_name', 'get_data']


# %% 00a_data.ipynb cell 3 #78e684ac
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
import time
import tomllib
import zipfile
import zlib
from pathlib import Path, PureWindowsPath
from urllib.parse import urlsplit

import numpy as np
import torch
import torch.nn.functional as F


# %% 00a_data.ipynb cell 7 #306d838e
def _as_picture(x):
    "One picture in any of the usual shapes -> a numpy array (h, w) or (h, w, 3)"
    given = tuple(np.shape(x))
    x = torch.as_tensor(x).detach().cpu()
    x = x.float() if x.dtype in (torch.bfloat16, torch.float16) else x  # matplotlib knows neither
    if x.dim() == 1 and (side := math.isqrt(len(x))) ** 2 == len(x):
        x = x.view(side, side)
    if x.dim() == 3 and x.shape[0] in (1, 3):
        x = x.permute(1, 2, 0)
    if x.dim() == 3 and x.shape[2] == 1:
        x = x[:, :, 0]
    if x.numel() == 0 or not (x.dim() == 2 or (x.dim() == 3 and x.shape[2] == 3)):
        raise ValueError('a picture is (n²,), (h, w), (1, h, w), (3, h, w) or (h, w, 3), not '
                         f'{given}; to see several, use show_images')
    return x.numpy()


# %% 00a_data.ipynb cell 10 #9babcb35
def show_image(x, ax=None, title=None, cmap='Greys', **kwargs):
    """Show one picture. -> the matplotlib axes it is in

    x: tensor or array (n²,), (h, w), (1, h, w), (3, h, w) or (h, w, 3) · ax: axes to draw in
    (default: new ones) · title: text above it · cmap: colours of a grey picture (default: ink on
    paper) · kwargs: for matplotlib's `imshow`, such as vmin and vmax. Raises ValueError for other
    shapes.
    """
    import matplotlib.pyplot as plt
    picture = _as_picture(x)
    if ax is None:
        ax = plt.subplots(figsize=(2, 2), facecolor='white')[1]
    ax.imshow(picture, cmap=cmap, **kwargs)
    ax.set_axis_off()
    if title is not None:
        ax.set_title(title, fontsize=9, y=1)  # to look for a place takes longer than to draw
    return ax


# %% 00a_data.ipynb cell 14 #5fc1d1e4
def show_images(xs, n_cols=10, titles=None, size=1., **kwargs):
    """Show several pictures in a grid. -> the matplotlib figure

    xs: tensor (n, …) or list of n pictures, each as `show_image` takes it · n_cols: pictures in a
    row · titles: n texts (default: none) · size: inches for each · kwargs: for `show_image`. Raises
    ValueError if there is nothing to show, or not a title for each.
    """
    import matplotlib.pyplot as plt
    xs = list(xs)
    if not xs or n_cols < 1:
        raise ValueError(f'show_images: nothing to show ({len(xs)} pictures in {n_cols} columns)')
    if titles is not None and len(titles) != len(xs):
        raise ValueError(f'show_images: {len(xs)} pictures, but {len(titles)} titles')
    n_cols = min(n_cols, len(xs))
    n_rows = math.ceil(len(xs) / n_cols)
    height = size if titles is None else size + .22  # inches for a line of text
    room = dict(left=0, right=1, bottom=0, top=1, wspace=.1, hspace=height / size - .9)
    fig, axes = plt.subplots(n_rows, n_cols, figsize=(size * n_cols, height * n_rows),
                             squeeze=False, facecolor='white', gridspec_kw=room)
    for ax in axes.flat:
        ax.set_axis_off()
    for i, (x, ax) in enumerate(zip(xs, axes.flat)):
        show_image(x, ax, None if titles is None else titles[i], **kwargs)
    return fig


# %% 00a_data.ipynb cell 19 #09570f32
def write_idx(path, x):
    """Write a tensor of bytes in MNIST's idx format.

    path: the file · x: uint8, any shape. Raises TypeError for another type.
    """
    if x.dtype != torch.uint8:
        raise TypeError(f'write_idx writes uint8, not {x.dtype}')
    header = bytes([0, 0, 8, x.dim()]) + np.array(x.shape, '>u4').tobytes()
    Path(path).write_bytes(header + x.contiguous().numpy().tobytes())


# %% 00a_data.ipynb cell 22 #021ec60f
def read_idx(path):
    """Read a file in MNIST's idx format. -> uint8 tensor of the shape that the file says

    path: with or without `.gz` at the end; whichever of the two is there is read. Raises
    FileNotFoundError, or ValueError for a file that is damaged or holds no bytes in that format.
    """
    path = Path(path)
    other = path.with_suffix('') if path.suffix == '.gz' else path.with_name(path.name + '.gz')
    if not path.exists() and other.exists():
        path = other
    raw = path.read_bytes()
    try:
        raw = bytearray(gzip.decompress(raw) if path.suffix == '.gz' else raw)
    except (EOFError, OSError, zlib.error) as e:
        raise ValueError(f'{path} is damaged: {e}') from e
    if len(raw) < 4 or raw[:3] != b'\0\0\x08':
        raise ValueError(f'{path} is not an idx file of bytes: it begins with {bytes(raw[:4])}')
    start = 4 + 4 * raw[3]
    shape = np.frombuffer(raw[4:start], '>u4').tolist() if len(raw) >= start else [math.inf]
    if len(raw) != start + math.prod(shape):
        raise ValueError(f'{path} is damaged: it has {len(raw):,} bytes, and should hold {shape}')
    return torch.frombuffer(raw, dtype=torch.uint8, offset=start).view(shape)


# %% 00a_data.ipynb cell 25 #15b69947
FONTS = tuple("""
    DejaVuSans DejaVuSans-Bold DejaVuSans-Oblique DejaVuSans-BoldOblique
    DejaVuSansMono DejaVuSansMono-Bold DejaVuSansMono-Oblique DejaVuSansMono-BoldOblique
    DejaVuSerif DejaVuSerif-Bold DejaVuSerif-Italic DejaVuSerif-BoldItalic
    STIXGeneral STIXGeneralBol STIXGeneralItalic STIXGeneralBolIta
    cmr10 cmb10 cmti10 cmmi10 cmss10 cmtt10""".split())


# %% 00a_data.ipynb cell 27 #8156d01d
def _draw_glyph(text, font_file, side=40, box=28.6):
    "One character, filled and centred -> uint8 array (side, side), ink is 255"
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.font_manager import FontProperties
    from matplotlib.patches import PathPatch
    from matplotlib.textpath import TextPath
    from matplotlib.transforms import Affine2D, IdentityTransform
    outline = TextPath((0, 0), text, size=100, prop=FontProperties(fname=font_file))
    edges = outline.get_extents()
    fit = Affine2D().translate(-(edges.x0 + edges.x1) / 2, -(edges.y0 + edges.y1) / 2)
    fit = fit.scale(box / max(edges.width, edges.height)).translate(side / 2, side / 2)
    fig = Figure(figsize=(1, 1), dpi=side)
    fig.add_artist(PathPatch(fit.transform_path(outline), color='black', linewidth=0,
                             transform=IdentityTransform()))
    canvas = FigureCanvasAgg(fig)
    canvas.draw()
    return 255 - np.asarray(canvas.buffer_rgba())[:, :, 0]


# %% 00a_data.ipynb cell 28 #c140bfe4
def build_glyphs():
    """Draw the digits 0 to 9 in all FONTS, anew. -> uint8 (22, 10, 40, 40), ink is 255

    It takes a second or two. The course uses `load_glyphs`, the same thing out of a file. Raises
    FileNotFoundError if this matplotlib has a font no longer.
    """
    import matplotlib
    folder = Path(matplotlib.get_data_path()) / 'fonts' / 'ttf'
    if missing := [font for font in FONTS if not (folder / f'{font}.ttf').is_file()]:
        raise FileNotFoundError(f'matplotlib {matplotlib.__version__} has no fonts {missing}')
    rows = [[_draw_glyph(str(d), folder / f'{font}.ttf') for d in range(10)] for font in FONTS]
    return torch.from_numpy(np.array(rows))


# %% 00a_data.ipynb cell 32 #19649e8c
def course_root():
    """The folder of the course -> Path

    The nearest folder above this module, or else at or above the current one, with a
    `data/datasets.toml`. Raises FileNotFoundError if there is none.
    """
    module = globals().get('__file__')  # which a notebook does not have
    for start in ([module] if module else []) + [Path.cwd() / 'here']:
        for folder in Path(start).resolve().parents:
            if (folder / 'data' / 'datasets.toml').is_file():
                return folder
    raise FileNotFoundError(f'no data/datasets.toml in {Path.cwd()} or above it: go to the folder '
                            'of the course, or install it with `pip install -e .` there')


# %% 00a_data.ipynb cell 33 #bd59ccc4
def load_glyphs():
    "The glyph bank that comes with the course -> uint8 (22 fonts, 10 digits, 40, 40), ink is 255"
    with np.load(course_root() / 'data' / 'glyphs.npz', allow_pickle=False) as bank:
        return torch.from_numpy(bank['glyphs'])


# %% 00a_data.ipynb cell 37 #d3466243
RECIPE = {
    'version': 1,
    'scale': .91,      # mean size of a step: below 1 the digit is drawn larger
    'rotate': .20,     # up to so many radians either way, about 11°
    'shear': .25,      # slant: up to a quarter of the height, either way
    'log_scale': .16,  # each side longer or shorter by up to e^.16, about 17 %
    'shift': .085,     # of a half side: 1.2 pixels of 28
    'elastic': .065,   # standard deviation of a push: .9 pixels
    'thicken': .5,     # how far a thick glyph goes towards its widened self, and a thin one
    'thin': .35,       # towards its narrowed self
    'blur': .5,        # at most so much of the mean over 3 × 3 pixels
}


# %% 00a_data.ipynb cell 39 #9d27a8e9
def _random_affine(n, generator):
    "n random affine maps -> (n, 2, 3): two columns of A and the shift t"
    def up_to(amount, *shape):  # even between -amount and amount
        return (2 * torch.rand(n, *shape, generator=generator) - 1) * amount
    angle, shear = up_to(RECIPE['rotate']), up_to(RECIPE['shear'])
    zoom = RECIPE['scale'] * up_to(RECIPE['log_scale'], 2).exp()
    shift = up_to(RECIPE['shift'], 2)
    cos, sin = angle.cos(), angle.sin()
    right = torch.stack([cos, sin], 1) * zoom[:, :1]
    down = torch.stack([shear * cos - sin, shear * sin + cos], 1) * zoom[:, 1:]
    return torch.stack([right, down, shift], 2)


# %% 00a_data.ipynb cell 43 #9672fcbc
def _warp_basis(side):
    "The 28 pictures that every warp is a weighted sum of: x, y, 1 and 25 bumps -> (28, side²)"
    line = (torch.arange(side) + .5) / side * 2 - 1  # the centres of the pixels
    y, x = torch.meshgrid(line, line, indexing='ij')
    bumps = F.interpolate(torch.eye(25).view(25, 1, 5, 5), size=(side, side), mode='bicubic',
                          align_corners=True)
    return torch.cat([torch.stack([x, y, torch.ones_like(x)]), bumps[:, 0]]).flatten(1)


# %% 00a_data.ipynb cell 47 #997991ed
def _draw_warped(pictures, warp, blur, side):
    """Pictures (n, 1, h, w) in [0, 1], each through its warp (n, 2, 28) and blurred by blur (n,)
    -> uint8 (n, side, side)
    """
    grid = (warp @ _warp_basis(side)).view(-1, 2, side, side)
    grid = grid.permute(0, 2, 3, 1)  # (n, side, side, 2), as grid_sample wants it
    x = F.grid_sample(pictures, grid, align_corners=False)
    x = x.lerp(F.avg_pool2d(x, 3, 1, 1), blur.view(-1, 1, 1, 1))
    return (x[:, 0] * 255).round().to(torch.uint8)


# %% 00a_data.ipynb cell 51 #bb30eefc
def _pens(glyphs):
    """Each glyph plain, thickened and thinned, in [0, 1]

    uint8 (fonts, classes, h, w) -> float32 (3, fonts, classes, 1, h, w)
    """
    x = glyphs.flatten(0, 1).unsqueeze(1) / 255
    thick = x.lerp(F.max_pool2d(x, 3, 1, 1), RECIPE['thicken'])
    thin = x.lerp(-F.max_pool2d(-x, 3, 1, 1), RECIPE['thin'])
    return torch.stack([x, thick, thin]).view(3, *glyphs.shape[:2], 1, *glyphs.shape[2:])


# %% 00a_data.ipynb cell 54 #e39e6677
def _as_bank(glyphs):
    "A glyph bank, uint8 (fonts, classes, h, w) with a row for each of FONTS, checked; None is ours"
    if glyphs is None:
        return load_glyphs()
    kind = glyphs.dtype if isinstance(glyphs, torch.Tensor) else type(glyphs).__name__
    if kind != torch.uint8:
        raise TypeError(f'make_digits: glyphs must be a tensor of torch.uint8, not {kind}')
    if glyphs.dim() != 4 or len(glyphs) != len(FONTS) or not glyphs.numel():
        raise ValueError(f'make_digits: glyphs must be ({len(FONTS)} fonts, classes, h, w), not '
                         f'{tuple(glyphs.shape)}')
    return glyphs


# %% 00a_data.ipynb cell 56 #e83afe9f
def make_digits(n, fonts=FONTS, seed=0, side=28, glyphs=None):
    """Make n pictures of random digits in random fonts, each warped in its own way.

    -> (images, labels, font numbers): uint8 (n, side, side), ink is 255; int64 (n,), 0 to 9; int64
    (n,), places in FONTS. fonts: names out of FONTS · glyphs: a bank of something else to draw,
    uint8 (22 fonts, classes, h, w), ink is 255; a label is then a class of that bank. The same seed
    gives the same pictures, and the global random state is left alone. Raises ValueError for n
    below 1, unknown fonts and a bank of another shape, TypeError for a bank of another type. The
    elastic field is that of Simard, Steinkraus and Platt, 2003, on a 5 × 5 grid.
    """
    fonts = [fonts] if isinstance(fonts, str) else list(fonts)
    if n < 1 or not fonts or not set(fonts) <= set(FONTS):
        raise ValueError(f'make_digits: n must be 1 or more, not {n}, and fonts some of '
                         f'{", ".join(FONTS)}, not {fonts}')
    bank = _as_bank(glyphs)
    g = torch.Generator().manual_seed(seed)
    labels = torch.randint(bank.shape[1], (n,), generator=g)
    font = torch.tensor([FONTS.index(f) for f in fonts])
    font = font[torch.randint(len(fonts), (n,), generator=g)]
    pen = torch.tensor([0, 0, 1, 2])[torch.randint(4, (n,), generator=g)]
    pushes = torch.randn(n, 2, 25, generator=g) * RECIPE['elastic']
    warp = torch.cat([_random_affine(n, g), pushes], 2)  # (n, 2, 3 + 25)
    blur = torch.rand(n, generator=g) * RECIPE['blur']
    pens = _pens(bank)
    images = [_draw_warped(pens[pen[i], font[i], labels[i]], warp[i], blur[i], side)
              for i in torch.arange(n).split(2000)]
    return torch.cat(images), labels, font


# %% 00a_data.ipynb cell 68 #96edbe85
VALID_FONTS = ('DejaVuSans-BoldOblique', 'DejaVuSansMono-Oblique', 'DejaVuSerif-Bold',
               'STIXGeneralBol', 'cmti10')


# %% 00a_data.ipynb cell 74 #2c679f06
def _first_writable(folders):
    "The first of the folders that is there, or can be made, and can be written to; None if there is none."
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK):
            return folder


def _cache_dir():
    "The folder that downloads and generated data land in -> Path"
    from platformdirs import user_cache_path
    folders = course_root() / 'data', user_cache_path('foundations-course')
    return _first_writable(folders) or Path(tempfile.gettempdir())


def _data_dirs():
    """The folders that are searched for data, best first -> list of Path

    `$COURSE_DATA` (a relative path counts from the current folder, or else from the course's), the
    course's `data/`, the cache. Raises FileNotFoundError if `$COURSE_DATA` is not a folder.
    """
    folders = [course_root() / 'data', _cache_dir()]
    if given := os.environ.get('COURSE_DATA'):
        places = [base / Path(given).expanduser() for base in (Path.cwd(), course_root())]
        if not (found := [p.resolve() for p in places if p.is_dir()]):
            raise FileNotFoundError(f'COURSE_DATA={given} is not a folder: correct it, or unset it')
        folders.insert(0, found[0])
    return list(dict.fromkeys(folders))  # without repetition


# %% 00a_data.ipynb cell 76 #44fb7eab
def _write_folder(target, write):
    "Make the folder `target` whole or not at all: `write(folder)` fills it under another name."
    target.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f'.{target.name}-', dir=target.parent))
    try:
        write(part)
        part.chmod(0o755)  # mkdtemp keeps others out
        os.replace(part, target)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _locked(path):
    "A lock between processes that want to make `path`, to be used with `with`."
    from filelock import FileLock
    path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(path.with_name(f'.{path.name}.lock'))


# %% 00a_data.ipynb cell 80 #c4922aef
def _write_digits(folder, n_train=50_000, n_valid=10_000):
    "The built-in digits, as four files in MNIST's layout."
    train_fonts = [f for f in FONTS if f not in VALID_FONTS]
    parts = [make_digits(n_train, train_fonts, seed=0), make_digits(n_valid, VALID_FONTS, seed=1)]
    train = [torch.cat(pair) for pair in zip(*parts)]
    test = make_digits(n_valid, VALID_FONTS, seed=2)
    for name, (images, labels, _) in (('train', train), ('t10k', test)):
        write_idx(folder / f'{name}-images-idx3-ubyte', images)
        write_idx(folder / f'{name}-labels-idx1-ubyte', labels.byte())


# %% 00a_data.ipynb cell 82 #a353470d
def _recipe_id():
    "A short name for the recipe, the fonts and the glyphs: it changes when any of them does."
    text = repr((RECIPE, FONTS, VALID_FONTS)).encode() + load_glyphs().numpy().tobytes()
    return f'{RECIPE["version"]}-{hashlib.sha256(text).hexdigest()[:8]}'


def _made_once(name, write):
    "The folder `name` among the data; where there is none, `write(folder)` makes it, once -> Path"
    for folder in _data_dirs():
        if (folder / name).is_dir():
            return folder / name
    target = _cache_dir() / name
    with _locked(target):
        if not target.is_dir():  # nobody else made it while we waited
            _write_folder(target, write)
    return target


def _digits_folder():
    "The folder with the built-in digits, made on the first call -> Path"
    return _made_once('digits-' + _recipe_id(), _write_digits)


# %% 00a_data.ipynb cell 85 #70f10556
def _split_train(folder, n_train=50_000):
    "The `train` files of a folder in MNIST's layout, read and split -> as `digits` below"
    x = read_idx(folder / 'train-images-idx3-ubyte')
    y = read_idx(folder / 'train-labels-idx1-ubyte').long()
    return x[:n_train], y[:n_train], x[n_train:], y[n_train:]


def digits():
    """The built-in digits: 50,000 in 17 fonts to train on, 10,000 in 5 other fonts to validate.

    -> (x_train, y_train, x_valid, y_valid): uint8 (n, 28, 28), ink is 255, and int64 (n,). Made on
    the first call, in a few seconds, and kept in `data/`.
    """
    return _split_train(_digits_folder())


# %% 00a_data.ipynb cell 90 #f68aee2a
def datasets():
    """What `fetch` knows: name -> dict, as in `data/datasets.toml`

    Each has a title, licence and source; most have a folder, files (name, size, sha256), mirrors.
    """
    with open(course_root() / 'data' / 'datasets.toml', 'rb') as f:
        return tomllib.load(f)


def _dataset_info(name):
    "The entry of one dataset. Raises ValueError for an unknown name, and suggests a known one."
    known = datasets()
    if name in known:
        return known[name]
    close = difflib.get_close_matches(str(name).lower(), known, n=1)
    hint = f'did you mean {close[0]!r}? ' if close else ''
    raise ValueError(f'unknown dataset {name!r}: {hint}Known are {", ".join(known)}')


# %% 00a_data.ipynb cell 93 #60c7ec1d
class ChecksumError(ValueError):
    "A file is not the one that it should be."


@functools.lru_cache(maxsize=1024)
def _sha256_at(path, size, mtime_ns):
    "The checksum of a file in a certain state."
    with open(path, 'rb') as f:
        return hashlib.file_digest(f, 'sha256').hexdigest()


def _sha256_of(path):
    "The SHA-256 of a file as 64 hexadecimal digits, computed once for each state of the file."
    state = os.stat(path)
    return _sha256_at(str(path), state.st_size, state.st_mtime_ns)


def _check_file(path, file):
    "Raise ChecksumError unless `path` has one of the checksums that its entry `file` accepts."
    found = _sha256_of(path)
    if found not in file['sha256']:
        raise ChecksumError(f'{path} is damaged, or another edition: its sha256 is {found}, and '
                            f'should be {" or ".join(file["sha256"])}. Delete it or move it away, '
                            'and fetch again')


# %% 00a_data.ipynb cell 96 #8699d3b4
class DownloadError(OSError):
    "A dataset is not on this machine, and cannot be downloaded either."


def _save(chunks, part, mode, size):
    "Write chunks of bytes to the file `part` as they come, until there are more than `size`."
    from tqdm.auto import tqdm
    with open(part, mode) as f, tqdm(total=size, initial=f.tell(), desc=part.stem, unit='B',
                                     unit_scale=True, disable=size < 1e6) as bar:
        for chunk in chunks:
            f.write(chunk)
            bar.update(len(chunk))
            if f.tell() > size:
                break


# %% 00a_data.ipynb cell 98 #da5cc504
def _size_of(path):
    "The size of a file in bytes, 0 if there is none."
    return path.stat().st_size if path.exists() else 0


def _request_rest(url, part, size, timeout):
    "Ask once for the bytes that `part` still lacks, and add to it what comes."
    import requests
    import urllib3
    headers = {'Accept-Encoding': 'identity'}
    if _size_of(part):
        headers['Range'] = f'bytes={_size_of(part)}-'
    with requests.get(url, headers=headers, stream=True, timeout=timeout) as r:
        r.raise_for_status()
        mode = 'ab' if r.status_code == 206 else 'wb'
        try:
            _save(r.raw.stream(2**16, decode_content=False), part, mode, size)
        except urllib3.exceptions.HTTPError:
            pass  # broken off; the size of `part` tells how far it got


# %% 00a_data.ipynb cell 100 #18285eb4
class ResumableDownload:
    """A downloader for pooch, `f(url, output_file, pooch)`, that goes on where it was broken off.

    part: the file that keeps what has come so far, also from one call to the next · file: its entry
    in datasets.toml, of which it needs size and sha256 · tries: how many requests to make before
    giving up · timeout: seconds to wait for a connection, and for data. Raises DownloadError if the
    file stays incomplete, and what requests raises without a connection or when the server says no.
    """
    def __init__(self, part, file, tries=4, timeout=(5, 30)):
        self.part = Path(part)
        self.file = file
        self.tries = tries
        self.timeout = timeout

    def __call__(self, url, output_file, pooch, check_only=False):
        resumed = self._complete(url)
        if resumed and _sha256_of(self.part) not in self.file['sha256']:
            self.part.unlink()
            self._complete(url)
        os.replace(self.part, output_file)

    def _complete(self, url):
        size = self.file['size']
        before = _size_of(self.part)
        for _ in range(self.tries):
            if _size_of(self.part) < size:
                _request_rest(url, self.part, size, self.timeout)
        if _size_of(self.part) < size:
            raise DownloadError(f'truncated: {_size_of(self.part):,} of {size:,} bytes came')
        return before > 0


# %% 00a_data.ipynb cell 107 #81f68e80
def _what_failed(error):
    "Why a download failed, in a few words."
    import requests
    if isinstance(error, requests.HTTPError):
        return f'answered {error.response.status_code}'
    if isinstance(error, requests.Timeout):
        return 'did not answer in time'
    if isinstance(error, requests.ConnectionError):
        return 'no connection'
    return 'wrong checksum' if isinstance(error, ValueError) else str(error)


# %% 00a_data.ipynb cell 109 #ec8e3d9d
def _download(file, mirrors, folder):
    """One file, from the first mirror that has it, checked, into `folder`, or nothing at all.

    file: its entry in datasets.toml. Raises DownloadError, telling what each mirror did.
    """
    import pooch
    pooch.get_logger().setLevel('ERROR')  # the progress bar says enough
    get = ResumableDownload(folder / (file['name'] + '.part'), file)
    problems = []
    for mirror in mirrors:
        url = mirror + file.get('remote', file['name'])
        try:
            pooch.retrieve(url, 'sha256:' + file['sha256'][0], file['name'], folder, downloader=get)
            return
        except (OSError, ValueError) as e:  # pooch raises ValueError for a wrong checksum
            problems.append(f'{urlsplit(url).netloc}: {_what_failed(e)}')
    raise DownloadError(f'{file["name"]} cannot be downloaded ({"; ".join(problems)})')


# %% 00a_data.ipynb cell 113 #c48a808b
def _members(archive):
    "The members of a zip or tar archive -> list of (name, is it a plain file or folder?)"
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as z:
            kinds = [(m.filename, stat.S_IFMT(m.external_attr >> 16)) for m in z.infolist()]
        return [(name, kind in (0, stat.S_IFREG, stat.S_IFDIR)) for name, kind in kinds]
    with tarfile.open(archive) as t:
        return [(m.name, m.isfile() or m.isdir()) for m in t.getmembers()]


def _extract(archive, folder):
    "Check all members of an archive, then write them into `folder`."
    for name, plain in _members(archive):
        path = PureWindowsPath(name)  # which knows both kinds of slash, and drives
        if not plain or path.anchor or '..' in path.parts:
            raise ValueError(f'{archive} is not safe, and was not unpacked: its member {name!r} '
                             + ('points outside' if plain else 'is a link or a device'))
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as z:
            z.extractall(folder)
    else:
        with tarfile.open(archive) as t:  # older Pythons know no filter, and now need none
            t.extractall(folder, **({'filter': 'data'} if hasattr(tarfile, 'data_filter') else {}))


# %% 00a_data.ipynb cell 115 #22028caf
def unpack(archive, folder):
    """Unpack a zip or tar archive into a new folder: all of it, or nothing. -> Path of the folder

    Raises ValueError, before anything is written, for a member with an absolute name or with `..`
    in it, for links and devices, and for a file that is no archive or a damaged one;
    FileExistsError if the folder is there already.
    """
    archive, folder = Path(archive), Path(folder)
    if folder.exists():
        raise FileExistsError(f'{folder} exists already: unpack into a new folder')
    try:
        _write_folder(folder, lambda part: _extract(archive, part))
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error) as e:
        raise ValueError(f'{archive} is damaged, or no zip or tar archive: {e}') from e
    return folder


# %% 00a_data.ipynb cell 122 #29fca98e
def load_pickle(path, sha256):
    """Load a pickle, packed (`.gz`) or not, if its checksum is one of those given. -> the object

    sha256: 64 hexadecimal digits, or a list of such; those of the course's own are in `datasets()`.
    Bytes from Python 2 are read as Latin-1. Raises ChecksumError, without loading anything.
    """
    data = Path(path).read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found not in ([sha256] if isinstance(sha256, str) else list(sha256)):
        raise ChecksumError(f'{path} was not loaded, as a pickle can run anything: its sha256 is '
                            f'{found}, expected {sha256}')
    data = gzip.decompress(data) if Path(path).suffix == '.gz' else data
    return pickle.loads(data, encoding='latin-1')


# %% 00a_data.ipynb cell 125 #62e60d2c
def _find(info):
    """Look for the files of a dataset on the disk -> (folder or None, names of those missing)

    The folder is one that has all of them. Raises ChecksumError if a file there is not the right one.
    """
    missing = [f['name'] for f in info['files']]
    for folder in (d / info['folder'] for d in _data_dirs()):
        there = [f for f in info['files'] if (folder / f['name']).is_file()]
        for file in there:
            _check_file(folder / file['name'], file)
        if len(there) == len(info['files']):
            return folder, []
        missing = min(missing, [f['name'] for f in info['files'] if f not in there], key=len)
    return None, missing


# %% 00a_data.ipynb cell 127 #30c2c15d
def _offline():
    "Does `COURSE_OFFLINE` forbid the network? -> bool"
    return os.environ.get('COURSE_OFFLINE', '').strip().lower() not in ('', '0', 'false', 'no')


def _why_not(name, info):
    "The reason not to try a download just now, in words, or None."
    failed = _cache_dir() / f'.{name}.failed'
    if not info.get('mirrors'):
        return f'no address offers it in this form ({info["source"]})'
    if _offline():
        return 'COURSE_OFFLINE is set'
    if 'stand_in' in info and failed.exists() and time.time() - failed.stat().st_mtime < 300:
        return 'no mirror could be reached a moment ago; delete data/.*.failed to try again at once'


# %% 00a_data.ipynb cell 129 #eb69befd
def _get(name, info):
    "The folder with all files of a dataset, downloaded if need be -> Path. Raises DownloadError."
    folder, missing = _find(info)
    if folder:
        return folder
    if reason := _why_not(name, info):
        part = '' if len(missing) == len(info['files']) else ', '.join(missing) + ' of it is '
        raise DownloadError(f'{part}not on this machine, and {reason}')
    folder = _cache_dir() / info['folder']
    with _locked(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for file in info['files']:
            if not (folder / file['name']).is_file():
                try:
                    _download(file, info['mirrors'], folder)
                except DownloadError:
                    (_cache_dir() / f'.{name}.failed').touch()
                    raise
    return folder


# %% 00a_data.ipynb cell 131 #0e35903a
def _ready(name, info):
    "The path of a dataset in the form in which it is used -> Path"
    file = info['files'][0]
    if not file.get('unpack'):
        folder = _get(name, info)
        return folder / file['name'] if len(info['files']) == 1 else folder
    target = _cache_dir() / info['folder'] / f'{file["name"].split(".")[0]}-{file["sha256"][0][:8]}'
    if not target.is_dir():
        archive = _get(name, info) / file['name']
        with _locked(target):
            if not target.is_dir():
                unpack(archive, target)
    return target


# %% 00a_data.ipynb cell 133 #8844fafb
@functools.cache
def _say_once(text):
    "Print a line, but only the first time in a session."
    print(text)


def _resolve(name):
    "Which dataset does a name stand for on this machine, and where is it? -> (name, Path)"
    info = _dataset_info(name)
    if info.get('built_in'):
        return name, _digits_folder()
    try:
        return name, _ready(name, info)
    except DownloadError as e:
        if 'stand_in' not in info:
            files = ', '.join(f['name'] for f in info['files'])
            raise DownloadError(f'{name}: {e}. Or put {files} into {info["folder"]}/ of the folder '
                                'that COURSE_DATA names') from e
        _say_once(f'{name}: {e}. Using the built-in stand-in: {info["stand_in"]}.')
    return _resolve(info['stand_in'])


# %% 00a_data.ipynb cell 134 #37cab8cd
def fetch(name):
    """A dataset on this machine: found, or downloaded, or its built-in stand-in. -> Path

    name: one of `datasets()`. The path is the file if the dataset is a single one, the folder if it
    is several, and the unpacked folder if it is an archive. `$COURSE_DATA` is searched, then the
    course's `data/`, where downloads land; all files are checked against their SHA-256;
    `COURSE_OFFLINE=1` forbids downloads. Where a stand-in is used, a line says so. Raises
    ValueError for an unknown name, ChecksumError for a file that is not the right one, DownloadError
    if the data cannot be had.
    """
    return _resolve(name)[1]


def data_name():
    "Which data `get_data` serves on this machine: `'mnist'` or `'digits'`."
    return _resolve('mnist')[0]


# %% 00a_data.ipynb cell 137 #188d77e9
def get_data():
    """MNIST where it is to be had, else the built-in digits, ready for a network.

    -> (x_train, y_train, x_valid, y_valid): float32 (50000, 784) and (10000, 784), from 0 (paper)
    to 1 (ink); int64 (50000,) and (10000,). Of MNIST's 60,000 training pictures the first 50,000 are
    for training and the last 10,000 for validation; its 10,000 test pictures stay untouched.
    `data_name()` says which data it is.
    """
    def flat(x):
        return x.flatten(1).float().div_(255)
    x_train, y_train, x_valid, y_valid = _split_train(fetch('mnist'))
    return flat(x_train), y_train, flat(x_valid), y_valid


# cell hashes: 78e684ac:5d72d5c9 306d838e:22e88031 9babcb35:17a98d26 5fc1d1e4:ae1bc509
#   09570f32:3600c1f7 021ec60f:6f1e3e40 15b69947:76aa8ba0 8156d01d:256242f7 c140bfe4:71d1c86a
#   19649e8c:986ac298 bd59ccc4:025bae0b d3466243:133e3d05 9d27a8e9:031ff9df 9672fcbc:515823b7
#   997991ed:8bd7fe0c bb30eefc:d801af08 e39e6677:ccc90613 e83afe9f:a269f760 96edbe85:3d01e28c
#   2c679f06:f3ea1ed3 44fb7eab:92b3f43a c4922aef:21c8fbd9 a353470d:836cb19d 70f10556:96500f04
#   f68aee2a:78d46c53 60c7ec1d:ede12186 8699d3b4:940df159 da5cc504:49ae8ee6 18285eb4:1b43dc74
#   81f68e80:a2eda0a8 ec8e3d9d:f5ee2849 c48a808b:0291f385 22028caf:f6094ebd 29fca98e:ea32b265
#   62e60d2c:8da3dcc6 30c2c15d:7f2777e9 eb69befd:f0e84688 0e35903a:1b12d14d 8844fafb:7144e2d2
#   37cab8cd:141e094d 188d77e9:40d3f637
