"""Every frame upright, in its colours and of its size, with a note where something is lost."""

from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pytest
from video_files import GREY, RED, STEADY, counted, frames_of, make, twice

from sst.upscaling.videos import probe, upscale_video

av = pytest.importorskip('av')


def thrice(frame: np.ndarray) -> np.ndarray:
    return frame.repeat(3, axis=0).repeat(3, axis=1)


def near(one: np.ndarray, colour: tuple[int, ...], within: int = 2) -> bool:
    return bool((abs(one.astype(int) - np.array(colour)) <= within).all())


@pytest.mark.parametrize(('degrees', 'mirrored'), [(0, False), (90, False), (-90, False), (180, False), (90, True)])
def test_the_result_is_upright(tmp_path, degrees, mirrored):
    def set_up(container, video) -> None:
        video.set_display_rotation(degrees, hflip=mirrored)

    source, target = make(tmp_path / 'a.mp4', set_up=set_up, sample_aspect_ratio=Fraction(4, 3)), tmp_path / 'b.mp4'
    given: list[np.ndarray] = []
    assert upscale_video(source, target, lambda frame: (given.append(frame), twice(frame))[1]) == []
    upright = np.rot90(counted(0), degrees // 90)  # counterclockwise, as PyAV means it
    upright = upright[:, ::-1] if mirrored else upright
    assert abs(given[0].astype(int) - upright).mean() < 4
    assert abs(frames_of(target)[0][1].astype(int) - twice(upright)).mean() < 4
    info = probe(source)
    assert (info.height, info.width) == upright.shape[:2]
    with av.open(str(target)) as container:
        assert next(container.decode(video=0)).rotation == 0
        turned = abs(degrees) == 90
        assert container.streams.video[0].sample_aspect_ratio == (Fraction(3, 4) if turned else Fraction(4, 3))


SPACES = [
    {},
    {'colorspace': 1, 'color_range': 1, 'color_primaries': 1, 'color_trc': 1},
    {'colorspace': 1, 'color_range': 2, 'color_primaries': 1, 'color_trc': 13},
    {'colorspace': 5, 'color_range': 1, 'color_primaries': 5, 'color_trc': 6},
    {'colorspace': 6, 'color_range': 2},
    {'colorspace': 9, 'color_range': 1, 'color_primaries': 9, 'color_trc': 14},
]


@pytest.mark.parametrize('ending', ['.mp4', '.mkv', '.webm'])
@pytest.mark.parametrize('tags', SPACES, ids=str)
def test_colours_do_not_shift(tmp_path, ending, tags):
    flat = [np.full((48, 64, 3), colour, np.uint8) for colour in (RED, GREY, (20, 90, 210), (255, 255, 255), (0, 0, 0))]
    source = make(tmp_path / 'a.mkv', STEADY[:5], frames=iter(flat), sound=None, **tags)
    given: list[np.ndarray] = []
    upscale_video(source, tmp_path / f'b{ending}', lambda frame: (given.append(frame), twice(frame))[1], crf=3)
    for frame, (_, result), wanted in zip(given, frames_of(tmp_path / f'b{ending}'), flat, strict=True):
        assert near(frame, wanted[0, 0])
        assert near(result, wanted[0, 0])
    with av.open(str(tmp_path / f'b{ending}')) as container:
        context = container.streams.video[0].codec_context
        assert context.color_range == 1
        assert context.colorspace == tags.get('colorspace', 6)
        if ending != '.webm':
            assert context.color_primaries == tags.get('color_primaries', tags.get('colorspace', 6))
            assert context.color_trc == tags.get('color_trc', 6)


@pytest.mark.parametrize(('height', 'width', 'matrix'), [(720, 1280, 1), (576, 720, 5), (480, 640, 5)])
def test_untagged_colours_are_those_that_players_take_and_are_then_told(tmp_path, height, width, matrix):
    flat = iter([np.full((height, width, 3), RED, np.uint8)])
    source = make(tmp_path / 'a.mp4', [0], frames=flat, sound=None, matrix=matrix)
    upscale_video(source, tmp_path / 'b.mp4', twice, crf=3)
    assert near(frames_of(tmp_path / 'b.mp4')[0][1], RED)
    with av.open(str(tmp_path / 'b.mp4')) as container:
        assert container.streams.video[0].codec_context.colorspace == {720: 1, 576: 5, 480: 6}[height]


def test_a_video_of_odd_size(tmp_path):
    source = make(tmp_path / 'a.webm', STEADY[:3], frames=odd(3), codec='libvpx-vp9', pixels='yuv444p', sound=None)
    [note] = upscale_video(source, tmp_path / 'b.mp4', thrice, crf=3)
    assert '75x63 become 76x64' in note
    [(_, frame), *_] = frames_of(tmp_path / 'b.mp4')
    assert frame.shape == (64, 76, 3)
    assert abs(frame[-1].astype(int) - frame[-2]).mean() < 3
    assert upscale_video(source, tmp_path / 'b.webm', thrice) == []
    assert frames_of(tmp_path / 'b.webm')[0][1].shape == (63, 75, 3)


def odd(frames: int) -> Iterator[np.ndarray]:
    ramp = np.linspace(20, 220, 25).astype(np.uint8)
    return (np.broadcast_to(ramp[None, :, None], (21, 25, 3)).copy() for _ in range(frames))


def test_deep_and_hdr_videos_say_what_becomes_of_them(tmp_path):
    deep = make(tmp_path / 'deep.mkv', STEADY[:2], pixels='yuv420p10le', sound=None)
    assert upscale_video(deep, tmp_path / 'b.mp4', twice) == ['its 10 bits become 8']
    pq = {'colorspace': 9, 'color_range': 1, 'color_primaries': 9, 'color_trc': 16}
    hdr = make(tmp_path / 'hdr.mkv', STEADY[:2], pixels='yuv420p10le', sound=None, **pq)
    [note] = upscale_video(hdr, tmp_path / 'c.mp4', twice)
    assert 'stays HDR' in note
    with av.open(str(tmp_path / 'c.mp4')) as container:
        context = container.streams.video[0].codec_context
        assert (context.colorspace, context.color_primaries, context.color_trc) == (9, 9, 16)


def test_interlaced_and_transparent_videos_say_what_becomes_of_them(tmp_path):
    clear = np.zeros((48, 64, 4), np.uint8)
    clear[:, 32:] = (*RED, 255)
    clear[:, :32] = (255, 255, 255, 0)
    source = make(tmp_path / 'a.mkv', [0, 512], frames=iter([clear, clear]), codec='ffv1', pixels='bgra', sound=None)
    [note] = upscale_video(source, tmp_path / 'b.mp4', twice, crf=3)
    assert 'transparency' in note
    frame = frames_of(tmp_path / 'b.mp4')[0][1]
    assert near(frame[:, :60], (0, 0, 0), 3)
    assert near(frame[:, 68:], RED, 3)

    def set_up(container, video) -> None:
        video.codec_context.flags |= av.codec.context.Flags.interlaced_dct | av.codec.context.Flags.interlaced_me

    source = make(tmp_path / 'i.mp4', list(range(12)), set_up=set_up, codec='mpeg2video', tick=Fraction(1, 25))
    [note] = upscale_video(source, tmp_path / 'c.mp4', twice)
    assert 'interlaced' in note
