"""Runs scripts of the lab for `conftest.run_script`, each in a process forked from this one.

A small run spends half its time on importing torch. This process imports it once, computes nothing itself, and forks a
child for every order that it reads: JSON, one a line. The child becomes the script, down to its exit; the answer is the
child's exit code. Of the lab itself little is imported before the fork, so that a test can plant a fault in the rest.
"""

import atexit
import gc
import importlib
import json
import os
import runpy
import signal
import sys
import tempfile
import traceback
from pathlib import Path

sys.path[0] = str(Path(__file__).parents[1])
for name in ("rich.progress", "torch.distributed", "torch.profiler", "common.training.models"):
    importlib.import_module(name)
sys.modules["common.training.models"].import_torchvision()
gc.freeze()  # a collection in a child would touch, and so copy, every page that it shares with this process

for line in sys.stdin:
    order = json.loads(line)
    child = os.fork()
    if not child:
        break
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
else:
    sys.exit()

# Only children come here.
script, *arguments = order["command"]
for number, path in enumerate([os.devnull, order["stdout"], order["stderr"]]):
    os.dup2(os.open(path, os.O_RDWR), number)
os.environ.clear()
os.environ.update(order["env"])
os.chdir(order["cwd"])
tempfile.tempdir = None  # to be found anew, in this environment
sys.argv = [script, *arguments]
sys.orig_argv = [sys.executable, script, *arguments]
sys.path[0] = str(Path(script).parent)
signal.alarm(order["timeout"])  # ends the child, or the program that it may turn itself into

code = 0
try:
    runpy.run_path(script, run_name="__main__")
except SystemExit as end:
    code = end.code or 0
except BaseException:
    traceback.print_exc()
    code = 1
atexit._run_exitfuncs()
sys.stdout.flush()
os._exit(code)  # Python's own way out takes as long as the import of torch did
