"""Augmentation: more pictures from the ones you have

Exported from nbs/10_augmentation.ipynb: change the notebook and export it again, or change this
file and bring the change back with `python notebook2script.py --update`.
"""
# notebook2script 1 sha256:56102a0ec5cd522b head:e2bfee3e
__all__ = ['RandomTransform', 'Flip', 'Dihedral', 'CenterCrop', 'random_box', 'RandomResizedCrop',
           'translation', 'rotation', 'zoom', 'shear', 'reflection', 'sampling_grid', 'warp',
           'homography', 'Perspective', 'BatchAffine', 'BatchAugment', 'RandomErasing',
           'TRIVIAL_OPS', 'TrivialAugment', 'TicketSampler', 'SeededDataset', 'seeded_dls', 'tta']


# %% 10_augmentation.ipynb cell 4 #12182c7c
import math
import random
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageEnhance, ImageOps

from exp.nb_03 import BatchSampler, DataLoader, Sampler, collate
from exp.nb_04 import Callback, DataLoaders
from exp.nb_08 import ItemDataset, Transform, _Gathered, _Lazily


# %% 10_augmentation.ipynb cell 14 #fc68eeea
class RandomTransform(Transform):
    """A step whose parameters are drawn anew at each call; for training only.

    A subclass has `draw(x, rng)` -> parameters, and `apply(x, params)`, a function of nothing else.
    Steps for items draw from a `random.Random` (default: Python's own generator), those for batches
    (`batched = True`) from a CPU `torch.Generator` (default: torch's own).
    """
    train_only = True

    def draw(self, x, rng):
        "The parameters for x, drawn from rng. Here: none."

    def apply(self, x, params):
        "Change x as the parameters say. Here: not at all."
        return x

    def __call__(self, x, rng=None):
        if rng is None and not self.batched:
            rng = random
        return self.apply(x, self.draw(x, rng))


# %% 10_augmentation.ipynb cell 16 #49206984
def _check_share(name, p):
    "A chance must lie between 0 and 1."
    if not 0 <= p <= 1:
        raise ValueError(f'{name} is a chance or share from 0 to 1, not {p}')
    return p


def _check_pil(who, img):
    "Steps for items take PIL images."
    if not isinstance(img, Image.Image):
        raise TypeError(f'{type(who).__name__} takes PIL images, not {type(img).__name__}; '
                        'put it before ToTensor()')
    return img


# %% 10_augmentation.ipynb cell 18 #7dcd36f2
class Flip(RandomTransform):
    """Exchange left and right with chance p; for PIL images.

    vertical: exchange top and bottom instead. Raises ValueError for a p that is no chance.
    """
    def __init__(self, p=.5, vertical=False):
        self.p = _check_share('Flip: p', p)
        self.way = Image.Transpose.FLIP_TOP_BOTTOM if vertical else Image.Transpose.FLIP_LEFT_RIGHT

    def draw(self, img, rng):
        "True: flip."
        return rng.random() < self.p

    def apply(self, img, flip):
        "Flip, or not. -> PIL image"
        return _check_pil(self, img).transpose(self.way) if flip else img


# %% 10_augmentation.ipynb cell 24 #2228f468
class Dihedral(RandomTransform):
    """One of the eight ways to lay a square tile, with equal chances; for PIL images, best square ones.

    The draw is k from 0 to 7: 0 leaves the picture, else it is PIL's `Transpose(k − 1)`, as in
    fastai.
    """
    def draw(self, img, rng):
        "Which of the eight."
        return rng.randrange(8)

    def apply(self, img, k):
        "Lay it in the way k. -> PIL image"
        return _check_pil(self, img).transpose(Image.Transpose(k - 1)) if k else img


# %% 10_augmentation.ipynb cell 32 #7f4243d7
def _as_size(who, size):
    "A number or a pair -> (h, w)"
    h, w = (size, size) if isinstance(size, int) else size
    if h < 1 or w < 1:
        raise ValueError(f'{who}: size must be a number ≥ 1 or two of them (h, w), not {size}')
    return h, w


