"""The data block: from files to batches

Exported from nbs/08_data_block.ipynb: change the notebook and export it again, or change this
file and bring the change back with `python notebook2script.py --update`.
"""
# notebook2script 1 sha256:0e67416d480154e4 head:df7726fb
__all__ = ['CLASSES', 'PICTURES', 'make_pictures', 'pictures', 'IMAGE_EXTENSIONS', 'get_files',
           'ItemList', 'ImageError', 'open_image', 'ImageList', 'split_by_grandparent',
           'split_randomly', 'Split', 'Transform', 'CategoryProcessor', 'label_by_parent',
           'ItemDataset', 'LabelledData', 'Resize', 'ToTensor', 'NormalizeChannels', 'to_dls',
           'Summary', 'model_summary']


# %% 08_data_block.ipynb cell 3 #f77b256d
import copy
import hashlib
import os
import random
from collections import Counter
from collections.abc import Hashable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from torch import nn

from exp.nb_00 import Table
from exp.nb_00a import FONTS, VALID_FONTS, _made_once, load_glyphs, show_images
from exp.nb_03 import BatchSampler, DataLoader, Sampler, collate
from exp.nb_04 import DataLoaders
from exp.nb_06 import Hooks


# %% 08_data_block.ipynb cell 5 #af6406fc
CLASSES = ('zero', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine')

PICTURES = {
    'version': 1,
    'n_train': 4000,
    'n_valid': 1000,
    'side': 64,              # pixels
    'photo': (.4, 1.2),      # pixels of the photo for a pixel of the picture: below 1 it is enlarged
    'dim': .65,              # the photo is darkened to this, so that most figures can be brighter
    'size': (.65, .95),      # half the glyph's square, as a share of half the picture
    'rotate': .15,           # up to so many radians either way
    'shear': .2,             # slant
    'stretch': .15,          # taller or wider, by up to e^.15
    'elastic': .03,          # standard deviation of a push, in halves of the picture
    'contrast': (.5, 1.1),   # distance of the colours of figure and ground, where white to black is √3
    'bright': .92,           # share of figures that are brighter than the ground in red, green and blue
    'ink': (.85, 1.),        # opacity
}


# %% 08_data_block.ipynb cell 8 #33a8d88a
def _sample_photos():
    "scikit-learn's two photos, one above the other -> float32 (3, 854, 640) in [0, 1]"
    from sklearn.datasets import load_sample_images
    return torch.from_numpy(np.concatenate(load_sample_images().images)).permute(2, 0, 1).float() / 255


def _between(bounds, *shape, generator):
    "Random numbers, even between two bounds, of the given shape."
    low, high = bounds
    return low + (high - low) * torch.rand(*shape, generator=generator)


# %% 08_data_block.ipynb cell 12 #814abdb7
def _crops(n, part, photos, generator):
    "n random square pieces of the photos, from the strips that belong to `part` -> (n, 3, side, side)"
    side, (w, h) = PICTURES['side'], (photos.shape[2], photos.shape[1] / 2)
    width = side * _between(PICTURES['photo'], n, generator=generator)
    u, v = torch.rand(2, n, generator=generator)
    which, right = torch.randint(2, (2, n), generator=generator)
    left = w * 3 / 8 + u * (w / 4 - width)  # the middle quarter
    if part == 'train':
        left = u * (w * 3 / 8 - width) + right * w * 5 / 8
    top = which * h + v * (h - width)
    steps = (torch.arange(side) + .5) / side * width[:, None]  # (n, side)
    x = (left[:, None] + steps) / w * 2 - 1
    y = (top[:, None] + steps) / h - 1
    grid = torch.stack([x[:, None].expand(n, side, side), y[:, :, None].expand(n, side, side)], 3)
    crops = F.grid_sample(photos[None], grid.view(1, n * side, side, 2), align_corners=False)
    return crops.view(3, n, side, side).transpose(0, 1)


# %% 08_data_block.ipynb cell 14 #27056fa6
def _random_maps(n, size, generator):
    "Affine maps from places in the picture to places in the glyph -> (n, 2, 3)"
    def even(name):
        return _between((-PICTURES[name], PICTURES[name]), n, generator=generator)
    angle, shear, stretch = even('rotate'), even('shear'), even('stretch').exp()
    place = _between((-1, 1), n, 2, generator=generator) * (1 - .8 * size)[:, None]
    cos, sin = angle.cos(), angle.sin()
    rows = [cos * stretch, -sin * stretch, (sin + shear * cos) / stretch, (cos - shear * sin) / stretch]
    maps = torch.stack(rows, 1).view(n, 2, 2) / size.view(n, 1, 1)
    return torch.cat([maps, -maps @ place[:, :, None]], 2)


# %% 08_data_block.ipynb cell 16 #76aefae2
def _masks(n, part, bank, generator):
    "n random figures in fonts of `part` -> masks (n, 1, side, side) in [0, 1], labels (n,)"
    side = PICTURES['side']
    fonts = torch.tensor([i for i, f in enumerate(FONTS) if (f in VALID_FONTS) == (part == 'valid')])
    labels = torch.randint(len(CLASSES), (n,), generator=generator)
    font = fonts[torch.randint(len(fonts), (n,), generator=generator)]
    size = _between(PICTURES['size'], n, generator=generator)
    maps = _random_maps(n, size, generator)
    push = torch.randn(n, 2, 4, 4, generator=generator) * (PICTURES['elastic'] / size).view(n, 1, 1, 1)
    push = F.interpolate(push, size=(side, side), mode='bilinear', align_corners=True)
    grid = F.affine_grid(maps, (n, 1, side, side), align_corners=False) + push.permute(0, 2, 3, 1)
    return F.grid_sample(bank[font, labels][:, None], grid, align_corners=False), labels


# %% 08_data_block.ipynb cell 18 #d902798e
def _colours(ground, mask, generator):
    "A colour for each figure, told apart from the ground under it -> (n, 3, 1, 1) in [0, 1]"
    n = len(ground)
    under = (ground * mask).sum((2, 3)) / mask.sum((2, 3)).clamp(min=1)
    way = F.normalize(torch.randn(n, 3, generator=generator))
    way = torch.where(torch.rand(n, 1, generator=generator) < PICTURES['bright'], way.abs(), way)
    far = _between(PICTURES['contrast'], n, 1, generator=generator)
    return (under + far * way).clamp(0, 1)[:, :, None, None]


# %% 08_data_block.ipynb cell 20 #f1472480
def make_pictures(n, part, seed):
    """Paint n pictures. -> (images uint8 (n, 3, 64, 64), labels int64 (n,), places in CLASSES)

    part: `'train'` or `'valid'`, which differ in fonts and pieces of the photos. The same seed gives the same
    pictures; the global random state is left alone. Raises ValueError for another part, or n below 1.
    """
    if part not in ('train', 'valid') or n < 1:
        raise ValueError(f"make_pictures: part must be 'train' or 'valid' and n ≥ 1, not {part!r} and {n}")
    g, photos, bank = torch.Generator().manual_seed(seed), _sample_photos(), load_glyphs() / 255
    images, labels = [], []
    for m in [500] * (n // 500) + [n % 500] * (n % 500 > 0):
        ground = _crops(m, part, photos, g) * PICTURES['dim']
        mask, y = _masks(m, part, bank, g)
        ink = _between(PICTURES['ink'], m, 1, 1, 1, generator=g)
        x = ground.lerp(_colours(ground, mask, g), mask * ink)
        images.append((x.clamp(0, 1) * 255).round().byte())
        labels.append(y)
    return torch.cat(images), torch.cat(labels)


# %% 08_data_block.ipynb cell 24 #8240c919
def _write_pictures(folder):
    "The built-in pictures as `train/<class>/…png` and `valid/<class>/…png`."
    for seed, part in enumerate(('train', 'valid')):
        images, labels = make_pictures(PICTURES[f'n_{part}'], part, seed)
        for name in CLASSES:
            (folder / part / name).mkdir(parents=True)
        for i, (x, y) in enumerate(zip(images.permute(0, 2, 3, 1).numpy(), labels.tolist())):
            Image.fromarray(x).save(folder / part / CLASSES[y] / f'{i:05}.png', compress_level=3)


# %% 08_data_block.ipynb cell 26 #e6ddd9d0
def pictures():
    """The folder of the built-in pictures, 4,000 to train and 1,000 to validate, 64×64 in colour. -> Path

    Layout: `train/<class>/<number>.png` and `valid/<class>/…`, with ten classes, 'zero' to 'nine'; fonts and
    pieces of photos in valid are not in train. Made on the first call, in about ten seconds, and kept.
    """
    recipe = repr((PICTURES, CLASSES, FONTS, VALID_FONTS)).encode() + load_glyphs().numpy().tobytes()
    name = f'pictures-{PICTURES["version"]}-{hashlib.sha256(recipe).hexdigest()[:8]}'
    return _made_once(name, _write_pictures)


# %% 08_data_block.ipynb cell 30 #c3939bf4
IMAGE_EXTENSIONS = ('.png', '.jpg', '.jpeg', '.jfif', '.gif', '.bmp', '.webp', '.tif', '.tiff', '.ppm', '.pgm')


def _refuse_missing(error):
    raise error


def _walk(path, recurse):
    "The names of all files that are not hidden, as strings."
    for folder, folders, names in os.walk(path, onerror=_refuse_missing):
        folders[:] = [f for f in folders if recurse and not f.startswith('.')]
        yield from (os.path.join(folder, name) for name in names if not name.startswith('.'))


# %% 08_data_block.ipynb cell 32 #d64f949c
def get_files(path, extensions=None, recurse=True):
    """All files in a folder, sorted. -> list of Path

    extensions: such as `'.png'`, or several; upper or lower case is the same (default: any) · recurse: look in the
    folders below as well. Hidden files and folders are left out. Raises NotADirectoryError if `path` is no
    folder, FileNotFoundError if nothing is found.
    """
    if not os.path.isdir(path):
        raise NotADirectoryError(f'get_files: {path} is not a folder (looked from {Path.cwd().name}/)')
    files = sorted(_walk(path, recurse))
    if extensions is None:
        found = files
    else:
        wanted = (extensions,) if isinstance(extensions, str) else tuple(extensions)
        found = [f for f in files if f.lower().endswith(tuple(e.lower() for e in wanted))]
    if not found:
        ending = '' if extensions is None else f' ending in {", ".join(wanted)}'
        others = Counter(os.path.splitext(f)[1] or 'no extension' for f in files).most_common(3)
        there = ', '.join(f'{n} × {e}' for e, n in others) or 'no files at all'
        raise FileNotFoundError(f'get_files: no files{ending} in {path}; there is: {there}')
    return [Path(f) for f in found]


# %% 08_data_block.ipynb cell 36 #65475c08
class _Items:
    "Items that are opened when they are asked for."
    def __init__(self, items, path=None):
        self.items, self.path = list(items), path

    def get(self, item):
        "Open an item."
        return item

    def new(self, items):
        "The same kind of list, of other items."
        other = copy.copy(self)
        other.items = list(items)
        return other

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        if isinstance(i, slice):
            return self.new(self.items[i])
        if np.ndim(i):
            idx = torch.as_tensor(i)
            idx = idx.nonzero()[:, 0] if idx.dtype == torch.bool else idx
            return self.new(self.items[j] for j in idx.tolist())
        return self.get(self.items[i])


# %% 08_data_block.ipynb cell 38 #ee633dd3
def _error_of(f, x):
    "What goes wrong in f(x), or None."
    try:
        f(x)
    except Exception as e:
        return e


# %% 08_data_block.ipynb cell 40 #06e8c842
class ItemList(_Items):
    """Items of any kind: `items[i]` opens one, `items[a:b]` or `items[[3, 1]]` is a shorter list.

    items: paths, rows, texts, … · path: the folder they belong to, for showing. A subclass overrides
    `get`, which opens an item (here: gives it as it is). Next step: `split`.
    """
    extensions = None

    @classmethod
    def from_folder(cls, path, extensions=None, recurse=True, **kwargs):
        "All files of a folder, as `get_files` finds them; kwargs are those of the class."
        return cls(get_files(path, extensions or cls.extensions, recurse), path=path, **kwargs)

    def filter(self, keep):
        "The items for which `keep(item)` is true."
        return self.new(item for item in self.items if keep(item))

    def broken(self):
        "Open every item. -> list of (item, error) for those that cannot be opened"
        return [(item, e) for item in self.items if (e := _error_of(self.get, item))]

    def split(self, splitter, allow_repeats=False, **kwargs):
        """Into a training and a validation part. -> Split

        splitter: called with the list of items (and kwargs), gives the places of the two parts. Raises
        ValueError for a part without items, and when the two share an item, unless `allow_repeats`.
        """
        return Split.of(self, splitter(self.items, **kwargs), allow_repeats)

    def __repr__(self):
        where = f' in {Path(self.path).name}' if self.path else ''
        return f'{type(self).__name__} of {len(self)} items{where}'


# %% 08_data_block.ipynb cell 48 #b4e0486f
class ImageError(ValueError):
    "A file that cannot be read as a picture; the message names it."


def _to_8_bits(img):
    "A grey picture of 16 bits (PIL also hands it over as 32) -> one of 8 bits"
    values = np.asarray(img).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise ValueError(f'it has grey values from {values.min()} to {values.max()}, not 0 to 65535')
    return Image.fromarray(((values + 128) // 257).astype(np.uint8))


def _on_white(img):
    "A picture with transparent parts, laid on white paper."
    paper = Image.new('RGBA', img.size, 'white')
    paper.alpha_composite(img.convert('RGBA'))
    return paper


# %% 08_data_block.ipynb cell 50 #2a95dd44
def _plain(img, mode):
    "Upright, 8 bits, opaque, in the mode asked for."
    if img.getexif().get(274, 1) != 1:  # the tag for orientation
        img = ImageOps.exif_transpose(img)
    if img.mode.startswith('I'):
        img = _to_8_bits(img)
    if img.mode == 'F':
        raise ValueError('it has floating-point values, and nothing says what is black and white')
    if 'transparency' in img.info or img.mode in ('RGBA', 'LA', 'PA', 'RGBa', 'La'):
        img = _on_white(img)
    return img if img.mode == mode else img.convert(mode)


# %% 08_data_block.ipynb cell 52 #5eeefe4b
def open_image(path, mode='RGB'):
    """Open a picture file: upright, 8 bits, opaque (transparent parts on white). -> PIL image

    mode: 'RGB', or 'L' for grey. Of several frames, the first. Raises FileNotFoundError if there is no such file,
    ImageError if it cannot be read or has values of unknown range.
    """
    try:
        with Image.open(path) as img:
            img.load()
            return _plain(img, mode)
    except FileNotFoundError:
        raise
    except Exception as e:  # PIL raises nearly every type for a damaged file
        raise ImageError(f'{path} cannot be read as a picture: {e}') from e


# %% 08_data_block.ipynb cell 60 #bf3a847b
class ImageList(ItemList):
    """Picture files; `images[i]` is a PIL image, see `open_image`.

    items: paths · mode: 'RGB', or 'L' for grey. `ImageList.from_folder(path)` finds all pictures below a folder.
    """
    extensions = IMAGE_EXTENSIONS

    def __init__(self, items, path=None, mode='RGB'):
        super().__init__(items, path)
        self.mode = mode

    def get(self, item):
        "Open a picture -> PIL image"
        return open_image(item, self.mode)


# %% 08_data_block.ipynb cell 64 #c2488770
def split_by_grandparent(items, train='train', valid='valid'):
    """Split paths like `train/cat/1.png` by the folder above their folder. -> (train places, valid places)

    Items in neither folder (a `test/`, say) are left out.
    """
    names = [Path(item).parent.parent.name for item in items]
    if missing := {train, valid} - set(names):
        raise ValueError(f'split_by_grandparent: no item lies in {" or ".join(sorted(missing))}; the folders '
                         f'there are called {", ".join(sorted(set(names))[:5])}')
    return [i for i, n in enumerate(names) if n == train], [i for i, n in enumerate(names) if n == valid]


# %% 08_data_block.ipynb cell 66 #f8c8642e
def split_randomly(items, valid=.2, seed=0):
    """Draw a share of the items for validation. -> (train places, valid places), both in order

    valid: share between 0 and 1 · seed: the same one gives the same split; global random state is left alone.
    """
    if not 0 < valid < 1:
        raise ValueError(f'split_randomly: valid is a share between 0 and 1, not {valid}')
    places = random.Random(seed).sample(range(len(items)), len(items))
    cut = round(len(items) * valid)
    return sorted(places[cut:]), sorted(places[:cut])


# %% 08_data_block.ipynb cell 70 #6f33c788
def _rough(item):
    "Something cheap that is equal for equal items: of a file, its size."
    return os.path.getsize(item) if isinstance(item, Path) else _exact(item)


def _exact(item):
    "Something to know an item by: of a file, a checksum of its content; else the item itself, or its text."
    if isinstance(item, Path):
        return hashlib.blake2b(item.read_bytes()).digest()
    return item if isinstance(item, Hashable) and not isinstance(item, torch.Tensor) else repr(item)


# %% 08_data_block.ipynb cell 72 #f88e38be
def _shared(train, valid):
    "Items of two lists that are the same: equal, or files of equal content. -> list of pairs"
    sizes = [_rough(item) for item in train], [_rough(item) for item in valid]
    both = set(sizes[0]) & set(sizes[1])
    known = {_exact(item): item for item, size in zip(train, sizes[0]) if size in both}
    keys = [(_exact(item), item) for item, size in zip(valid, sizes[1]) if size in both]
    return [(known[key], item) for key, item in keys if key in known]


# %% 08_data_block.ipynb cell 74 #f47db426
class Split:
    """The two parts of a list of items, `train` and `valid`, made by `ItemList.split`. Next step: `label`."""
    def __init__(self, train, valid):
        self.train, self.valid = train, valid

    @classmethod
    def of(cls, items, places, allow_repeats=False):
        "Parts of `items` at the two lists of places; refuses an empty part, or one that shares an item."
        parts = [items[list(p)] if len(p) else items.new([]) for p in places]
        for name, part in zip(('training', 'validation'), parts):
            if not len(part):
                raise ValueError(f'split: the {name} part is empty ({len(items)} items in all)')
        if not allow_repeats and (pairs := _shared(parts[0].items, parts[1].items)):
            raise ValueError(f'split: {len(pairs)} of {len(parts[1])} validation items are in the training part '
                             f'as well, such as {pairs[0][1]} (in training: {pairs[0][0]}). Remove them; or, if '
                             'equal items are no leak in this data, pass allow_repeats=True')
        return cls(*parts)

    def label(self, func, tfm=None):
        """Give each item its target. -> LabelledData

        func: item -> label · tfm: a `Transform` of labels into targets, fitted on the training part (default:
        `CategoryProcessor()`). Raises ValueError, naming the item, for a label that is None or unknown.
        """
        return LabelledData.of(self, func, CategoryProcessor() if tfm is None else tfm)

    def __repr__(self):
        return f'train: {self.train!r}\nvalid: {self.valid!r}'


# %% 08_data_block.ipynb cell 78 #4c72ddfa
class Transform:
    """A step on the way from an item to a batch: override what you need. As it stands it does nothing.

    `fit(xs)`: learn from the training part; xs is a sequence of training inputs (or labels) as they reach
    this step · `tfm(x)`: do the step · `decode(x)`: take it back for showing, as far as can be. Class
    attributes: `batched = True` for a step that takes a whole batch (bs, …) at once; `train_only = True` for
    one that is left out in validation, such as an augmentation.
    """
    batched = False
    train_only = False

    def fit(self, xs):
        "Learn from the training part. Here: nothing."

    def __call__(self, x):
        return x

    def decode(self, x):
        "Undo the step, for showing. Here: nothing to undo."
        return x


# %% 08_data_block.ipynb cell 80 #b3919ddc
class _Step(Transform):
    "A plain function as a transform."
    def __init__(self, f):
        self.f = f

    def __call__(self, x):
        return self.f(x)


def _as_transform(f):
    if isinstance(f, Transform):
        return f
    if not callable(f) or isinstance(f, type):
        raise TypeError(f'{f!r} is not a step: pass a Transform (made, as in ToTensor()) or a function')
    return _Step(f)


# %% 08_data_block.ipynb cell 82 #bf5b7024
class CategoryProcessor(Transform):
    """Labels to numbers from 0 and back; the vocabulary is that of the training part, sorted.

    vocab: the labels in your own order (default: found by `fit`). `tfm(label)` -> int; `decode(i)` -> label. Raises
    ValueError for a label that is not in the vocabulary, and when it is fitted a second time.
    """
    def __init__(self, vocab=None):
        self.given, self._places = vocab is not None, {}
        if vocab is not None:
            self._learn(list(vocab))

    def _learn(self, vocab):
        self.vocab, self._places = vocab, {label: i for i, label in enumerate(vocab)}
        if len(self._places) < len(vocab):
            raise ValueError(f'CategoryProcessor: a label is twice in the vocabulary {vocab}')

    def fit(self, xs):
        "Learn the vocabulary from the labels xs."
        if self.given:
            return
        if self._places:
            raise ValueError('CategoryProcessor was fitted already; make a new one for other data')
        self._learn(sorted(set(xs)))

    def __call__(self, label):
        if label not in self._places:
            known = ', '.join(map(str, list(self._places)[:10])) or 'none yet: it has not been fitted'
            raise ValueError(f'unknown label {label!r}; known are {known}')
        return self._places[label]

    def decode(self, i):
        "A number, or a tensor of one -> the label"
        return self.vocab[int(i)]


# %% 08_data_block.ipynb cell 84 #de12fffc
def label_by_parent(item):
    "The name of the folder a file lies in: `train/cat/1.png` -> 'cat'."
    return Path(item).parent.name


# %% 08_data_block.ipynb cell 88 #c0c2eec4
def _plainly(tfm, x):
    "Call a step as it is."
    return tfm(x)


class _OneByOne:
    "Items with targets, and the steps for single items."
    def __init__(self, items, targets, tfms, y_tfm):
        self.items, self.targets, self.y_tfm = items, targets, y_tfm
        self.tfms = list(tfms)
        self._single = [t for t in self.tfms if not t.batched]
        self._batched = [t for t in self.tfms if t.batched]

    def __len__(self):
        return len(self.items)

    def _open(self, i, do=_plainly, note=''):
        "Item i through the steps for single items; `do(tfm, x)` calls a step."
        try:
            x = self.items[i]
            for tfm in self._single:
                x = do(tfm, x)
            return x
        except Exception as e:
            e.add_note(f'at item {i}{note}: {self.items.items[i]}')
            raise


# %% 08_data_block.ipynb cell 90 #239abafe
class _InBatches(_OneByOne):
    "The same, stacked into batches, with the steps for batches."
    def _stack(self, xs, do=_plainly):
        "Opened items -> a batch (bs, …), through the steps for batches"
        if isinstance(xs[0], Image.Image):
            raise TypeError('pictures must become tensors before they can be a batch: add ToTensor()')
        xb = collate(xs)
        for tfm in self._batched:
            xb = do(tfm, xb)
        return xb

    def x(self, idx):
        "The inputs at places `idx` -> a batch (bs, …)"
        idx = idx.tolist() if isinstance(idx, torch.Tensor) else idx
        return self._stack([self._open(i) for i in idx])

    def gather(self, idx):
        "A batch (xb, yb) of the samples at places `idx`."
        idx = idx.tolist() if isinstance(idx, torch.Tensor) else list(idx)
        return self.x(idx), collate([self.targets[i] for i in idx])

    def __getitem__(self, i):
        xb, yb = self.gather([int(i)])
        return xb[0], yb[0]


# %% 08_data_block.ipynb cell 92 #a7981eda
class ItemDataset(_InBatches):
    """Items with targets: `ds[i]` is the pair (x, y) after all steps, `ds.gather(idx)` a batch of them.

    items: an `ItemList` · targets: one for each, numbers or tensors · tfms: steps for the inputs · y_tfm: the
    transform that made the targets, for showing. Works with our `DataLoader` and with torch's.
    """
    def decode(self, x, y):
        "An input and a target as `ds[i]` gives them -> (what can be shown, label)"
        for tfm in reversed(self._batched):
            x = tfm.decode(x[None])[0]
        for tfm in reversed(self._single):
            x = tfm.decode(x)
        return x, self.y_tfm.decode(y)

    def show(self, n=10, **kwargs):
        "n samples, evenly spaced, with their labels: pictures as a figure, all else as a table."
        pairs = [self.decode(*self[i * len(self) // n]) for i in range(min(n, len(self)))]
        xs, labels = zip(*pairs)
        if isinstance(xs[0], torch.Tensor) and xs[0].dim() == 3:
            return show_images([x.clamp(0, 1) for x in xs], titles=[str(y) for y in labels], **kwargs)
        return Table(['input', 'label'], [(str(x)[:60], y) for x, y in pairs])


# %% 08_data_block.ipynb cell 96 #f07cf323
class _Reaching:
    "The inputs of a dataset as they reach its next step, a sequence that opens them when asked."
    def __init__(self, ds):
        self.ds = ds

    def __len__(self):
        return len(self.ds)

    def __getitem__(self, i):
        if not -len(self) <= i < len(self):
            raise IndexError(i)
        return self.ds.x([i])[0] if self.ds._batched else self.ds._open(i)


# %% 08_data_block.ipynb cell 98 #70c653a1
def _longer(ds, tfm):
    "The same dataset with one more step."
    return ItemDataset(ds.items, ds.targets, [*ds.tfms, tfm], ds.y_tfm)


def _with_step(train, valid, tfm):
    "Both datasets with one more step, fitted on the training part. -> (train, valid)"
    if train._batched and not tfm.batched:
        raise ValueError(f'{type(tfm).__name__} takes single items and cannot come after '
                         f'{type(train._batched[-1]).__name__}, which takes batches')
    tfm.fit(_Reaching(train))
    return _longer(train, tfm), valid if tfm.train_only else _longer(valid, tfm)


# %% 08_data_block.ipynb cell 100 #fa73273e
def _targets(items, func, tfm):
    "The targets of all items; errors name the item. -> list"
    targets = []
    for item in items.items:
        try:
            targets.append(tfm(func(item)))
        except Exception as e:
            e.add_note(f'at item {item}')
            if isinstance(e, ValueError):
                raise ValueError(f'{e} (at {item})') from e
            raise
    return targets


# %% 08_data_block.ipynb cell 102 #3ddf7414
class LabelledData:
    """Two datasets of items, `train` and `valid`, made by `Split.label`. Next steps: `transform`, `to_dls`.

    `vocab`: the labels in the order of their numbers, if the targets are classes.
    """
    def __init__(self, train, valid):
        self.train, self.valid = train, valid

    @classmethod
    def of(cls, split, func, y_tfm):
        "Label both parts; what there is to learn is learned from the training labels."
        labels = [func(item) for item in split.train.items]
        if None in labels:
            raise ValueError(f'label: the item {split.train.items[labels.index(None)]} has none')
        y_tfm.fit(labels)
        return cls(*(ItemDataset(part, _targets(part, func, y_tfm), [], y_tfm)
                     for part in (split.train, split.valid)))

    @property
    def vocab(self):
        "The labels in the order of their numbers."
        return self.train.y_tfm.vocab

    def transform(self, *tfms):
        """Add steps for the inputs, in order; each is fitted on the training part. -> LabelledData

        tfms: `Transform`s or plain functions. Raises TypeError for anything else, ValueError for a step for
        single items after one for batches.
        """
        train, valid = self.train, self.valid
        for tfm in map(_as_transform, tfms):
            train, valid = _with_step(train, valid, tfm)
        return LabelledData(train, valid)

    def to_dls(self, bs=64, **kwargs):
        "The loaders; see `to_dls`."
        return to_dls(self, bs, **kwargs)

    def __repr__(self):
        steps = ' → '.join(type(t).__name__ for t in self.train.tfms) or 'no steps yet'
        return f'train: {len(self.train)} items, valid: {len(self.valid)} items; {steps}'


# %% 08_data_block.ipynb cell 106 #562045a8
class Resize(Transform):
    """Pictures to one size, (h, w) or a number for both; for PIL images.

    method: 'crop' (the largest middle piece of that shape), 'squash' (all, proportions lost), 'pad' (all, black at
    the sides) · resample: how PIL interpolates, such as 'bilinear' or 'nearest'. Raises ValueError for others.
    """
    def __init__(self, size, method='crop', resample='bilinear'):
        if method not in ('crop', 'squash', 'pad'):
            raise ValueError(f"Resize: method must be 'crop', 'squash' or 'pad', not {method!r}")
        self.size = (size, size) if isinstance(size, int) else tuple(size)
        if len(self.size) != 2 or min(self.size) < 1:
            raise ValueError(f'Resize: size must be a number ≥ 1 or two of them (h, w), not {size}')
        self.method, self.resample = method, Image.Resampling[resample.upper()]

    def __call__(self, img):
        if not isinstance(img, Image.Image):
            raise TypeError(f'Resize takes PIL images, not {type(img).__name__}; put it before ToTensor()')
        h, w = self.size
        if img.size == (w, h):
            return img
        if self.method == 'pad':
            return ImageOps.pad(img, (w, h), self.resample)
        return img.resize((w, h), self.resample, self._box(img) if self.method == 'crop' else None)

    def _box(self, img):
        "Left, top, right and bottom of the largest middle piece in the shape of the result."
        h, w = self.size
        scale = min(img.width / w, img.height / h)
        left, top = (img.width - w * scale) / 2, (img.height - h * scale) / 2
        return left, top, left + w * scale, top + h * scale


# %% 08_data_block.ipynb cell 112 #64133b49
class ToTensor(Transform):
    "PIL image, h × w, 8 bits -> float32 tensor (3, h, w) in [0, 1], or (1, h, w) if it is grey"
    def __call__(self, img):
        if not isinstance(img, Image.Image) or img.mode not in ('RGB', 'L'):
            raise TypeError(f'ToTensor takes PIL images in RGB or L, not {getattr(img, "mode", type(img))}')
        x = torch.from_numpy(np.array(img))  # (h, w) or (h, w, 3)
        x = x[None] if x.dim() == 2 else x.permute(2, 0, 1)
        return x.contiguous().float().div_(255)


# %% 08_data_block.ipynb cell 116 #98e4c865
class _Channels(Transform):
    "Subtract a mean and divide by a std, one for each channel of a batch."
    batched = True

    def _keep(self, mean, std):
        if len(mean) != len(std) or not (std > 0).all():
            raise ValueError(f'NormalizeChannels: std must be positive, one for each mean, not {std.tolist()}')
        self.mean, self.std = mean.float().view(-1, 1, 1), std.float().view(-1, 1, 1)

    def _stats(self, x):
        if self.mean is None:
            raise ValueError('NormalizeChannels has no mean yet: fit it on training pictures, or give it one')
        if x.dim() != 4 or x.shape[1] != len(self.mean) or not x.is_floating_point():
            raise ValueError(f'NormalizeChannels takes float batches (bs, {len(self.mean)}, h, w), not '
                             f'{x.dtype} {tuple(x.shape)}')
        return self.mean.to(x), self.std.to(x)

    def __call__(self, x):
        mean, std = self._stats(x)
        return (x - mean).div_(std)

    def decode(self, x):
        "Back to the values before."
        mean, std = self._stats(x)
        return x * std + mean


# %% 08_data_block.ipynb cell 118 #9a040097
def _mean_and_std(xs, n):
    "Of each channel, over all pixels of at most n pictures (c, h, w), evenly spaced. -> (c,), (c,)"
    total, squares, count = 0., 0., 0
    for i in range(0, len(xs), -(-len(xs) // n)):
        x = xs[i].double().flatten(1)  # (c, h·w)
        total, squares, count = total + x.sum(1), squares + (x * x).sum(1), count + x.shape[1]
    mean = total / count
    return mean, (squares / count - mean ** 2).clamp(min=0).sqrt()


# %% 08_data_block.ipynb cell 120 #1ccccb49
class NormalizeChannels(_Channels):
    """Each channel to mean 0 and sd 1: (x − mean)/std, for batches (bs, c, h, w).

    mean, std: one number for each channel (default: from at most `n` training pictures, evenly spaced). Raises
    ValueError for one without the other, a std that is not positive, or another number of channels.
    """
    def __init__(self, mean=None, std=None, n=1024):
        if (mean is None) != (std is None):
            raise ValueError('NormalizeChannels: give both mean and std, or neither')
        self.given, self.n, self.mean = mean is not None, n, None
        if self.given:
            self._keep(torch.as_tensor(mean), torch.as_tensor(std))

    def fit(self, xs):
        "Mean and sd of each channel over all pixels of the training pictures xs."
        if self.given:
            return
        if self.mean is not None:
            raise ValueError('NormalizeChannels was fitted already; make a new one for other data')
        self._keep(*_mean_and_std(xs, self.n))


# %% 08_data_block.ipynb cell 128 #3ccb9519
class _Gathered(torch.utils.data.Dataset):
    "A dataset whose `[idx]` is a whole batch, for torch's loader with workers."
    def __init__(self, ds):
        self.ds = ds

    def __len__(self):
        return len(self.ds)

    def __getitem__(self, idx):
        return self.ds.gather(idx)


class _Lazily:
    "Batches of indices, drawn only when the first is asked for: torch's loader calls `iter` twice, and uses one."
    def __init__(self, batches):
        self.batches = batches

    def __len__(self):
        return len(self.batches)

    def __iter__(self):
        yield from self.batches


# %% 08_data_block.ipynb cell 130 #b4ea5c2c
def _with_workers(ds, bs, workers, shuffle=False, drop_last=False, generator=None):
    "torch's loader with our order and our batches."
    sampler = _Lazily(BatchSampler(Sampler(ds, shuffle, generator), bs, drop_last))
    return torch.utils.data.DataLoader(_Gathered(ds), batch_size=None, sampler=sampler, num_workers=workers,
                                       persistent_workers=True)


# %% 08_data_block.ipynb cell 132 #3c0e792b
def to_dls(data, bs=64, valid_bs=None, workers=0, drop_last=False, generator=None):
    """Loaders for a pair of datasets. -> DataLoaders, training shuffled, validation in order

    data: `LabelledData`, or anything with datasets `train` and `valid` that can `gather` · bs: batch size;
    valid_bs: that of validation (default: twice bs) · workers: processes that prepare batches ahead of time
    (0: none) · drop_last: leave out a last training batch of fewer than bs · generator: for the shuffling.
    """
    valid_bs = 2 * bs if valid_bs is None else valid_bs
    if not workers:
        return DataLoaders(DataLoader(data.train, bs, True, drop_last, generator=generator),
                           DataLoader(data.valid, valid_bs))
    return DataLoaders(_with_workers(data.train, bs, workers, True, drop_last, generator),
                       _with_workers(data.valid, valid_bs, workers))


# %% 08_data_block.ipynb cell 152 #6c51eb74
def _macs(module, inp, out):
    "Multiply-accumulates of one call of a layer; 0 for layers without products to sum."
    if isinstance(module, nn.Linear):
        return out.numel() * module.in_features
    if isinstance(module, (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)):
        return inp[0].numel() * module.weight[0].numel()
    if isinstance(module, nn.modules.conv._ConvNd):
        return out.numel() * module.weight[0].numel()
    return 0


def _shape(out):
    "The shape of an output, in words; for a tuple or dict its type."
    return ' × '.join(map(str, out.shape)) if isinstance(out, torch.Tensor) else type(out).__name__


# %% 08_data_block.ipynb cell 154 #3669fc1b
class Summary(Table):
    "What `model_summary` found; shown as a table. `params`, `trainable`, `macs` (for one sample): the totals."
    def __init__(self, rows, params, trainable, macs):
        self.params, self.trainable, self.macs = params, trainable, macs
        text = [(name, kind, shape, f'{p:,}', f'{m:,.0f}') for name, kind, shape, p, m in rows]
        total = 'all', f'{trainable:,} trainable', '', f'{params:,}', f'{macs:,.0f}'
        super().__init__(['layer', 'type', 'output', 'parameters', 'MACs'], [*text, total])


# %% 08_data_block.ipynb cell 156 #6bbfc672
def _layers(model):
    "Name of each module that has no parts, or parameters of its own."
    return {m: name or type(m).__name__ for name, m in model.named_modules()
            if not list(m.children()) or list(m.parameters(recurse=False))}


# %% 08_data_block.ipynb cell 158 #52c4ac3b
def model_summary(model, xb):
    """The layers in the order they are called, with output shapes, parameters and MACs. -> Summary

    xb: a batch, or a tuple of inputs; the first axis is the batch. The model runs once on it, in eval mode
    without gradients, and is left as it was. Counted are linear layers and convolutions; a layer that is
    called twice has two rows, its parameters in the first. Parameters of no called layer get a row of their own.
    """
    inputs = xb if isinstance(xb, (tuple, list)) else (xb,)
    names, rows, seen = _layers(model), [], set()
    modes = {m: m.training for m in model.modules()}

    def note(module, inp, out):
        new = [p for p in module.parameters(recurse=False) if p not in seen]
        seen.update(new)
        rows.append((names[module], type(module).__name__, _shape(out), sum(p.numel() for p in new),
                     _macs(module, inp, out) / len(inputs[0])))
    try:
        model.eval()
        with torch.no_grad(), Hooks(names, note):
            model(*inputs)
    finally:
        for m, mode in modes.items():
            m.training = mode
    params = list(model.parameters())
    if rest := [p for p in params if p not in seen]:
        rows.append(('not called', '', '', sum(p.numel() for p in rest), 0))
    return Summary(rows, sum(p.numel() for p in params),
                   sum(p.numel() for p in params if p.requires_grad), sum(row[-1] for row in rows))


# cell hashes: f77b256d:0137056e af6406fc:9c271e50 33a8d88a:4d065ed5 814abdb7:a7815418
#   27056fa6:8e531697 76aefae2:eafed852 d902798e:2b9081c6 f1472480:1d98e444 8240c919:2b29db29
#   e6ddd9d0:12fa9f2f c3939bf4:a7ac2805 d64f949c:71459237 65475c08:f14dbec9 ee633dd3:b7b1abb8
#   06e8c842:f66a987d b4e0486f:0ddac3fd 2a95dd44:2ecfc3ea 5eeefe4b:a3e0f93a bf3a847b:0167be34
#   c2488770:792b48bc f8c8642e:a962b4b8 6f33c788:7fd4534c f88e38be:c19f8281 f47db426:c3364a03
#   4c72ddfa:af47a0e4 b3919ddc:1c0d26e5 bf5b7024:c5d30684 de12fffc:474e7078 c0c2eec4:338110cb
#   239abafe:72b3aa34 a7981eda:9bc37c80 f07cf323:74ef8f27 70c653a1:72d5c065 fa73273e:fae90e43
#   3ddf7414:24a0068c 562045a8:7ae63d6c 64133b49:f54c658b 98e4c865:640e7678 9a040097:62ffb9b8
#   1ccccb49:3223285a 3ccb9519:3a41b252 b4ea5c2c:89d188b7 3c0e792b:38f287f9 6c51eb74:c32ef0b9
#   3669fc1b:0cf74623 6bbfc672:f24f9125 52c4ac3b:ce2a4a3e
