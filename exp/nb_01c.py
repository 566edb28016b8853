"""Fast matrix multiplication

Exported from nbs/01c_fast_matmul.ipynb: change the notebook and export it again, or change this
file and bring the change back with `python notebook2script.py --update`.
"""
# notebook2script 1 sha256:7530e323cbd1670e head:dcd79730
__all__ = ['find_compiler', 'has_compiler', 'NoCompiler', 'CompileError', 'compile_c', 'MATMUL_C',
           'c_matmul', 'numba_matmul']


# %% 01c_fast_matmul.ipynb cell 18 #e57789a5
import ctypes
import functools
import hashlib
import os
import platform
import re
import shlex
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path

import torch

from exp.nb_00a import _first_writable, course_root


# %% 01c_fast_matmul.ipynb cell 19 #533b4d0a
def find_compiler():
    """The command of this machine's C compiler: `$CC` where that is set, else the first of `cc`,
    `gcc` and `clang` on the PATH. -> list of str, the program's path first; None if there is none.
    """
    named = shlex.split(os.environ.get('CC', ''))
    for words in [named] if named else [['cc'], ['gcc'], ['clang']]:
        if path := shutil.which(words[0]):
            return [os.path.abspath(path), *words[1:]]
    return None


def has_compiler():
    "Is there a C compiler, and does it answer when asked for its version? -> bool"
    cc = find_compiler()
    return cc is not None and _version(*cc) is not None


@functools.cache
def _version(*cc):
    "What a compiler says about itself, or None if it does not run."
    try:
        asked = subprocess.run([*cc, '--version'], capture_output=True, text=True, errors='replace',
                               stdin=subprocess.DEVNULL)
    except OSError:
        return None
    return asked.stdout if asked.returncode == 0 else None


# %% 01c_fast_matmul.ipynb cell 22 #ef4234e6
def _native_flag():
    "The flag that lets the compiler use all that this processor can do."
    machine = platform.machine().lower()
    known = {'x86_64': '-march=native', 'amd64': '-march=native',
             'arm64': '-mcpu=native', 'aarch64': '-mcpu=native'}
    return (known[machine],) if machine in known else ()


@functools.cache
def _processor():
    "What code made for this very processor depends on: its model and the instructions it has."
    wanted = 'model name', 'flags', 'Features', 'CPU part'
    try:
        lines = Path('/proc/cpuinfo').read_text().splitlines()
    except OSError:
        lines = []
    found = sorted({line for line in lines if line.startswith(wanted)})
    return '\n'.join([platform.machine(), platform.processor(), *found])


# %% 01c_fast_matmul.ipynb cell 23 #c88cbefa
def _library_folder():
    "Where compiled libraries are kept: the course's `.course/c`, or a user's cache. -> Path"
    from platformdirs import user_cache_path
    folders = [user_cache_path('foundations-course') / 'c']
    try:
        folders.insert(0, course_root() / '.course' / 'c')
    except FileNotFoundError:
        pass  # installed without the course's folders
    return (_first_writable(folders)
            or Path(tempfile.mkdtemp(prefix='course-c-')))  # for this process alone


def _library_file(source, name, flags, cc):
    "The file for the library made from `source`; its name hashes all that it depends on. -> Path"
    parts = '\0'.join([source, *flags, *cc, _version(*cc), _processor()])
    return _library_folder() / f'{name}-{hashlib.sha256(parts.encode()).hexdigest()[:20]}.so'


# %% 01c_fast_matmul.ipynb cell 25 #dbe5ead8
class NoCompiler(FileNotFoundError):
    "There is no C compiler on this machine, or it does not run."


class CompileError(RuntimeError):
    "The C compiler refused a source text; the message has its words and the line they are about."


