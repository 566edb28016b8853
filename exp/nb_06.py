"""Convolutions, devices, hooks, initialisation

Exported from nbs/06_cuda_cnn_hooks_init.ipynb: change the notebook and export it again, or change this
file and bring the change back with `python notebook2script.py --update`.
"""
# notebook2script 1 sha256:556ab91a2ee25861 head:f011e3d3
__all__ = ['conv_size', 'applied', 'im2col', 'col2im', 'conv2d', 'CONV_C', 'c_conv2d', 'to_image',
           'BatchTransform', 'best_device', 'to_device', 'DeviceCallback', 'conv_block',
           'simple_cnn', 'Hook', 'Hooks', 'ActivationStats', 'init_cnn', 'GeneralReLU']


# %% 06_cuda_cnn_hooks_init.ipynb cell 3 #6a92f9be
import ctypes
import functools
import itertools
import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from exp.nb_01c import compile_c
from exp.nb_02b import kaiming_normal_
from exp.nb_04 import Callback


# %% 06_cuda_cnn_hooks_init.ipynb cell 12 #22093755
def conv_size(n, ks, stride=1, padding=0, dilation=1):
    """How many places a window has along an axis -> int; below 1: none.

    ⌊(n + 2·padding − dilation·(ks − 1) − 1) / stride⌋ + 1 with n, the pixels along the axis, and
    ks, those of the kernel; the rest as in `conv2d`.
    """
    return (n + 2 * padding - dilation * (ks - 1) - 1) // stride + 1


# %% 06_cuda_cnn_hooks_init.ipynb cell 24 #656824ca
def _pair(name, value, least):
    "A number or two -> (for the rows, for the columns)"
    pair = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(pair) != 2 or not all(isinstance(v, int) and v >= least for v in pair):
        raise ValueError(f'{name} must be a whole number ≥ {least}, or two of them for rows and '
                         f'columns, not {value!r}')
    return pair


# %% 06_cuda_cnn_hooks_init.ipynb cell 26 #8d8ec1d6
def _geometry(x, ks, stride, padding, dilation):
    "The sizes of a convolution in pairs, checked. -> (ks, stride, padding, dilation, (oh, ow))"
    if x.dim() != 4:
        raise ValueError(f'a batch of pictures is (bs, c, h, w), not {tuple(x.shape)}; '
                         'add an axis for a single one: x[None]')
    ks, stride = _pair('ks', ks, 1), _pair('stride', stride, 1)
    padding, dilation = _pair('padding', padding, 0), _pair('dilation', dilation, 1)
    size = tuple(map(conv_size, x.shape[2:], ks, stride, padding, dilation))
    if min(size) < 1:
        raise ValueError(f'a kernel of {ks} with dilation {dilation} does not fit into pictures of '
                         f'{tuple(x.shape[2:])} with padding {padding}')
    return ks, stride, padding, dilation, size


# %% 06_cuda_cnn_hooks_init.ipynb cell 28 #e62dec54
def _pad(x, padding):
    "x with rows and columns of zeros around each picture."
    (ph, pw), (h, w) = padding, x.shape[2:]
    if ph == pw == 0:
        return x
    wide = x.new_zeros(*x.shape[:2], h + 2 * ph, w + 2 * pw)
    wide[:, :, ph:ph + h, pw:pw + w] = x
    return wide


def _windows(x, ks, stride, dilation, size):
    "A view of every window of x: (bs, c, h, w) -> (bs, c, kh, kw, oh, ow), nothing copied."
    b, c, row, col = x.stride()
    (sh, sw), (dh, dw) = stride, dilation
    strides = b, c, row * dh, col * dw, row * sh, col * sw
    return x.as_strided((*x.shape[:2], *ks, *size), strides, x.storage_offset())


# %% 06_cuda_cnn_hooks_init.ipynb cell 36 #40d1a3cc
def applied(function):
    """Decorator for a `torch.autograd.Function`: the name then stands for what applies it.

    Such a class and its backward class point at each other, a circle in which `%autoreload` would
    lose its way; what applies it does not.
    """
    return function.apply


# %% 06_cuda_cnn_hooks_init.ipynb cell 39 #d05542b0
@applied
class _Lay(Function):
    "im2col, whose gradient is `_Gather`."
    @staticmethod
    def forward(ctx, x, *geometry):
        ks, stride, padding, dilation, size = ctx.geometry = geometry
        ctx.shape = x.shape
        windows = _windows(_pad(x, padding), ks, stride, dilation, size)
        copy = windows.permute(1, 2, 3, 0, 4, 5).clone(memory_format=torch.contiguous_format)
        return copy.permute(3, 0, 1, 2, 4, 5)    # in memory the batch lies inside of the columns

    @staticmethod
    def backward(ctx, grad):
        return _Gather(grad, ctx.shape, *ctx.geometry), *[None] * 5