def _margin(outer, inner):
    "Pixels before the middle `inner` of `outer`; negative where it sticks out."
    return round((outer - inner) / 2) if outer >= inner else -((inner - outer) // 2)


# %% 10_augmentation.ipynb cell 34 #aeb18af5
class CenterCrop(Transform):
    """The middle (h, w) of a PIL image, or size × size for one number; black where it sticks out.

    Raises ValueError for a size below 1.
    """
    def __init__(self, size):
        self.size = _as_size('CenterCrop', size)

    def __call__(self, img):
        h, w = self.size
        left, top = _margin(_check_pil(self, img).width, w), _margin(img.height, h)
        return img.crop((left, top, left + w, top + h))


# %% 10_augmentation.ipynb cell 40 #33d98c32
def random_box(h, w, scale, ratio, rng):
    """A random rectangle in h × w pixels. -> (top, left, height, width)

    scale: bounds of its share of the area, which is even between them (as far as a shape of these
    ratios can have it) · ratio: bounds of width / height, even in the logarithm among those that
    fit · rng: a `random.Random`. There is no rejection: each draw fits. Sides are rounded to whole
    pixels.
    """
    best = min(max(w / h, ratio[0]), ratio[1])  # the allowed shape that fills most of the picture
    most = min(w, h * best) * min(h, w / best) / (h * w)
    area = h * w * rng.uniform(min(scale[0], most), min(scale[1], most))
    low, high = max(ratio[0], area / h**2), min(ratio[1], w**2 / area)
    r = math.exp(rng.uniform(math.log(low), math.log(max(low, high))))
    ch = min(h, max(1, round(math.sqrt(area / r))))
    cw = min(w, max(1, round(math.sqrt(area * r))))
    return rng.randint(0, h - ch), rng.randint(0, w - cw), ch, cw


# %% 10_augmentation.ipynb cell 42 #2908a8a2
def _check_bounds(name, bounds, least=0.):
    "Two numbers in order, above `least`."
    low, high = bounds
    if not least < low <= high:
        raise ValueError(f'{name} must be two numbers in order, above {least:g}, not {bounds}')
    return low, high


# %% 10_augmentation.ipynb cell 52 #6bb34f5d
class RandomResizedCrop(RandomTransform):
    """A random piece of a PIL image, resized to (h, w), or size × size for one number.

    scale: bounds of the piece's share of the area · ratio: bounds of its width / height, see
    `random_box` · resample: how PIL interpolates. In validation it is left out: put `Resize(size)`
    after it, which there does the work and in training finds nothing to do. Szegedy et al. 2014,
    arXiv 1409.4842, section 6.
    """
    def __init__(self, size, scale=(.08, 1.), ratio=(3 / 4, 4 / 3), resample='bilinear'):
        self.size = _as_size('RandomResizedCrop', size)
        self.scale = _check_bounds('RandomResizedCrop: scale', scale)
        if self.scale[1] > 1:
            raise ValueError(f'RandomResizedCrop: no piece is larger than the whole, scale={scale}')
        self.ratio = _check_bounds('RandomResizedCrop: ratio', ratio)
        self.resample = Image.Resampling[resample.upper()]

    def draw(self, img, rng):
        "(top, left, height, width) of the piece."
        return random_box(_check_pil(self, img).height, img.width, self.scale, self.ratio, rng)

    def apply(self, img, box):
        "Cut the piece out and resize it. -> PIL image"
        top, left, h, w = box
        return img.crop((left, top, left + w, top + h)).resize(self.size[::-1], self.resample)


# %% 10_augmentation.ipynb cell 75 #e5073067
def _matrices(*entries):
    "Nine numbers or tensors (n,), row by row -> (3, 3) or (n, 3, 3), float64"
    shapes = [e.shape for e in entries if isinstance(e, torch.Tensor)]
    M = torch.empty(*torch.broadcast_shapes(*shapes), 9, dtype=torch.float64)
    for k, e in enumerate(entries):
        M[..., k] = e
    return M.unflatten(-1, (3, 3))


def translation(dx, dy):
    "Move by dx pixels to the right and dy down. -> (…, 3, 3), float64"
    return _matrices(1, 0, dx, 0, 1, dy, 0, 0, 1)


def rotation(degrees):
    "Turn clockwise about the middle. -> (…, 3, 3), float64"
    t = torch.as_tensor(degrees, dtype=torch.float64).deg2rad()
    return _matrices(t.cos(), -t.sin(), 0, t.sin(), t.cos(), 0, 0, 0, 1)


def zoom(factor):
    "Enlarge about the middle by a factor; below 1 shrink. -> (…, 3, 3), float64"
    return _matrices(factor, 0, 0, 0, factor, 0, 0, 0, 1)


# %% 10_augmentation.ipynb cell 77 #448973b3
def shear(degrees):
    "Slant: the top goes right, by the tangent of the angle for each pixel of height. -> (…, 3, 3), float64"
    t = torch.as_tensor(degrees, dtype=torch.float64).deg2rad()
    return _matrices(1, -t.tan(), 0, 0, 1, 0, 0, 0, 1)


def reflection(on=True):
    "Mirror left and right where `on` (a bool, or a tensor of them). -> (…, 3, 3), float64"
    return _matrices(1 - 2 * torch.as_tensor(on, dtype=torch.float64), 0, 0, 0, 1, 0, 0, 0, 1)


# %% 10_augmentation.ipynb cell 87 #2fb46264
def _centres(n, like):
    "Centres of n pixels, from the middle of the picture."
    return torch.arange(n, dtype=like.dtype, device=like.device) + (.5 - n / 2)


def sampling_grid(M, in_size, out_size=None, dtype=torch.float32, device=None):
    """Where each pixel of the result is read. -> (n, h, w, 2), for `grid_sample(…, align_corners=False)`

    M: (n, 3, 3), maps of the source onto the result, in pixels from their middles, x right, y down
    · in_size, out_size: (h, w) of the source and of the result (default: the same). Raises
    ValueError for a map that flattens the picture, so that it cannot be undone.
    """
    (h_in, w_in), (h, w) = in_size, out_size or in_size
    M = torch.as_tensor(M, dtype=torch.float64, device='cpu')
    if not (M.det().abs() > 1e-9).all():
        raise ValueError('sampling_grid: a map has determinant 0 (a zoom by 0?) and cannot be undone')
    theta = torch.tensor([2 / w_in, 2 / h_in, 1], dtype=torch.float64)[:, None] * torch.linalg.inv(M)
    flat = bool((theta[:, 2, :2] == 0).all())
    theta = theta.to(device, dtype)[..., None, None]  # (n, 3, 3, 1, 1)
    x, y = _centres(w, theta), _centres(h, theta)[:, None]

    def row(k):
        return theta[:, k, 0] * x + (theta[:, k, 1] * y + theta[:, k, 2])  # (n, h, w)
    grid = torch.stack([row(0), row(1)], 3)
    return grid if flat else grid / row(2)[..., None]


# %% 10_augmentation.ipynb cell 89 #ad5f0fff
def warp(x, M, size=None, mode='bilinear', padding='zeros'):
    """A batch of pictures under maps, resampled once. (n, c, h, w) -> (n, c, *size)

    M: (n, 3, 3) or (3, 3), in pixels from the middle, see `sampling_grid` · size: (h, w) of the
    result (default: the same) · mode: 'bilinear', 'nearest' or 'bicubic' · padding: what is
    outside, 'zeros', 'border' or 'reflection'. Gradients flow to x. Raises TypeError for whole
    numbers, ValueError for other shapes.
    """
    if not x.is_floating_point():
        raise TypeError(f'warp: pictures must be of floats to be read between the pixels, not {x.dtype}')
    if x.dim() != 4 or M.shape[-2:] != (3, 3) or M.dim() == 3 and len(M) not in (1, len(x)):
        raise ValueError(f'warp: pictures (n, c, h, w) and maps (n, 3, 3) are needed, not '
                         f'{tuple(x.shape)} and {tuple(M.shape)}')
    M = M.expand(len(x), 3, 3)
    grid = sampling_grid(M, x.shape[-2:], size, x.dtype, x.device)
    return F.grid_sample(x, grid, mode, padding, align_corners=False)


# %% 10_augmentation.ipynb cell 109 #219ba557
def homography(start, end):
    """The perspective map that takes four points to four others. -> (…, 3, 3), float64, with 1 in the corner

    start, end: (…, 4, 2), points (x, y). Raises ValueError if they are not, or if three of them lie
    on a line.
    """
    start, end = (torch.as_tensor(p, dtype=torch.float64) for p in (start, end))
    if start.shape[-2:] != (4, 2) or end.shape[-2:] != (4, 2):
        raise ValueError('homography: four points (x, y) are needed, not '
                         f'{tuple(start.shape)} and {tuple(end.shape)}')
    start, end = torch.broadcast_tensors(start, end)
    place = torch.cat([start, torch.ones_like(start[..., :1])], -1)  # (…, 4, 3): x, y, 1
    none = torch.zeros_like(place)
    across = torch.cat([place, none, -start * end[..., :1]], -1)  # the equations for x'
    along = torch.cat([none, place, -start * end[..., 1:]], -1)  # and for y'
    try:
        found = torch.linalg.solve(torch.cat([across, along], -2), end.mT.flatten(-2))
    except torch.linalg.LinAlgError as e:
        raise ValueError('homography: three of the points lie on a line, so there is no such map') from e
    return torch.cat([found, torch.ones_like(found[..., :1])], -1).unflatten(-1, (3, 3))


# %% 10_augmentation.ipynb cell 115 #ffb975be
def _corners(h, w):
    "The corners of a picture, clockwise from top left, in pixels from there. -> (4, 2)"
    return torch.tensor([[0, 0], [w, 0], [w, h], [0, h]], dtype=torch.float64)


# %% 10_augmentation.ipynb cell 117 #dfbfe689
class Perspective(RandomTransform):
    """Look at a PIL image from aside, with chance p: each corner goes inwards by a random amount.

    distortion: largest such amount, as a share of half the side, from 0 to 1 · resample: how PIL
    interpolates. The draw is where the corners go (4, 2), clockwise from top left, or None. What
    comes in is black.
    """
    def __init__(self, distortion=.3, p=.5, resample='bilinear'):
        self.distortion = _check_share('Perspective: distortion', distortion)
        self.p, self.resample = _check_share('Perspective: p', p), Image.Resampling[resample.upper()]

    def draw(self, img, rng):
        "Where the corners go, or None."
        if rng.random() >= self.p:
            return None
        h, w = _check_pil(self, img).height, img.width
        part = torch.tensor([[rng.random(), rng.random()] for _ in range(4)], dtype=torch.float64)
        inwards = torch.tensor([[1, 1], [-1, 1], [-1, -1], [1, -1]]) * torch.tensor([w / 2, h / 2])
        return _corners(h, w) + self.distortion * part * inwards

    def apply(self, img, corners):
        "Carry the corners there. -> PIL image of the same size"
        if corners is None:
            return img
        back = homography(corners, _corners(img.height, img.width)).flatten()[:8].tolist()
        return img.transform(img.size, Image.Transform.PERSPECTIVE, back, self.resample)


# %% 10_augmentation.ipynb cell 121 #cd87c9a0
class _Strengths(RandomTransform):
    batched = True

    def __init__(self, flip=0., zoom=1., shear=0., rotate=0., translate=0., perspective=0., p=1., size=None,
                 mode='bilinear', padding='reflection'):
        if zoom < 1 or not 0 <= shear < 90:
            raise ValueError(f'BatchAffine: zoom must be a factor ≥ 1 and shear an angle from 0 to below 90, '
                             f'not {zoom} and {shear}')
        self.flip, self.p = _check_share('BatchAffine: flip', flip), _check_share('BatchAffine: p', p)
        self.zoom, self.shear, self.rotate, self.translate = zoom, shear, rotate, translate
        self.perspective = _check_share('BatchAffine: perspective', perspective)
        self.size = None if size is None else _as_size('BatchAffine', size)
        self.mode, self.padding = mode, padding


def _tilts(u, most, h, w):
    "Perspectives that move each corner in or out. u: (n, 4, 2) in [−1, 1] -> (n, 3, 3)"
    half = torch.tensor([w / 2, h / 2], dtype=u.dtype)
    corners = _corners(h, w) - half
    return homography(corners, corners + u * most / 2 * half)


# %% 10_augmentation.ipynb cell 123 #52641a14
class BatchAffine(_Strengths):
    """Mirror, tilt, zoom, slant, turn and move each picture of a batch at random, with one resample.

    flip: chance of a mirror image · zoom: by a factor between 1/zoom and zoom, even in the
    logarithm · shear, rotate: up to so many degrees either way · translate: up to that share of the
    side · perspective: like `distortion` of `Perspective`, in or out · p: chance that a picture is
    changed at all, apart from flip · size, mode, padding: see `warp`. The draw is (n, 3, 3), maps
    in pixels from the middle, so pictures need not be square. Raises ValueError for strengths that
    cannot be.
    """
    def draw(self, x, rng=None):
        "A map for each picture. -> (n, 3, 3)"
        h, w = x.shape[-2:]
        u = torch.rand(15, len(x), generator=rng, dtype=torch.float64)
        right, down, turn, slant, size = (2 * u[:5] - 1).unbind()
        M = (translation(right * self.translate * w, down * self.translate * h) @ rotation(turn * self.rotate)
             @ shear(slant * self.shear) @ zoom((size * math.log(self.zoom)).exp()))
        if self.perspective:
            M = M @ _tilts((2 * u[5:13] - 1).T.unflatten(1, (4, 2)), self.perspective, h, w)
        M = torch.where((u[13] < self.p)[:, None, None], M, torch.eye(3, dtype=M.dtype))
        return M @ reflection(u[14] < self.flip)

    def apply(self, x, M):
        "Warp. (n, c, h, w) -> (n, c, *size)"
        return warp(x, M, self.size, self.mode, self.padding)


# %% 10_augmentation.ipynb cell 141 #cef13299
def _do(tfm, x, rng):
    "A step, with a generator if it is one that draws."
    return tfm(x, rng) if isinstance(tfm, RandomTransform) else tfm(x)


def _check_batched(who, tfm):
    "A function, or a step for batches."
    if not callable(tfm) or isinstance(tfm, type) or isinstance(tfm, Transform) and not tfm.batched:
        raise TypeError(f'{who} takes steps for batches, such as BatchAffine(…), or functions, not {tfm!r}')
    return tfm


class BatchAugment(Callback):
    """Changes each training batch at random, on the device where it is; validation batches are left alone.

    tfms: steps for batches, such as `BatchAffine(…)`, or functions, called in order · generator: a
    CPU `torch.Generator` to draw from (default: torch's own). Raises TypeError for a step for
    single items.
    """
    order = -80  # after DeviceCallback and BatchTransform

    def __init__(self, *tfms, generator=None):
        self.tfms, self.generator = [_check_batched('BatchAugment', tfm) for tfm in tfms], generator

    def before_batch(self, learn):
        "Change `learn.xb`, in training only."
        if learn.training:
            for tfm in self.tfms:
                learn.xb = _do(tfm, learn.xb, self.generator)


# %% 10_augmentation.ipynb cell 145 #040db6c1
def _patch(fill, shape, rng):
    "Noise or one number, of a shape."
    return torch.randn(shape, generator=rng) if fill == 'noise' else torch.full(shape, float(fill))


class _Holes(RandomTransform):
    batched = True

    def __init__(self, p=.5, scale=(.02, .33), ratio=(.3, 3.3), fill='noise'):
        self.p, self.fill = _check_share('RandomErasing: p', p), fill
        self.scale = _check_bounds('RandomErasing: scale', scale)
        self.ratio = _check_bounds('RandomErasing: ratio', ratio)
        if scale[1] > 1 or isinstance(fill, str) and fill != 'noise':
            raise ValueError("RandomErasing: scale is at most 1, and fill 'noise' or a number; not "
                             f'{scale} and {fill!r}')


# %% 10_augmentation.ipynb cell 147 #117832f1
class RandomErasing(_Holes):
    """Covers a rectangle of each picture of a batch (n, c, h, w), with chance p, by noise or a number.

    scale: bounds of the rectangle's share of the area · ratio: bounds of its width / height, see
    `random_box` · fill: 'noise' (normal, mean 0, sd 1: for normalised pictures) or a number. The
    draw is a list of (place in the batch, top, left, patch (c, h, w)). Zhong et al. 2017, arXiv
    1708.04896.
    """
    def draw(self, x, rng=None):
        "What to put where."
        boxes = random.Random(int(torch.randint(2**62, (1,), generator=rng)))
        found = [(i, *random_box(*x.shape[-2:], self.scale, self.ratio, boxes))
                 for i in range(len(x)) if boxes.random() < self.p]
        return [(i, top, left, _patch(self.fill, (x.shape[1], h, w), rng)) for i, top, left, h, w in found]

    def apply(self, x, holes):
        "A copy with the patches laid on it."
        x = x.clone()
        for i, top, left, patch in holes:
            x[i, :, top:top + patch.shape[1], left:left + patch.shape[2]] = patch.to(x)
        return x


# %% 10_augmentation.ipynb cell 153 #f267aae1
def _reads(*numbers):
    "An operation that reads the pixel (x, y) at (a·x + b·y + c, d·x + e·y + f); 'm' is the magnitude."
    def op(img, m, how):
        return img.transform(img.size, Image.Transform.AFFINE, [m if a == 'm' else a for a in numbers], how)
    return op


def _whole(op):
    "The same with the magnitude cut to a whole number, and its sign changed."
    return lambda img, m, how: op(img, -int(m), how)


TRIVIAL_OPS = {  # name: (operation, largest magnitude, has it a sign?)
    'identity': (lambda img, m, how: img, 0., False),
    'shear_x': (_reads(1, 'm', 0, 0, 1, 0), .99, True),
    'shear_y': (_reads(1, 0, 0, 'm', 1, 0), .99, True),
    'translate_x': (_whole(_reads(1, 0, 'm', 0, 1, 0)), 32., True),
    'translate_y': (_whole(_reads(1, 0, 0, 0, 1, 'm')), 32., True),
    'rotate': (lambda img, m, how: img.rotate(m, how), 135., True),
}


# %% 10_augmentation.ipynb cell 155 #55e64058
def _enhanced(kind):
    "An operation of PIL's ImageEnhance, with the factor 1 + m."
    return lambda img, m, how: kind(img).enhance(1 + m)


TRIVIAL_OPS |= {
    'brightness': (_enhanced(ImageEnhance.Brightness), .99, True),
    'color': (_enhanced(ImageEnhance.Color), .99, True),
    'contrast': (_enhanced(ImageEnhance.Contrast), .99, True),
    'sharpness': (_enhanced(ImageEnhance.Sharpness), .99, True),
    'posterize': (lambda img, m, how: ImageOps.posterize(img, round(8 - m)), 6., False),
    'solarize': (lambda img, m, how: ImageOps.solarize(img, round(255 * (1 - m), 3)), 1., False),
    'autocontrast': (lambda img, m, how: ImageOps.autocontrast(img), 0., False),
    'equalize': (lambda img, m, how: ImageOps.equalize(img), 0., False),
}


# %% 10_augmentation.ipynb cell 157 #162aae7c
class TrivialAugment(RandomTransform):
    """One random operation at one random strength, for PIL images: a whole augmentation policy.

    ops: names from `TRIVIAL_OPS` (default: all 14) · limits: largest magnitudes for some of them,
    such as `{'rotate': 15}` · resample: how PIL interpolates. The draw is (name, magnitude), of 31
    strengths. Müller and Hutter 2021, arXiv 2103.10158 (the "wide" space). Raises ValueError for an
    unknown operation.
    """
    def __init__(self, ops=tuple(TRIVIAL_OPS), limits=None, resample='nearest'):
        self.ops, self.limits = tuple(ops), dict(limits or {})
        if not self.ops or (unknown := {*self.ops, *self.limits} - set(TRIVIAL_OPS)):
            raise ValueError(f'TrivialAugment: ops and limits are named {", ".join(TRIVIAL_OPS)}; '
                             f'not {", ".join(map(str, unknown)) if self.ops else "an empty list"}')
        self.resample = Image.Resampling[resample.upper()]

    def draw(self, img, rng):
        "(name, magnitude)"
        name = rng.choice(self.ops)
        _, largest, signed = TRIVIAL_OPS[name]
        m = self.limits.get(name, largest) * rng.randrange(31) / 30
        return name, -m if signed and rng.random() < .5 else m

    def apply(self, img, params):
        "Do that one thing. -> PIL image of the same size"
        name, m = params
        return TRIVIAL_OPS[name][0](_check_pil(self, img), m, self.resample)


# %% 10_augmentation.ipynb cell 171 #24c15162
class TicketSampler(Sampler):
    """The order of a `Sampler`, as tickets: place + n · seed, a new random seed for each sample of each pass.

    source, shuffle, generator: see `Sampler`; the seeds come from the same generator, so that its
    state is all that must be kept to go on with the same draws.
    """
    def indices(self):
        "One pass: a LongTensor of tickets, shape (n,)."
        places = super().indices()
        return places + self.n * torch.randint(1, 2**40, (self.n,), generator=self.generator)


# %% 10_augmentation.ipynb cell 173 #fee951d7
class SeededDataset(ItemDataset):
    """An `ItemDataset` that is asked with tickets: `t % n` is the sample, t itself seeds its random steps.

    The same ticket gives the same picture in any process, at any time. Steps for batches are seeded
    by the tickets of their batch.
    """
    def _open(self, ticket):
        "One item through the steps for single items, its draws seeded by the ticket."
        do = partial(_do, rng=random.Random(ticket))
        return super()._open(ticket % len(self), do, f' (ticket {ticket})')

    def x(self, idx):
        "The inputs of some tickets -> a batch (bs, …)"
        tickets = idx.tolist() if isinstance(idx, torch.Tensor) else list(idx)
        rng = torch.Generator().manual_seed(sum(tickets) % 2**63)
        return self._stack([self._open(t) for t in tickets], partial(_do, rng=rng))

    def gather(self, idx):
        "A batch (xb, yb) of some tickets."
        return self.x(idx), collate([self.targets[int(t) % len(self)] for t in idx])


# %% 10_augmentation.ipynb cell 175 #e5f11194
def seeded_dls(data, bs=64, valid_bs=None, workers=0, drop_last=False, seed=0):
    """Loaders whose random steps depend on `seed` alone, however many workers there are. -> DataLoaders

    data: `LabelledData` · seed: for the order and for the draws of every sample in every epoch; the
    global random state is left alone · the rest: see `exp.nb_08.to_dls`. Steps of your own draw
    from the generator that they are passed if they are `RandomTransform`s.
    """
    ds = SeededDataset(data.train.items, data.train.targets, data.train.tfms, data.train.y_tfm)
    sampler = TicketSampler(ds, shuffle=True, generator=torch.Generator().manual_seed(seed))
    if workers:
        order = _Lazily(BatchSampler(sampler, bs, drop_last))
        train = torch.utils.data.DataLoader(_Gathered(ds), batch_size=None, sampler=order, num_workers=workers,
                                            persistent_workers=True)
    else:
        train = DataLoader(ds, bs, sampler=sampler, drop_last=drop_last)
    return DataLoaders(train, DataLoader(data.valid, 2 * bs if valid_bs is None else valid_bs))


# %% 10_augmentation.ipynb cell 183 #8b85dea1
class _Views:
    "A loader with its inputs changed."
    def __init__(self, dl, tfms, rng):
        self.dl, self.tfms, self.rng = dl, tfms, rng

    def __len__(self):
        return len(self.dl)

    def __iter__(self):
        for xb, yb in self.dl:
            for tfm in self.tfms:
                xb = _do(tfm, xb, self.rng)
            yield xb, yb


# %% 10_augmentation.ipynb cell 185 #c8703b0b
def tta(learn, tfms, n=4, dl=None, plain=1., seed=0):
    """Test-time augmentation: mean probabilities over n random views and the plain picture. -> (probs, targs)

    learn: a `FullLearner`, or anything with its `get_preds` · tfms: a step for batches, or a list
    of them · n: random views · dl: default the validation loader; it must not shuffle · plain:
    weight of the plain picture, where a view has 1 · seed: for the draws; global random state is
    left alone. Costs n + 1 passes. Raises TypeError for steps for single items, ValueError for n
    below 0 or no weight at all.
    """
    tfms = [_check_batched('tta', t) for t in (tfms if isinstance(tfms, (list, tuple)) else [tfms])]
    if n < 0 or plain < 0 or n + plain == 0:
        raise ValueError(f'tta: n and plain must be ≥ 0, and not both 0, not {n} and {plain}')
    dl, rng = learn.dls.valid if dl is None else dl, torch.Generator().manual_seed(seed)
    probs, targs = learn.get_preds(dl)
    total = plain * probs
    for _ in range(n):
        total = total + learn.get_preds(_Views(dl, tfms, rng))[0]
    return total / (n + plain), targs


# cell hashes: 12182c7c:50bcd100 fc68eeea:7ef3e076 49206984:f4289319 7dcd36f2:c7d9c800
#   2228f468:677c4e6a 7f4243d7:0f3d4190 aeb18af5:e8b140f2 33d98c32:a4714d4d 2908a8a2:97259c74
#   6bb34f5d:9538af76 e5073067:e5f79cca 448973b3:f0210abc 2fb46264:98c4ee48 ad5f0fff:c3443f14
#   219ba557:e82496b3 ffb975be:a52b23b5 dfbfe689:6186abc1 cd87c9a0:fceb960e 52641a14:95b10ed1
#   cef13299:7961c69d 040db6c1:f42d13de 117832f1:62490582 f267aae1:6a8597ab 55e64058:c655ad07
#   162aae7c:2ab3289f 24c15162:b4c58b28 fee951d7:942d3969 e5f11194:f8338bc5 8b85dea1:2f6a4bf8
#   c8703b0b:d49d6472