def _refusal(name, source, said):
    "What a compiler said about `source`, with the line of the first error on top."
    said = '\n'.join(said.strip().splitlines()[:30])
    first = re.search(rf'^{name}\.c:(\d+):(?:\d+:)? (?:fatal )?error: (.*)', said, re.MULTILINE)
    if not first:
        return f'{name}.c could not be compiled:\n{said}'
    line = (source.splitlines() + [''])[int(first[1]) - 1].strip()
    return f'{name}.c, line {first[1]}: {first[2]}\n    {line}\nThe compiler said:\n{said}'


# %% 01c_fast_matmul.ipynb cell 27 #c3723b1b
def compile_c(source, name='kernel', flags=None):
    """Compile C with this machine's compiler, load it -> ctypes.CDLL; its functions are attributes.

    source: the C text · name: letters, digits and `_`, for messages and the file · flags: a
    sequence of compiler flags (default: `-O3` and code for exactly this processor). Compiled once:
    the library is kept under a hash of source, flags, compiler and processor; several processes
    may compile at once. Raises NoCompiler, CompileError, TypeError or ValueError. Set `argtypes`
    and `restype` of each function before you call it: ctypes takes every number for a C int
    otherwise.
    """
    if not isinstance(source, str):
        raise TypeError(f'compile_c: source must be a str of C, not {type(source).__name__}')
    if not re.fullmatch(r'\w+', name, re.ASCII):
        raise ValueError(f'compile_c: name may have letters, digits and _ only, not {name!r}')
    if isinstance(flags, str):
        raise TypeError(f'compile_c: flags must be a list, such as {flags.split()!r}, not a str')
    if not has_compiler():
        raise NoCompiler('compile_c: no C compiler: neither $CC nor cc, gcc or clang on the PATH '
                         "runs. Install one (Debian, Ubuntu: 'apt install gcc'; macOS: "
                         "'xcode-select --install'), or do without the C versions.")
    flags = ('-O3', *_native_flag()) if flags is None else tuple(flags)
    return _library(source, name, flags, tuple(find_compiler()))


# %% 01c_fast_matmul.ipynb cell 29 #df24dba6
@functools.cache
def _library(source, name, flags, cc):
    "The library made from `source`, from the cache if it is there. -> ctypes.CDLL"
    file = _library_file(source, name, flags, cc)
    if file.exists():
        try:
            return ctypes.CDLL(str(file))
        except OSError:
            pass  # damaged, by a full disk perhaps: made again below
    with tempfile.TemporaryDirectory(dir=file.parent, prefix=f'.{name}-') as scratch:
        Path(scratch, f'{name}.c').write_text(source, encoding='utf-8')
        command = [*cc, *flags, '-shared', '-fPIC', f'{name}.c', '-o', 'made.so', '-lm']
        made = subprocess.run(command, cwd=scratch, stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, errors='replace', env={**os.environ, 'LC_ALL': 'C'})
        if made.returncode:
            raise CompileError(_refusal(name, source, made.stderr))
        os.replace(Path(scratch, 'made.so'), file)
    return ctypes.CDLL(str(file))


# %% 01c_fast_matmul.ipynb cell 41 #ba979ebd
_SIZES = r"""
#include <stdlib.h>
#if defined(__AVX512F__)
enum {V = 16, MR = 14, NV = 2};
#elif defined(__AVX__)
enum {V = 8, MR = 6, NV = 2};
#elif defined(__aarch64__)
enum {V = 4, MR = 8, NV = 3};
#else
enum {V = 4, MR = 6, NV = 2};
#endif
enum {NR = NV * V, DR = MR < 8 ? MR : 8, KC = 512, MC = 96 / MR * MR};
typedef float vec __attribute__((vector_size(4 * V), aligned(4), may_alias));
#define EACH(i, n) _Pragma("GCC unroll 16") for (int i = 0; i < n; i++)
#define TILE EACH(i, mr) EACH(v, nv)
"""


