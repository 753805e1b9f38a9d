"""Packaging of SST: `pip install -e .` or, for everything at the tested versions, `bash scripts/install.sh`."""

from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
DEMO = ['gradio>=6']
HUB = ['huggingface_hub>=0.24']
ONNX = ['onnx>=1.17', 'onnxruntime>=1.20', 'onnxscript>=0.5']
SPANDREL = ['spandrel>=0.4']
SPANDREL_EXTRA = ['spandrel_extra_arches>=0.2']  # MIT, but networks in it are for non-commercial use only
TRITON = 'triton>=3.0; sys_platform == "linux"'
VIDEO = ['av>=18']


def read_requirements() -> list[str]:
    """The lines of requirements.txt without comments."""
    lines = (
        line.split('#')[0].strip() for line in (ROOT / 'requirements.txt').read_text(encoding='utf-8').splitlines()
    )
    return [line for line in lines if line]


def read_readme() -> str:
    readme = ROOT / 'README.md'
    return readme.read_text(encoding='utf-8') if readme.exists() else ''


setup(
    name='sst-sr',
    version='0.1.0',
    description='SST: super-resolution Transformers with FlashAttention through rank-factorized implicit neural bias',
    long_description=read_readme(),
    long_description_content_type='text/markdown',
    author='The SST codebase authors',
    license='MIT',
    license_files=['LICENSE'],
    python_requires='>=3.11,<3.15',
    packages=find_packages(include=['sst', 'sst.*']),
    package_data={
        'sst': ['weights/*'],
        'sst.ops.native': ['*.cpp', '*.h'],
        'sst.rivals': ['*.yml'],
        'sst.upscaling.web': ['*.css'],
    },
    install_requires=read_requirements(),
    extras_require={
        'demo': DEMO,
        'flash': ['flash-attn>=2.6'],
        'fused': [TRITON],
        'hub': HUB,
        'onnx': ONNX,
        'perceptual': ['lpips>=0.1.4', 'pyiqa>=0.1.13'],
        'plots': ['matplotlib>=3.8'],
        'spandrel': SPANDREL,
        'spandrel-extra': [*SPANDREL, *SPANDREL_EXTRA],
        'video': VIDEO,
        'wandb': ['wandb>=0.17'],
        'dev': [
            *DEMO,
            *HUB,
            *ONNX,
            *SPANDREL,
            *VIDEO,
            'hypothesis>=6.100',
            'matplotlib>=3.8',
            'mypy>=1.11',
            'playwright>=1.49',  # drives a Chromium that is installed; downloads none
            'pytest>=8.2',
            'pytest-xdist>=3.6',
            'ruff>=0.6',
            TRITON,  # its interpreter runs the fused kernels; not every build of torch brings it
            'types-PyYAML>=6.0.12',
            'types-tqdm>=4.66',
        ],
    },
    entry_points={
        'console_scripts': [f'sst-{name}=sst.{name}:main' for name in ('train', 'test', 'upscale', 'demo', 'info')],
    },
    classifiers=[
        'Intended Audience :: Science/Research',
        'Programming Language :: Python :: 3.11',
        'Programming Language :: Python :: 3.12',
        'Programming Language :: Python :: 3.13',
        'Programming Language :: Python :: 3.14',
        'Topic :: Scientific/Engineering :: Image Processing',
    ],
)
