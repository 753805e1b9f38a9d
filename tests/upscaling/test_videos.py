"""sst-upscale on videos: each frame what the network makes of it, and all else as it was."""

import os
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from helpers import errors, files
from picture_files import saved
from PIL import Image
from video_files import VARIED, counted, encoded, frames_of, make, packets_of, planes_of, times_of

import sst
from sst.ops.imresize import imresize_to

av = pytest.importorskip('av')

TIMES = VARIED[:5]
BT601 = 6
LOSS = 4  # of 255: what encoding may change in the mean; chroma, halved, loses up to 2.8, luma 0.8


def clip(path: str, times: list[int] = TIMES, **options) -> Path:
    """Frames of 40x24 pixels that show their numbers, at these times, and sound."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    frames = (counted(index, 24, 40) for index in range(len(times)))
    return make(Path(path), times, frames=frames, **options)


def expected_planes(source: Path, weights: Path, height: int, width: int) -> list[np.ndarray]:
    """Planes as `planes_of` gives them of the network's results, resized, the last pixels doubled to even sizes."""
    upscaler = sst.load_model(weights, 'cpu')
    results = []
    for _, frame in frames_of(source):
        large = upscaler(frame / np.float32(255))
        if large.shape[:2] != (height, width):
            large = imresize_to(large, (height, width)).clip(0, 1)
        large = np.pad(np.rint(large * 255), ((0, height % 2), (0, width % 2), (0, 0)), mode='edge')
        results.append(encoded(large, BT601, 1).to_ndarray())
    return results