# %% 01c_fast_matmul.ipynb cell 83 #492f7fa3
_TILE = r"""
#define STEP { vec x[NV]; EACH(v, nv) x[v] = *(vec *)(b + v * V); __asm__ volatile("":::"memory"); \
    TILE acc[i][v] += a[i * ra] * x[v]; a += ca, b += rb; __asm__ volatile("":::"memory"); }
static inline __attribute__((always_inline)) void tile(int mr, int nv, long k, const float *a,
        long ra, long ca, const float *b, long rb, float *c, long rc, int add) {
    vec acc[MR][NV] = {0};
    for (; k >= 8; k -= 8) { STEP STEP STEP STEP STEP STEP STEP STEP }
    for (; k > 0; k--) STEP
    if (add) TILE acc[i][v] += *(vec *)(c + i * rc + v * V);
    TILE *(vec *)(c + i * rc + v * V) = acc[i][v];
}
"""


# %% 01c_fast_matmul.ipynb cell 91 #ce2df4e2
_BLOCK = r"""
static long min(long x, long y) { return x < y ? x : y; }
#define DIRECT(h, nv) tile(h, nv, k, a + i * ra, ra, 1, b, rb, to, rt, add && w == NR)
#define ROWS(h) case h: if (h <= DR) w > V ? DIRECT(h, NV) : DIRECT(h, 1); break;
static void block(long m, long k, long n, const float *a, long ra, float *pa, const float *b,
                  long rb, float *c, int add) {
    for (long j = 0; j < n; j += NR, b += rb == NR ? k * NR : NR)
        for (long i = 0, h; i < m; i += h) {
            long w = min(NR, n - j), rt = w < NR ? NR : n, full = pa && m - i >= MR;
            float edge[MR * NR], *cij = c + i * n + j, *to = w < NR ? edge : cij;
            h = full ? MR : min(DR, m - i);
            for (long q = 0; full && !j && q < k; q++)
                EACH(r, MR) pa[i * k + q * MR + r] = a[(i + r) * ra + q];
            if (full) tile(MR, NV, k, pa + i * k, 1, MR, b, NR, to, rt, add && w == NR);
            else switch (h) { ROWS(1) ROWS(2) ROWS(3) ROWS(4) ROWS(5) ROWS(6) ROWS(7) ROWS(8) }
            if (w < NR) for (long r = 0; r < h; r++) for (long s = 0; s < w; s++)
                cij[r * n + s] = edge[r * NR + s] + (add ? cij[r * n + s] : 0);
        }
}
"""


# %% 01c_fast_matmul.ipynb cell 93 #77caff2f
_MATMUL = r"""
int matmul(const float *a, const float *b, float *c, long m, long k, long n) {
    long thin = m <= 2 * DR && k > NR, wide = n > 12 * NR && !thin, p = thin ? k - NR : 0;
    long floats = wide * MC * KC + (n + NR) * min(KC, k - p);
    float *pa = aligned_alloc(64, (floats + 15) / 16 * 64), *pb = pa + wide * MC * KC;
    if (!pa) return 1;
    if (thin) block(m, p, n, a, k, 0, b, n, c, 0);
    for (long kc; (kc = min(KC, k - p)) > 0; p += kc) {
        for (long q = 0; q < kc; q++)
            for (long j = 0; j < n; j += NR) {
                long at = (p + q) * n + j, to = j * kc + q * NR, left = k * n - at;
                if (left < NR) for (long r = 0; r < left; r++) pb[to + r] = b[at + r];
                else EACH(v, NV) *(vec *)(pb + to + v * V) = *(vec *)(b + at + v * V);
            }
        for (long i = 0; i < m; i += MC)
            block(min(MC, m - i), kc, n, a + i * k + p, k, wide ? pa : 0, pb, NR, c + i * n, p > 0);
    }
    return free(pa), 0;
}
"""
MATMUL_C = _SIZES + _TILE + _BLOCK + _MATMUL