# %% 06_cuda_cnn_hooks_init.ipynb cell 41 #2ec1b8b7
@applied
class _Gather(Function):
    "col2im, whose gradient is `_Lay`."
    @staticmethod
    def forward(ctx, cols, shape, *geometry):
        (kh, kw), stride, (ph, pw), dilation, size = ctx.geometry = geometry
        bs, c, h, w = shape
        wide = cols.new_zeros(bs, c, h + 2 * ph, w + 2 * pw)
        places = _windows(wide, (kh, kw), stride, dilation, size)
        for i, j in itertools.product(range(kh), range(kw)):
            places[:, :, i, j] += cols[:, :, i, j]
        return wide[:, :, ph:ph + h, pw:pw + w]

    @staticmethod
    def backward(ctx, grad):
        return _Lay(grad, *ctx.geometry), *[None] * 6


# %% 06_cuda_cnn_hooks_init.ipynb cell 43 #d4fb42df
def im2col(x, ks, stride=1, padding=0, dilation=1):
    """Copy each window of a batch of pictures: (bs, c, h, w) -> (bs, c, kh, kw, oh, ow)

    ks: (kh, kw) or one number for both · stride, padding, dilation: as in `conv2d`. Can be
    differentiated any number of times. Raises ValueError where no window fits.
    """
    return _Lay(x, *_geometry(x, ks, stride, padding, dilation))


def col2im(cols, shape, stride=1, padding=0, dilation=1):
    """Add up each window at its place, the transpose of `im2col`: (bs, c, kh, kw, oh, ow) -> shape

    shape: (bs, c, h, w) of the pictures · stride, padding, dilation: as in `conv2d`. Can be
    differentiated any number of times. Raises ValueError if the windows are not those of such
    pictures.
    """
    like = torch.empty(shape, device='meta')
    geometry = _geometry(like, cols.shape[2:4], stride, padding, dilation)
    wanted = *shape[:2], *geometry[0], *geometry[-1]
    if tuple(cols.shape) != wanted:
        raise ValueError(f'col2im: pictures {tuple(shape)} have windows {wanted}, '
                         f'not {tuple(cols.shape)}')
    return _Gather(cols, tuple(shape), *geometry)


# %% 06_cuda_cnn_hooks_init.ipynb cell 47 #9913654b
def _check_conv(x, w, bias, groups):
    "Refuse tensors that do not go together in a convolution."
    if w.dim() != 4:
        raise ValueError('conv2d: the weight must be (nf, ni/groups, kh, kw), '
                         f'not {tuple(w.shape)}')
    if not isinstance(groups, int) or groups < 1 or w.shape[0] % groups:
        raise ValueError(f'conv2d: the {w.shape[0]} filters of the weight cannot be split into '
                         f'groups={groups!r}')
    if x.dim() == 4 and x.shape[1] != groups * w.shape[1]:
        raise ValueError(f'conv2d: x has {x.shape[1]} channels, but the weight {tuple(w.shape)} '
                         f'with groups={groups} takes {groups * w.shape[1]}')
    if bias is not None and bias.shape != w.shape[:1]:
        raise ValueError(f'conv2d: the bias must be ({w.shape[0]},), not {tuple(bias.shape)}')


