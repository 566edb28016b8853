"""The `kernel` engine's child: ipykernel's own launcher, with two additions.

A fatal signal writes every thread's stack to a file, so that a crash can be told by its line; and
the kernel dies with the runner. Run by path, never imported.
"""
import faulthandler
import os
import runpy
import sys

del sys.path[0]  # this file's folder, which no notebook should import from

faulthandler.enable(open(os.path.join(os.environ['IPYTHONDIR'], 'stack'), 'w'))
if sys.platform == 'linux':
    import ctypes
    ctypes.CDLL(None).prctl(1, 9)  # PR_SET_PDEATHSIG, SIGKILL

runpy.run_module('ipykernel_launcher', run_name='__main__', alter_sys=True)