# %% 01c_fast_matmul.ipynb cell 102 #890c8bf2
def _sizes(name, a, b, out):
    "The sizes (m, k, n) of a product, after checking that `a`, `b` and `out` are fit for it."
    try:
        m, k = a.shape
        rows, n = b.shape
        fine = (k == rows and a.dtype is torch.float32 and b.dtype is torch.float32
                and a.is_cpu and b.is_cpu and (out is None or (
                    out.shape == (m, n) and out.dtype is torch.float32 and out.is_cpu))
                and not (torch.is_grad_enabled() and (a.requires_grad or b.requires_grad)))
    except (AttributeError, ValueError, TypeError):
        fine = False
    return (m, k, n) if fine else _complain(name, a, b, out)


# %% 01c_fast_matmul.ipynb cell 103 #adc8d9b7
def _complain(name, a, b, out):
    "Say what is wrong with the arguments of a matrix product."
    for what, x in (('a', a), ('b', b), ('out', out)):
        if x is None and what == 'out':
            continue
        if not isinstance(x, torch.Tensor):
            raise TypeError(f'{name}: {what} must be a tensor, not {type(x).__name__}')
        if x.dim() != 2:
            raise ValueError(f'{name}: {what} must have two axes (rows, columns), '
                             f'but its shape is {tuple(x.shape)}')
        if x.dtype != torch.float32:
            raise TypeError(f'{name}: {what} must be float32, not {x.dtype}; use {what}.float()')
        if x.device.type != 'cpu':
            raise ValueError(f'{name}: {what} must be on the CPU, not on {x.device}; '
                             f'use {what}.cpu()')
    if a.shape[1] != b.shape[0]:
        raise ValueError(f'{name}: a is {tuple(a.shape)} and b is {tuple(b.shape)}: b should have '
                         f'as many rows as a has columns, {a.shape[1]}, not {b.shape[0]}')
    if out is not None and out.shape != (a.shape[0], b.shape[1]):
        raise ValueError(f'{name}: out must be {(a.shape[0], b.shape[1])}, not {tuple(out.shape)}')
    raise ValueError(f'{name} knows no gradients: call it under torch.no_grad(), or with '
                     'a.detach() and b.detach()')


# %% 01c_fast_matmul.ipynb cell 105 #4960a48f
def c_matmul(a, b, out=None, threads=1):
    """The product of two float32 matrices on the CPU, by the kernel of chapter 01c; equals `a @ b`.

    a: (m, k) · b: (k, n), any strides -> (m, n), written to `out` if that is given · threads: how
    many share the rows. Differs from the exact product by at most k·eps·(|a| @ |b|). The first call
    compiles the kernel. Raises TypeError or ValueError for anything but two matrices that fit, for
    tensors that want a gradient and for threads < 1; NoCompiler where there is no C compiler.
    Method: Goto and van de Geijn 2008. Made for matrices; for a matrix and a vector use `a @ x`.
    """
    m, k, n = _sizes('c_matmul', a, b, out)
    if threads != 1 and (not isinstance(threads, int) or threads < 1):
        raise ValueError(f'c_matmul: threads must be a whole number from 1, not {threads!r}')
    kernel = _kernel()
    if out is None:
        out = a.new_empty((m, n))
    elif not out.is_inference():
        torch.autograd.graph.increment_version(out)
    if not (m and k and n):
        return out.zero_()
    if not (a.is_contiguous() and b.is_contiguous()):
        a, b = a.contiguous(), b.contiguous()
    pa, pb, pc = a.data_ptr(), b.data_ptr(), out.data_ptr()
    if not out.is_contiguous() or _overlap(pc, m * n, pa, m * k) or _overlap(pc, m * n, pb, k * n):
        return out.copy_(c_matmul(a, b, threads=threads))
    _run(kernel, threads, pa, pb, pc, m, k, n)
    return out


# %% 01c_fast_matmul.ipynb cell 107 #39146053
def _overlap(start, size, other, other_size):
    "Do `size` floats at one address share memory with `other_size` floats at the other? -> bool"
    return start < other + 4 * other_size and other < start + 4 * size


