"""Optional packages that are broken or something else: SST imports and works, and says where one is needed."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from itertools import cycle, islice
from pathlib import Path

import pytest
from helpers import tiny_options
from PIL import Image

ROOT = Path(__file__).parents[2]
BROKEN = (
    '# another package of the same name',
    'raise AttributeError("module numpy has no attribute bool")',
    'raise ImportError("cannot import name x from y")',
    'import a_dependency_that_is_missing',
    'raise OSError("libcudart.so: undefined symbol: f\\nand more")',
    'raise SystemExit(3)',
)
# What needs a package, and the extra that brings it.
NEEDS = {
    'flash_attn': ('window_attention(qkv, 4, 1, backend="flash")', ''),
    'triton': ('window_attention(qkv, 4, 1, backend="fused")', 'fused'),
    'onnx': ('export_onnx(SST(**options), "net.onnx")', 'onnx'),
    'spandrel': ('importlib.import_module("sst.interop.spandrel")', 'spandrel'),
    'huggingface_hub': ('sst.load_model("hf://a/b/c.pth")', 'hub'),
    'pyiqa': ('calculate_lpips(black, black)', 'perceptual'),
    'av': ('probe("a.mp4")', 'video'),
    'gradio': ('serve({}, "127.0.0.1", 0, 1.0)', 'demo'),
}
OTHERS = ('flash_attn_interface', 'onnxruntime', 'onnxscript', 'wandb', 'matplotlib', 'imagecodecs')
PROGRAM = """
import importlib, json, logging, sys
log = []
handler = logging.Handler()
handler.emit = lambda record: log.append(record.getMessage())
logging.getLogger('basicsr').addHandler(handler)
logging.getLogger('basicsr').setLevel(logging.INFO)

import numpy as np, torch
import sst, sst.driver.run, sst.info, sst.test, sst.train
from sst.archs import SST
from sst.upscaling.videos import probe
from sst.interop.onnx import export_onnx
from sst.metrics import calculate_lpips
from sst.ops import window_attention
from sst.upscale import main
from sst.upscaling.web.serving import serve

needs, options, arguments = json.loads(sys.argv[1])
black, qkv = np.zeros((9, 9, 3), np.uint8), torch.rand(1, 4, 4, 48)
done = main(arguments)
said = {}
for name, (call, _) in needs.items():
    try:
        eval(call)
    except Exception as error:
        said[name] = str(error)
print(json.dumps([done, said, log]))
"""


def run(tmp_path, packages, needs):
    """The exit code of an enlarged picture, what is said where packages are needed, and the log."""
    for name, content in packages.items():
        file = tmp_path / 'packages' / name / '__init__.py'
        file.parent.mkdir(parents=True)
        file.write_text(content)
    Image.new('RGB', (9, 8)).save(tmp_path / 'a.png')
    arguments = [str(tmp_path / 'a.png'), '-o', str(tmp_path / 'out.png'), '--device', 'cpu']
    asked = json.dumps([needs, tiny_options(), arguments])
    path = os.pathsep.join([str(tmp_path / 'packages'), str(ROOT)])
    done = subprocess.run(
        [sys.executable, '-c', PROGRAM, asked],
        env=os.environ | {'PYTHONPATH': path},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / 'out.png').exists()
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize('first', [0, 2, 4])
def test_broken_packages(tmp_path, first):
    ways = islice(cycle(BROKEN), first, None)  # each package in three of the ways
    code, said, log = run(tmp_path, dict(zip([*NEEDS, *OTHERS], ways, strict=False)), NEEDS)
    assert code == 0
    assert said.keys() == NEEDS.keys()
    for name, (_, extra) in NEEDS.items():
        assert len(said[name].splitlines()) == 1
        assert name in said[name].lower()
        assert f"pip install 'sst-sr[{extra}]'" in said[name] or not extra
    assert len([line for line in log if 'flash_attn' in line]) == 1


@pytest.mark.skipif(find_spec('flash_attn') is not None, reason='FlashAttention is installed')
@pytest.mark.parametrize('packages', [(), ('flash_attn',), ('flash_attn_interface',), ('flash_attn/cute',)], ids=str)
def test_any_flash_attention_alone(tmp_path, packages):
    """Each is taken where it can be; on a CPU none can. flash-attn-4 brings nothing but flash_attn/cute."""
    needs = {'flash_attn': NEEDS['flash_attn']}
    code, said, log = run(tmp_path, dict.fromkeys(packages, 'def flash_attn_func(q, k, v): ...'), needs)
    assert code == 0
    assert ('not installed' in said['flash_attn']) == (not packages)
    assert 'CUDA' in said['flash_attn']
    assert not [line for line in log if 'FlashAttention is not used' in line]
    assert [line for line in log if 'backend native' in line or 'backend sdpa' in line]