# %% 06_cuda_cnn_hooks_init.ipynb cell 49 #25d51f89
def conv2d(x, w, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """Convolve (strictly: correlate) pictures with filters: (bs, ni, h, w) -> (bs, nf, oh, ow)

    w: (nf, ni/groups, kh, kw) · bias: (nf,) or None · stride, padding, dilation: a number, or two
    for rows and columns · groups: ni and nf are split into so many parts, convolved each for
    itself. Equal to `torch.nn.functional.conv2d`, gradients included, by im2col and a matrix
    product. Raises ValueError for shapes that do not go together.
    """
    _check_conv(x, w, bias, groups)
    cols = im2col(x, w.shape[2:], stride, padding, dilation)
    bs, nf, size = len(x), len(w), cols.shape[-2:]
    cols = cols.permute(1, 2, 3, 0, 4, 5)                  # (ni, kh, kw, bs, oh, ow)
    cols = cols.reshape(groups, -1, bs * size.numel())     # (groups, ni/groups·kh·kw, bs·oh·ow)
    out = w.reshape(groups, nf // groups, -1) @ cols       # (groups, nf/groups, bs·oh·ow)
    out = out.reshape(nf, bs, *size).transpose(0, 1).contiguous()
    return out if bias is None else out + bias[:, None, None]


# %% 06_cuda_cnn_hooks_init.ipynb cell 55 #08c3282c
CONV_C = r"""
enum {V = 8, P = 6};                                   // filters in a vector, places in a tile
typedef float vec __attribute__((vector_size(4 * V), aligned(4), may_alias));
typedef struct { long bs, groups, c, f, h, w, kh, kw, oh, ow, sh, sw, dh, dw; } sizes;
#define EACH(i, n) _Pragma("GCC unroll 16") for (int i = 0; i < n; i++)

static inline __attribute__((always_inline)) void tile(int nv, const sizes *s, const float *x,
        const float *w, float *out, long first, long filters) {
    long n = s->oh * s->ow, at[P];                     // where the windows of the places begin
    vec sum[P][2] = {0};
    EACH(i, P) {
        long p = first + i < n ? first + i : n - 1;
        at[i] = p / s->ow * s->sh * s->w + p % s->ow * s->sw;
    }
    for (long c = 0; c < s->c; c++, x += s->h * s->w)
        for (long u = 0; u < s->kh; u++)
            for (long v = 0; v < s->kw; v++, w += nv * V) {
                const float *point = x + u * s->dh * s->w + v * s->dw;
                EACH(i, P) EACH(k, nv) sum[i][k] += point[at[i]] * ((const vec *)w)[k];
            }
    for (long i = 0; i < P && first + i < n; i++)
        for (long f = 0; f < filters; f++) out[f * n + first + i] = sum[i][f / V][f % V];
}
"""


# %% 06_cuda_cnn_hooks_init.ipynb cell 57 #47471a6c
CONV_C += r"""
void conv(const sizes *s, const float *x, const float *w, float *out) {
    long n = s->oh * s->ow, nv = s->f > V ? 2 : 1, step = nv * V;
    long size = s->c * s->kh * s->kw * step;
    for (long b = 0; b < s->bs; b++) {
        const float *block = w;
        for (long g = 0; g < s->groups; g++, x += s->c * s->h * s->w)
            for (long f = 0; f < s->f; f += step, block += size) {
                long filters = s->f - f < step ? s->f - f : step;
                for (long p = 0; p < n; p += P)
                    if (nv == 2) tile(2, s, x, block, out + f * n, p, filters);
                    else tile(1, s, x, block, out + f * n, p, filters);
                if (f + step >= s->f) out += s->f * n;
            }
    }
}
"""


# %% 06_cuda_cnn_hooks_init.ipynb cell 59 #2449977b
class _Sizes(ctypes.Structure):
    _fields_ = [(name, ctypes.c_long)
                for name in 'bs groups c f h w kh kw oh ow sh sw dh dw'.split()]


@functools.cache
def _conv_kernel():
    "The function `conv` of `CONV_C`, compiled."
    kernel = compile_c(CONV_C, 'conv').conv
    kernel.argtypes = [ctypes.POINTER(_Sizes)] + [ctypes.c_void_p] * 3
    kernel.restype = None
    return kernel


# %% 06_cuda_cnn_hooks_init.ipynb cell 61 #56ed59a3
def _pack(w, groups):
    "Weights (nf, c, kh, kw) -> (groups, blocks, c, kh, kw, 8 or 16), filled up with zeros."
    w = w.unflatten(0, (groups, -1))
    step = 8 if w.shape[1] <= 8 else 16
    w = F.pad(w, [0] * 7 + [-w.shape[1] % step])
    return w.unflatten(1, (-1, step)).permute(0, 1, 3, 4, 5, 2).contiguous()


def _correlate(x, w, stride=(1, 1), dilation=(1, 1), groups=1):
    "The convolution of x, padded already, by the C kernel."
    (bs, _, *size), (nf, c, *ks) = x.shape, w.shape
    x, packed = x.contiguous(), _pack(w, groups)
    places = list(map(conv_size, size, ks, stride, (0, 0), dilation))
    out = x.new_empty(bs, nf, *places)
    sizes = _Sizes(bs, groups, c, nf // groups, *size, *ks, *places, *stride, *dilation)
    _conv_kernel()(ctypes.byref(sizes), x.data_ptr(), packed.data_ptr(), out.data_ptr())
    return out


# %% 06_cuda_cnn_hooks_init.ipynb cell 63 #17c35e6f
def _input_grad(grad, w, shape, stride, padding, dilation, groups):
    "Gradient of the input: spread `grad` out, convolve with the flipped filters, crop."
    (bs, nf, *places), (h, wide), (ph, pw) = grad.shape, shape[2:], padding
    top, left = ((k - 1) * d for k, d in zip(w.shape[2:], dilation))
    spread = grad.new_zeros(bs, nf, h + 2 * ph + top, wide + 2 * pw + left)
    rows, columns = ((n - 1) * s + 1 for n, s in zip(places, stride))
    spread[:, :, top:top + rows:stride[0], left:left + columns:stride[1]] = grad
    w = w.flip(2, 3).unflatten(0, (groups, -1)).transpose(1, 2)    # (groups, ni/g, nf/g, kh, kw)
    out = _correlate(spread, w.flatten(0, 1), dilation=dilation, groups=groups)
    return out[:, :, ph:ph + h, pw:pw + wide]


# %% 06_cuda_cnn_hooks_init.ipynb cell 65 #5aa5dfc8
def _weight_grad(grad, x, shape, stride, padding, dilation, groups):
    "Gradient of the weight: for each group slide `grad` over the pictures, the batch as channels."
    x, (kh, kw) = _pad(x, padding), shape[2:]
    parts = [_correlate(xg.transpose(0, 1), g.transpose(0, 1), dilation, stride)[:, :, :kh, :kw]
             for xg, g in zip(x.chunk(groups, 1), grad.chunk(groups, 1))]
    return torch.cat([part.transpose(0, 1) for part in parts])    # (nf, ni/groups, kh, kw)


# %% 06_cuda_cnn_hooks_init.ipynb cell 67 #7a72eba8
@applied
class _CConv(Function):
    @staticmethod
    def forward(ctx, x, w, *geometry):
        ctx.save_for_backward(x, w)
        ctx.geometry = stride, padding, dilation, groups = geometry
        return _correlate(_pad(x, padding), w, stride, dilation, groups)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        (x, w), grads = ctx.saved_tensors, [None] * 6
        if ctx.needs_input_grad[0]:
            grads[0] = _input_grad(grad, w, x.shape, *ctx.geometry)
        if ctx.needs_input_grad[1]:
            grads[1] = _weight_grad(grad, x, w.shape, *ctx.geometry)
        return tuple(grads)


# %% 06_cuda_cnn_hooks_init.ipynb cell 69 #008f4c4a
def c_conv2d(x, w, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """`conv2d` by a C kernel that copies no windows, for float32 on the CPU; gradients once.

    Arguments and errors are those of `conv2d`; raises TypeError for other types and devices, and
    NoCompiler where there is no C compiler.
    """
    _check_conv(x, w, bias, groups)
    for t in (x, w):
        if t.dtype != torch.float32 or t.device.type != 'cpu':
            raise TypeError(f'c_conv2d: float32 on the CPU is needed, not {t.dtype} on {t.device}')
    _, *geometry, _ = _geometry(x, w.shape[2:], stride, padding, dilation)
    out = _CConv(x, w, *geometry, groups)
    return out if bias is None else out + bias[:, None, None]


# %% 06_cuda_cnn_hooks_init.ipynb cell 82 #59f0657c
def to_image(x):
    "Rows of pixels as square pictures of one channel: (n, k²) -> (n, 1, k, k). Raises ValueError."
    side = math.isqrt(x.shape[-1])
    if x.dim() != 2 or side**2 != x.shape[-1]:
        raise ValueError(f'to_image: x must be (n, k²), such as (n, 784), not {tuple(x.shape)}')
    return x.view(-1, 1, side, side)


# %% 06_cuda_cnn_hooks_init.ipynb cell 84 #ab4e636f
class BatchTransform(Callback):
    """Changes each batch before the model sees it, in training and in validation.

    tfm_x, tfm_y: functions of `learn.xb` and `learn.yb` (default: leave them), run where the batch
    is by then, so on the GPU after `DeviceCallback`. Raises TypeError if neither can be called.
    """
    order = -90

    def __init__(self, tfm_x=None, tfm_y=None):
        self.tfm_x, self.tfm_y = tfm_x, tfm_y
        given = [f for f in (tfm_x, tfm_y) if f is not None]
        if not given or not all(map(callable, given)):
            raise TypeError(f'BatchTransform: functions are needed, not {tfm_x!r} and {tfm_y!r}')

    def before_batch(self, learn):
        "Transform the batch."
        if self.tfm_x is not None:
            learn.xb = self.tfm_x(learn.xb)
        if self.tfm_y is not None:
            learn.yb = self.tfm_y(learn.yb)


# %% 06_cuda_cnn_hooks_init.ipynb cell 90 #504172f3
def best_device():
    "The fastest device there is: CUDA, else Apple's MPS, else the CPU. -> torch.device"
    if torch.cuda.is_available():
        return torch.device('cuda')
    return torch.device('mps' if torch.backends.mps.is_available() else 'cpu')


# %% 06_cuda_cnn_hooks_init.ipynb cell 92 #3a0fc0aa
def to_device(x, device):
    "A tensor, or tuples, lists and dicts of them, on `device`; what is no tensor stays as it is."
    if isinstance(x, torch.Tensor):
        return x.to(device)
    if isinstance(x, dict):
        return {k: to_device(v, device) for k, v in x.items()}
    if isinstance(x, (list, tuple)):
        moved = [to_device(o, device) for o in x]
        return type(x)(*moved) if hasattr(x, '_fields') else type(x)(moved)
    return x


# %% 06_cuda_cnn_hooks_init.ipynb cell 94 #aeebcf7b
class DeviceCallback(Callback):
    """Trains on `device`: moves the model as a fit begins, then each batch.

    device: what `torch.device` takes (default: the best there is). Nothing is touched before the
    fit. An optimiser that has a state already, from a fit elsewhere, has it moved along.
    """
    order = -100  # before all who look at the batch

    def __init__(self, device=None):
        self.device = best_device() if device is None else torch.device(device)

    def before_fit(self, learn):
        "Move the model, the loss if it is a module, and the optimiser's state."
        before = [(id(p), p.device) for p in learn.model.parameters()]
        learn.model.to(self.device)
        if isinstance(learn.loss_func, nn.Module):
            learn.loss_func.to(self.device)
        after = [(id(p), p.device) for p in learn.model.parameters()]
        if after != before:
            state = learn.opt.state_dict()
            if any(i != j for (i, _), (j, _) in zip(before, after)):  # some make new tensors
                learn.opt = learn.opt_func(learn.model.parameters(), lr=learn.lr)
            learn.opt.load_state_dict(state)  # which puts the state beside the weights

    def before_batch(self, learn):
        "Move the batch."
        learn.xb, learn.yb = to_device(learn.xb, self.device), to_device(learn.yb, self.device)


# %% 06_cuda_cnn_hooks_init.ipynb cell 98 #83f5e7c4
def conv_block(ni, nf, ks=3, stride=2, norm=None, act=nn.ReLU):
    """Convolution, norm, activation: (bs, ni, h, w) -> (bs, nf, ⌈h/stride⌉, ⌈w/stride⌉), odd ks

    norm: called as `norm(nf)`, such as `nn.BatchNorm2d`; the convolution then has no bias, as a
    norm has its own · act: called as `act()`. Either may be None. -> nn.Sequential with parts
    `conv`, `norm`, `act`
    """
    block = nn.Sequential()
    block.add_module('conv', nn.Conv2d(ni, nf, ks, stride, ks // 2, bias=norm is None))
    if norm is not None:
        block.add_module('norm', norm(nf))
    if act is not None:
        block.add_module('act', act())
    return block


# %% 06_cuda_cnn_hooks_init.ipynb cell 100 #31b4b45d
def simple_cnn(n_in=1, n_out=10, widths=(8, 16, 32, 64), norm=None, act=nn.ReLU):
    """A plain CNN: (bs, n_in, h, w) -> scores (bs, n_out), for pictures of any size

    widths: channels of its blocks, each halving the picture; the first has kernels of 5×5, the
    others of 3×3 · norm, act: see `conv_block`. It ends in an average over all places, and a linear
    layer. Raises ValueError for no widths.
    """
    if not widths:
        raise ValueError('simple_cnn: widths must name the channels of one block at least')
    sizes = [n_in, *widths]
    blocks = [conv_block(ni, nf, 3 if i else 5, norm=norm, act=act)
              for i, (ni, nf) in enumerate(pairwise(sizes))]
    head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(sizes[-1], n_out)
    return nn.Sequential(*blocks, *head)


# %% 06_cuda_cnn_hooks_init.ipynb cell 114 #fbb1924b
def _watched(x):
    "The same values without their graph: tensors detached, in tuples, lists and dicts too."
    if isinstance(x, torch.Tensor):
        return x.detach()
    if isinstance(x, (list, tuple)):
        return type(x)(map(_watched, x)) if type(x) in (list, tuple) else tuple(map(_watched, x))
    return {k: _watched(v) for k, v in x.items()} if isinstance(x, dict) else x


# %% 06_cuda_cnn_hooks_init.ipynb cell 116 #e7f5a6d6
class _Removable:
    "What can be removed, at the latest when its `with` block ends."
    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.remove()


class Hook(_Removable):
    """Calls `func(module, inp, out)` whenever `module` is called; keeps the result in `stored`.

    inp: a tuple of the positional inputs · out: the output. Both come detached and func runs
    without gradients, so that nothing it returns keeps a graph alive; func only watches, its result
    replaces nothing. They share the memory of the real ones: clone what an in-place layer may
    overwrite. backward: call it as `func(module, grad_inp, grad_out)` in the backward pass instead.
    `remove()`, or the end of a `with` block, takes it off the module; `stored` stays.
    """
    def __init__(self, module, func, backward=False):
        self.func, self.stored = func, None
        register = module.register_full_backward_hook if backward else module.register_forward_hook
        self._handle = register(self._call)

    @torch.no_grad()
    def _call(self, module, inp, out):
        self.stored = self.func(module, _watched(inp), _watched(out))

    def remove(self):
        "Take the hook off its module; a second time does nothing."
        self._handle.remove()


# %% 06_cuda_cnn_hooks_init.ipynb cell 120 #d0ee4160
class Hooks(_Removable, list):
    """A list of a `Hook` for each of `modules`, all with the same func; removed together.

    modules: any iterable, such as a `nn.Sequential` or a list · func, backward: see `Hook`. For use
    in a `with` block, or until `remove()`. Raises TypeError for what is no module; then none is
    left hooked.
    """
    def __init__(self, modules, func, backward=False):
        super().__init__()
        modules = list(modules)
        for m in modules:
            if not isinstance(m, nn.Module):
                raise TypeError(f'Hooks: {m!r} is no module; '
                                'pass modules, such as model.children()')
        self.extend(Hook(m, func, backward) for m in modules)

    @property
    def stored(self):
        "What each hook has stored, in the order of the modules."
        return [hook.stored for hook in self]

    def remove(self):
        "Take all hooks off their modules."
        for hook in self:
            hook.remove()


# %% 06_cuda_cnn_hooks_init.ipynb cell 128 #509e42b5
def _is_activation(module):
    "Is this one of torch's activation layers, or a layer with the attribute `is_activation`?"
    if isinstance(module, nn.MultiheadAttention):  # which torch keeps among them
        return False
    torch_s = type(module).__module__ == 'torch.nn.modules.activation'
    return getattr(module, 'is_activation', torch_s)


# %% 06_cuda_cnn_hooks_init.ipynb cell 130 #05ef4ddd
def _summary(module, inp, out, low, high, bins):
    "Mean, std, share of dead units and histogram of what a layer put out. -> dict of tensors"
    elementwise = not list(module.parameters()) and inp[0].shape == out.shape
    pre = inp[0] if elementwise else out
    alive = (pre > 0).transpose(0, 1).flatten(1).any(1) if pre.dim() > 1 else pre > 0
    x = out.float()
    hist = torch.histc(x.clamp(low, high), bins, low, high) / x.numel()
    return dict(mean=x.mean(), std=x.std(), dead=1 - alive.float().mean(), hist=hist)


# %% 06_cuda_cnn_hooks_init.ipynb cell 134 #520e1de3
def _named_layers(model, modules):
    "The layers to watch, by their names in the model: those given, or all activations. -> dict"
    names = {m: name for name, m in model.named_modules()}
    if modules is None:
        modules = [m for m in names if _is_activation(m)]
    elif callable(modules) and not isinstance(modules, nn.Module):
        modules = modules(model)
    modules = list(modules)
    if not modules or not set(modules) <= set(names):
        raise ValueError('ActivationStats: nothing to watch: this model has no activation layers, '
                         'or the modules given are not parts of it')
    return {f'{names[m]} {type(m).__name__}'.strip(): m for m in modules}


# %% 06_cuda_cnn_hooks_init.ipynb cell 136 #a6dd39de
class _Watch(Callback):
    def before_fit(self, learn):
        "Hook the layers; they must be those of the fits before."
        layers = _named_layers(learn.model, self.modules)
        weights = {name: p for name, p in learn.model.named_parameters()
                   if p.dim() > 1 and p.requires_grad}
        if self.rows and (list(layers), list(weights)) != (self.names, self.weight_names):
            raise ValueError('ActivationStats: this model has other layers than the one watched '
                             'before; make a new ActivationStats for it')
        self.names, self.weight_names = list(layers), list(weights)
        self._weights, self._on = list(weights.values()), False
        self._hooks = Hooks(layers.values(), self._summarise)

    def _summarise(self, module, inp, out):
        return _summary(module, inp, out, self.low, self.high, self.bins) if self._on else None

    def before_batch(self, learn):
        "Is this a step to record?"
        self._on = learn.training and learn.n_steps % self.every == 0

    def after_fit(self, learn):
        "Take the hooks off."
        if self._hooks is not None:
            self._hooks.remove()
        self._hooks = self._old = self._weights = None


# %% 06_cuda_cnn_hooks_init.ipynb cell 138 #eb69a98d
class _Keep(_Watch):
    def after_backward(self, learn):
        "Keep the weights as they were before the step."
        if self._on:
            self._old = [p.detach().clone() for p in self._weights]

    @torch.no_grad()
    def after_step(self, learn):
        "Record this step."
        if self._on:
            seen = self._hooks.stored
            if None in seen:
                silent = self.names[seen.index(None)]
                raise RuntimeError(f'ActivationStats: the layer {silent} was not called')
            row = {key: torch.stack([s[key] for s in seen]) for key in seen[0]}
            row['ratio'] = torch.stack([(p - old).norm() / old.norm()
                                        for p, old in zip(self._weights, self._old)])
            self.rows.append((learn.n_steps, row))
            self._old = None


# %% 06_cuda_cnn_hooks_init.ipynb cell 140 #1fb25980
class _Columns(_Keep):
    def _column(self, key):
        if not self.rows:
            raise RuntimeError('ActivationStats: nothing is recorded yet; fit a Learner with it')
        return torch.stack([row[key] for _, row in self.rows]).cpu()

    steps = property(lambda self: torch.tensor([step for step, _ in self.rows]))
    means = property(lambda self: self._column('mean'))
    stds = property(lambda self: self._column('std'))
    dead = property(lambda self: self._column('dead'))
    hists = property(lambda self: self._column('hist'))
    ratios = property(lambda self: self._column('ratio'))


# %% 06_cuda_cnn_hooks_init.ipynb cell 142 #6cc3492a
class ActivationStats(_Columns):
    """Records, at each `every`-th training step, how layers and weights are doing; changes nothing.

    modules: layers to watch, or a function of the model that gives them (default: all activations)
    · low, high, bins: of the histograms; values beyond fall into the outer bins. Afterwards, one
    row for each recorded step: `steps` (n,) · `means`, `stds` of the outputs and `dead`, the share
    of units (axis 1) whose input was above zero nowhere in the batch, each (n, layers) · `hists`
    (n, layers, bins), shares · `ratios` (n, weights): ‖change of the weight in the step‖ /
    ‖weight‖. `names` and `weight_names` name the columns; `plot()` and `plot_hists()` draw them. It
    goes on from one fit to the next. Raises ValueError for bad settings, and, as the fit begins, if
    there is nothing to watch.
    """
    in_search = False

    def __init__(self, modules=None, every=1, low=-3., high=7., bins=60):
        if not isinstance(every, int) or every < 1 or bins < 2 or not low < high:
            raise ValueError(f'ActivationStats: every ≥ 1, bins ≥ 2 and low < high are needed, not '
                             f'{every!r}, {bins!r}, {low!r} and {high!r}')
        self.modules, self.every, self.low, self.high, self.bins = modules, every, low, high, bins
        self.rows, self.names, self.weight_names, self._hooks = [], [], [], None

    def plot(self):
        "Draw means, stds, dead units and update-to-weight ratios over the steps. -> the figure"
        return _plot_stats(self)

    def plot_hists(self):
        "Draw the histograms of each layer over the steps, as coloured images. -> the figure"
        return _plot_hists(self)


# %% 06_cuda_cnn_hooks_init.ipynb cell 144 #7a930781
def _plot_stats(stats):
    "The figure of `ActivationStats.plot`."
    import matplotlib.pyplot as plt
    panels = (('mean of outputs', stats.means, stats.names),
              ('std of outputs', stats.stds, stats.names),
              ('dead units (share)', stats.dead, stats.names),
              ('update / weight', stats.ratios, stats.weight_names))
    fig, axes = plt.subplots(2, 2, figsize=(9, 5), layout='constrained', facecolor='white')
    axes = axes.flatten()
    for ax, (title, values, names) in zip(axes, panels):
        colors = plt.cm.viridis(torch.linspace(0, .9, len(names)).numpy())
        for value, name, color in zip(values.T, names, colors):
            ax.plot(stats.steps, value, color=color, label=name, lw=1)
        ax.set(xlabel='step', ylabel=title)
    for ax in axes[::3]:
        ax.legend(fontsize=7)
    axes[2].set_ylim(-.03, 1.03)
    axes[3].set_yscale('log')
    axes[3].axhline(1e-3, color='#D55E00', ls='--', lw=1)
    return fig


# %% 06_cuda_cnn_hooks_init.ipynb cell 146 #3fa5d679
def _plot_hists(stats):
    "The figure of `ActivationStats.plot_hists`: colour is the logarithm of the share."
    import matplotlib.pyplot as plt
    hists, n = stats.hists.clamp(min=1e-5).log10(), len(stats.names)
    fig, axes = plt.subplots(1, n, figsize=(2.2 * n + .8, 2.6), layout='constrained',
                             facecolor='white', squeeze=False, sharey=True)
    extent = [int(stats.steps[0]), int(stats.steps[-1]) + 1, stats.low, stats.high]
    for i, (ax, name) in enumerate(zip(axes[0], stats.names)):
        image = ax.imshow(hists[:, i].T, origin='lower', aspect='auto', extent=extent, vmin=-5,
                          vmax=0, cmap='magma', interpolation='nearest')
        ax.set(xlabel='step')
        ax.set_title(name, fontsize=9)
    axes[0, 0].set_ylabel('activation')
    fig.colorbar(image, ax=axes, label='log₁₀ of the share of values')
    return fig


# %% 06_cuda_cnn_hooks_init.ipynb cell 152 #68697c03
@torch.no_grad()
def init_cnn(model, leak=0.):
    """Kaiming initialisation of all convolutions and linear layers, biases zero. -> the model

    model: changed in place · leak: slope of its activations below zero. Source: He et al. 2015,
    arXiv 1502.01852, equation 15.
    """
    for module in model.modules():
        if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)):
            kaiming_normal_(module.weight, a=leak)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return model


# %% 06_cuda_cnn_hooks_init.ipynb cell 165 #02d9ebf9
class GeneralReLU(nn.Module):
    """A ReLU that may leak below zero, be shifted down and be cut off: any shape -> the same shape

    leak: slope below zero (default: none) · sub: subtracted from the result · maxv: its upper
    bound. In the order leak, sub, maxv, each only if it is given. Works out of place, so gradients
    are right.
    """
    is_activation = True

    def __init__(self, leak=None, sub=None, maxv=None):
        super().__init__()
        self.leak, self.sub, self.maxv = leak, sub, maxv

    def forward(self, x):
        x = F.relu(x) if self.leak is None else F.leaky_relu(x, self.leak)
        x = x if self.sub is None else x - self.sub
        return x if self.maxv is None else x.clamp(max=self.maxv)

    def extra_repr(self):
        return f'leak={self.leak}, sub={self.sub}, maxv={self.maxv}'


# cell hashes: 6a92f9be:7f1a818c 22093755:0cb8ca1d 656824ca:a2c408ed 8d8ec1d6:c8ec8278
#   e62dec54:ff327e26 40d1a3cc:809669b1 d05542b0:8d663958 2ec1b8b7:b032b6f3 d4fb42df:20e0de9a
#   9913654b:c04d084b 25d51f89:4aa9f7f3 08c3282c:4530850f 47471a6c:b1e908f6 2449977b:cfb9406c
#   56ed59a3:98c8da54 17c35e6f:1c9be848 5aa5dfc8:f56585c8 7a72eba8:a00b9868 008f4c4a:df5774ff
#   59f0657c:de4e2c1a ab4e636f:b881a002 504172f3:c394235d 3a0fc0aa:f40b89a0 aeebcf7b:4b4e5a34
#   83f5e7c4:fdbaa35a 31b4b45d:ddecc7c8 fbb1924b:77f3448e e7f5a6d6:35aaef79 d0ee4160:df1e808a
#   509e42b5:cd47abf4 05ef4ddd:6255defc 520e1de3:216f7379 a6dd39de:1adbc8da eb69a98d:91cadf2b
#   1fb25980:d07f4bff 6cc3492a:b90ecb31 7a930781:1bc7b08e 3fa5d679:18b063fe 68697c03:70609dcd
#   02d9ebf9:e4817a4f