@functools.cache
def _kernel():
    "The compiled kernel, a C function of three addresses and three sizes that returns 0."
    kernel = compile_c(MATMUL_C, 'matmul', flags=('-O2', *_native_flag())).matmul
    kernel.argtypes = [ctypes.c_void_p] * 3 + [ctypes.c_long] * 3
    kernel.restype = ctypes.c_int
    return kernel


# %% 01c_fast_matmul.ipynb cell 108 #5f85d86c
def _run(kernel, threads, pa, pb, pc, m, k, n):
    "Run the kernel on matrices given by their addresses, on one thread or several."
    if (kernel if threads == 1 else _share_rows(kernel, threads))(pa, pb, pc, m, k, n):
        raise MemoryError(f'c_matmul: no memory to pack a product of {m} × {k} by {k} × {n}')


def _share_rows(kernel, threads):
    "A kernel that does blocks of rows in several threads at once."
    def shared(pa, pb, pc, m, k, n):
        rows = max(-(-m // threads), 16)  # fewer are not worth a thread
        results = []

        def work(i):
            results.append(kernel(pa + 4 * i * k, pb, pc + 4 * i * n, min(rows, m - i), k, n))
        others = [threading.Thread(target=work, args=(i,)) for i in range(rows, m, rows)]
        for thread in others:
            thread.start()
        work(0)
        for thread in others:
            thread.join()
        return any(results) or len(results) <= len(others)
    return shared


# %% 01c_fast_matmul.ipynb cell 135 #e2b4cc45
@functools.cache
def _numba_kernel():
    "The loops of `numba_matmul`, compiled: (a, b, c) -> None, for contiguous float32 arrays."
    from numba import float32, njit, void
    matrix = float32[:, ::1]

    @njit(void(matrix, matrix, matrix), fastmath={'contract'}, nogil=True)
    def multiply(a, b, c):
        k = a.shape[1]
        c[:] = 0
        for start in range(0, k, 64):  # 64 rows of b stay in a cache
            stop = min(start + 64, k)
            whole = start + (stop - start) // 4 * 4
            for i in range(len(a)):
                ci = c[i]
                for p in range(start, whole, 4):
                    x0, x1, x2, x3 = a[i, p], a[i, p + 1], a[i, p + 2], a[i, p + 3]
                    b0, b1, b2, b3 = b[p], b[p + 1], b[p + 2], b[p + 3]
                    for j in range(len(ci)):
                        ci[j] += x0 * b0[j] + x1 * b1[j] + x2 * b2[j] + x3 * b3[j]
                for p in range(whole, stop):
                    for j in range(len(ci)):
                        ci[j] += a[i, p] * b[p, j]
    return multiply


# %% 01c_fast_matmul.ipynb cell 137 #50ecb673
def numba_matmul(a, b, out=None):
    """The product of two float32 matrices on the CPU, by loops that numba compiles; equals `a @ b`.

    a: (m, k) · b: (k, n), any strides -> (m, n), written to `out` if that is given. Differs from
    the exact product by at most k·eps·(|a| @ |b|). Needs no C compiler; the first call imports
    numba and compiles, which takes seconds. Raises TypeError or ValueError as `c_matmul` does.
    """
    m, k, n = _sizes('numba_matmul', a, b, out)
    c = a.new_empty((m, n))
    _numba_kernel()(a.contiguous().numpy(), b.contiguous().numpy(), c.numpy())
    return c if out is None else out.copy_(c)


# cell hashes: e57789a5:5d1eb273 533b4d0a:fc5c26bd ef4234e6:2281375e c88cbefa:f04f2112
#   dbe5ead8:7997d1a1 c3723b1b:a251b06f df24dba6:6263cf6a ba979ebd:c67ff03e 492f7fa3:f8fd31d0
#   ce2df4e2:9d12e648 77caff2f:d7de9169 890c8bf2:6afab4b9 adc8d9b7:372373fd 4960a48f:0feee84a
#   39146053:0ad3c70e 5f85d86c:4233a606 e2b4cc45:c00a83f9 50ecb673:c18d5d06
