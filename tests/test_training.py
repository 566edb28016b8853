"""The training library as an importer uses it: the docstring's example, and a run that is killed while it saves."""
import os
import signal
import subprocess
import sys
import textwrap

import pytest
import torch
from torch import nn

from exp import nb_03, nb_04


def test_the_docstrings_example_trains(capsys):
    doc = nb_04.Learner.__doc__
    code = textwrap.dedent(doc[doc.index('        from exp.nb_03'):doc.index('    While it trains')])
    assert len(code.strip().splitlines()) <= 10
    g = torch.Generator().manual_seed(0)
    x = torch.randn(400, 5, generator=g)
    y = (x[:, 0] > 0).long()
    names = dict(torch=torch, model=nn.Linear(5, 2), x_train=x[:300], y_train=y[:300], x_valid=x[300:], y_valid=y[300:])
    exec(code, names)
    assert len(capsys.readouterr().out.splitlines()) == 5
    losses = [row['valid_loss'] for row in names['recorder'].rows]
    assert losses[-1] < losses[0] < 1.5


RUN = '''
import os, signal, sys
import torch
from torch import nn
from exp.nb_00 import set_seed
from exp.nb_03 import DataLoader, Dataset, Sampler
from exp.nb_04 import Callback, Learner, Metrics, Recorder
from exp.nb_05 import ParamScheduler, one_cycle
from exp.nb_05b import Checkpoint

class Kills:
    "Ends the process, without a chance to tidy up, while it is being written to the file."
    def __reduce__(self):
        os.kill(os.getpid(), signal.SIGKILL)

class Trap(Callback):
    def state_dict(self):
        return {'trap': Kills() if self.armed else None}
    def load_state_dict(self, state):
        pass
    def __init__(self, armed):
        self.armed = False
        self.wants = armed
    def before_epoch(self, learn):
        self.armed = self.wants and learn.epoch == 2

def run(path, armed=False, seed=0):
    set_seed(seed)
    x = torch.randn(200, 6, generator=torch.Generator().manual_seed(0))
    ds = Dataset(x, (x.sum(1) > 0).long())
    order = Sampler(ds, shuffle=True, generator=torch.Generator().manual_seed(seed))
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Dropout(.3), nn.Linear(8, 2))
    cbs = [Metrics(), Recorder(quiet=True), ParamScheduler(lr=one_cycle(.1)), Trap(armed), Checkpoint(path, resume=True)]
    opt = lambda ps, lr: torch.optim.Adam(ps, lr=lr)
    learn = Learner(model, (DataLoader(ds, 32, sampler=order), DataLoader(ds, 100)), nn.functional.cross_entropy, opt, cbs=cbs)
    learn.fit(4)
    return learn

if __name__ == '__main__':
    run(sys.argv[1], armed=True)
'''


def test_a_run_killed_while_it_writes_a_checkpoint_resumes_bit_for_bit(tmp_path):
    (tmp_path / 'killed_run.py').write_text(RUN)
    process = subprocess.run([sys.executable, tmp_path / 'killed_run.py', tmp_path / 'cut.pt'],
                             capture_output=True, text=True)
    assert process.returncode == -signal.SIGKILL, process.stderr
    assert torch.load(tmp_path / 'cut.pt', weights_only=True)['epoch'] == 2, 'the last whole checkpoint is gone'
    names = {'__name__': 'killed_run'}
    exec(RUN, names)
    resumed = names['run'](tmp_path / 'cut.pt', seed=123)
    unbroken = names['run'](tmp_path / 'unbroken.pt')
    for a, b in zip(resumed.model.parameters(), unbroken.model.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.skipif(os.name == 'nt', reason='sends SIGINT to itself')
def test_a_real_interrupt_ends_the_fit_and_keeps_the_record():
    class Press(nb_04.Callback):
        def after_step(self, learn):
            if learn.n_steps == 5:
                os.kill(os.getpid(), signal.SIGINT)
    x, y = torch.randn(320, 4), torch.randint(0, 2, (320,))
    recorder = nb_04.Recorder(quiet=True)
    dls = nb_03.get_dls(nb_03.Dataset(x, y), nb_03.Dataset(x, y), 32)
    learn = nb_04.Learner(nn.Linear(4, 2), dls, nn.functional.cross_entropy, cbs=[recorder, Press()])
    learn.fit(100)
    assert learn.interrupted and 4 <= len(recorder.losses) <= 20