def errors_of(planes: np.ndarray, expected: np.ndarray) -> tuple[float, float]:
    """Mean error of luma and chroma, of 255."""
    assert planes.shape == expected.shape
    luma, chroma = np.split(abs(planes.astype(float) - expected), [len(planes) * 2 // 3])
    return luma.mean(), chroma.mean()


def streams_of(path: str | Path) -> list[tuple[str, str]]:
    with av.open(str(path)) as container:
        return [(stream.type, stream.codec_context.name) for stream in container.streams]


def size_of(path: str | Path) -> tuple[int, int]:
    """(width, height), pixels."""
    with av.open(str(path)) as container:
        return container.streams.video[0].width, container.streams.video[0].height


def test_a_video_becomes_what_the_api_makes_of_its_frames(upscale, weights):
    source, target = clip('a b ä.mp4'), Path('results/a b ä_x2.mp4')
    code, out, err = upscale('a b ä.mp4', '--crf', '0')
    assert code == 0
    assert out == [out[0]]
    assert out[0].startswith(f'a b ä.mp4 -> {target} (40x24 to 80x48, ')
    assert errors(err) == []
    assert '1 file enlarged' in err[-1]
    assert times_of(target) == times_of(source)
    assert packets_of(target, 'audio') == packets_of(source, 'audio') != []
    expected = expected_planes(source, weights, 48, 80)
    for index, planes in enumerate(planes_of(target)):
        for other in range(len(TIMES)):
            luma, chroma = errors_of(planes, expected[other])
            assert luma > 2 * LOSS if other != index else max(luma, chroma) < LOSS


@pytest.mark.parametrize(
    ('arguments', 'size', 'written'),
    [
        (['-s', '2'], (80, 48), (80, 48)),
        (['--scale', '1.5'], (60, 36), (60, 36)),
        (['--scale', '3'], (120, 72), (120, 72)),
        (['--width', '100'], (100, 60), (100, 60)),
        (['--width', '45'], (45, 27), (46, 28)),
    ],
)
def test_any_size(upscale, weights, arguments, size, written):
    source = clip('a.mp4', [0, 512])
    code, out, err = upscale('a.mp4', '-o', 'b.mp4', '--crf', '0', *arguments)
    assert code == 0
    assert f'(40x24 to {size[0]}x{size[1]}, ' in out[0]
    doubled = 'note: a.mp4: 45x27 become 46x28 by doubling the last pixels: H.264 takes even sizes'
    assert [line for line in err if line.startswith('note: ')] == ([doubled] if size != written else [])
    assert size_of('b.mp4') == written
    assert times_of(Path('b.mp4')) == times_of(source)
    expected = expected_planes(source, weights, size[1], size[0])
    for planes, wanted in zip(planes_of(Path('b.mp4')), expected, strict=True):
        assert max(errors_of(planes, wanted)) < LOSS


def test_crf_trades_size_for_likeness(upscale, weights):
    source = clip('a.mp4', sound=None)
    expected = expected_planes(source, weights, 48, 80)
    sizes, losses = [], []
    for crf in ('0', '17', '45'):
        assert upscale('a.mp4', '-o', f'{crf}.mp4', '--crf', crf)[0] == 0
        sizes.append(os.path.getsize(f'{crf}.mp4'))
        planes = planes_of(Path(f'{crf}.mp4'))
        losses.append(np.mean([errors_of(*pair)[0] for pair in zip(planes, expected, strict=True)]))
    assert sizes[0] > sizes[1] > sizes[2]
    assert losses[0] < losses[1] < losses[2]


def test_a_folder_with_a_picture_and_clips(upscale):
    saved('album/photo.png', 9, 8, 3)
    source = clip('album/clip.mp4')
    clip('album/in deep/two.mkv', [0, 512])
    code, out, _ = upscale('album', '-o', 'large')
    assert code == 0
    assert len(out) == 3
    assert files('large') == ['clip_x2.mp4', 'in deep/two_x2.mkv', 'photo_x2.png']
    assert times_of(Path('large/clip_x2.mp4')) == times_of(source)
    assert size_of('large/clip_x2.mp4') == size_of('large/in deep/two_x2.mkv') == (80, 48)
    assert Image.open('large/photo_x2.png').size == (16, 18)
    before = {name: Path('large', name).read_bytes() for name in files('large')}
    code, out, err = upscale('album', '-o', 'large', '--skip-existing')
    assert (code, out) == (0, [])
    assert '3 skipped' in err[0]
    assert {name: Path('large', name).read_bytes() for name in files('large')} == before


def broken_clips() -> None:
    """Beside a good one: a clip that is cut off, one that is damaged within, and a text."""
    whole = clip('p/c good.mp4').read_bytes()
    Path('p/a cut.mp4').write_bytes(whole[: len(whole) // 2])
    Path('p/e text.mkv').write_text('I am no video')
    rng = np.random.default_rng(0)
    grain = (rng.integers(0, 256, (24, 40, 3), np.uint8) for _ in range(12))
    damaged = make(Path('p/b damaged.mp4'), frames=grain, sound=None)
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 2000] = rng.bytes(2000)
    damaged.write_bytes(content)


def test_broken_clips_are_named_and_the_rest_go_on(upscale):
    broken_clips()
    code, out, err = upscale('p', '-o', 'q')
    assert code == 1
    assert [line.split(' -> ')[0] for line in out] == ['p/c good.mp4']
    assert files('q') == ['c good_x2.mp4']
    assert len(frames_of(Path('q/c good_x2.mp4'))) == len(TIMES)
    cut, damaged, text = errors(err)
    assert cut.startswith('error: p/a cut.mp4')
    assert damaged.startswith('error: p/b damaged.mp4')
    assert 'damaged at about' in damaged
    assert text.startswith('error: p/e text.mkv')
    assert '1 file enlarged' in err[-1]
    assert '3 FAILED' in err[-1]


def test_the_targets_ending_says_the_format(upscale):
    source = clip('a.mkv', [0, 40, 120], sound='libopus', tick=Fraction(1, 1000))
    assert upscale('a.mkv', '-o', 'clip.webm')[0] == 0
    assert streams_of('clip.webm') == [('video', 'vp9'), ('audio', 'opus')]
    assert size_of('clip.webm') == (80, 48)
    assert times_of(Path('clip.webm')) == times_of(source)
    sounds = [[content for *_, content in packets_of(path, 'audio')] for path in (source, Path('clip.webm'))]
    assert sounds[0] == sounds[1] != []


def test_sound_that_the_target_cannot_hold(upscale):
    clip('a.mp4')
    code, out, err = upscale('a.mp4', '-o', 'clip.webm')
    assert (code, out) == (1, [])
    assert errors(err) == [
        'error: a.mp4: cannot write clip.webm: .webm cannot hold its sound as it is (aac); write .mkv, which holds any'
    ]
    assert files('.') == ['a.mp4']


def test_an_avi_becomes_an_mp4(upscale):
    source = clip('a.AVI', list(range(5)), codec='mpeg4', tick=Fraction(1, 25), sound='mp3')
    code, out, _ = upscale('a.AVI')
    assert code == 0
    assert out[0].startswith('a.AVI -> results/a_x2.mp4 (40x24 to 80x48, ')
    assert files('results') == ['a_x2.mp4']
    with av.open('results/a_x2.mp4') as container:
        assert 'mp4' in container.format.name
    assert times_of(Path('results/a_x2.mp4')) == times_of(source)
    sounds = [[content for *_, content in packets_of(path, 'audio')] for path in (source, Path('results/a_x2.mp4'))]
    assert sounds[0] == sounds[1] != []


@pytest.mark.parametrize(
    ('arguments', 'named'),
    [
        (['-o', 'b.png'], '-o b.png: '),
        (['-o', 'b.webm', '--crf', '60'], '--crf: '),
        (['-o', 'a.mp4'], 'a.mp4: '),
    ],
    ids=str,
)
def test_refusals(upscale, arguments, named):
    clip('a.mp4')
    code, out, err = upscale('a.mp4', *arguments)
    assert (code, out) == (2, [])
    assert named in err[-1]
    assert files('.') == ['a.mp4']
