"""A video comes back larger, with every frame at its time and everything else as it was; or not at all, in one line."""

import os
import resource
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from sst.inference.videos import VIDEO_ENDINGS, VideoInfo, is_video, probe, upscale_video
from sst.utils.errors import UserError

av = pytest.importorskip('av')

LUMA = {1: (0.2126, 0.0722), 2: (0.299, 0.114), 5: (0.299, 0.114), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}  # Kr, Kb
TICK = Fraction(1, 12800)
STEADY = [512 * index for index in range(12)]
VARIED = [0, 100, 612, 900, 2000, 2008, 9000, 9512, 10024, 10536, 11048, 12000]
RED, GREY = (200, 40, 30), (120, 120, 120)


def twice(frame: np.ndarray) -> np.ndarray:
    return frame.repeat(2, axis=0).repeat(2, axis=1)


def thrice(frame: np.ndarray) -> np.ndarray:
    return frame.repeat(3, axis=0).repeat(3, axis=1)


def counted(index: int, height: int = 48, width: int = 64) -> np.ndarray:
    """A frame that shows its number: black and white blocks, the lowest bit on the left. Its upper right is red."""
    frame = np.full((height, width, 3), 60, np.uint8)
    for bit in range(5):
        frame[height // 2 :, bit * width // 5 : (bit + 1) * width // 5] = 255 * (index >> bit & 1)
    frame[: height // 4, width // 2 :] = RED
    return frame


def number(frame: np.ndarray) -> int:
    height, width = frame.shape[:2]
    row = frame[3 * height // 4, :, 1]
    return sum(int(row[(2 * bit + 1) * width // 10] > 128) << bit for bit in range(5))


def make(
    path: Path,
    times: list[int] = STEADY,
    *,
    frames: Iterator[np.ndarray] | None = None,
    codec: str = 'libx264',
    pixels: str = 'yuv420p',
    sound: str | None = 'aac',
    tick: Fraction = TICK,
    matrix: int | None = None,
    set_up=lambda container, video: None,
    fill=lambda container: None,
    **video_fields,
) -> Path:
    """A small clip; `set_up` may add streams before, `fill` packets after its own."""
    lossless = {'libx264': {'crf': '0'}, 'libvpx-vp9': {'crf': '4'}}.get(codec, {})
    options = {'video_track_timescale': str(tick.denominator)}
    with av.open(str(path), 'w', container_options=options) as container:
        video = container.add_stream(codec, rate=25, options=lossless)
        pictures = list(frames or (counted(index) for index in range(len(times))))
        video.height, video.width = pictures[0].shape[:2]
        video.pix_fmt, video.codec_context.time_base = pixels, tick
        for name, value in video_fields.items():
            setattr(video.codec_context, name, value)
        audio = container.add_stream(sound, rate=48000) if sound else None
        set_up(container, video)
        for picture, time in zip(pictures, times, strict=True):
            if pixels == 'yuv420p':
                tags = video_fields.get('colorspace', 2), video_fields.get('color_range', 1)
                frame = encoded(picture, matrix or tags[0], tags[1])
            else:
                frame = av.VideoFrame.from_ndarray(picture, 'rgba' if picture.shape[2] == 4 else 'rgb24')
                frame = frame.reformat(format=pixels)
            frame.pts, frame.time_base = time, tick
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if audio:
            for frame in noise(24):
                container.mux(audio.encode(frame))
            container.mux(audio.encode(None))
        fill(container)
    return path


def encoded(rgb: np.ndarray, matrix: int, color_range: int):
    """A frame of yuv420p by the equations of ITU-T H.273."""
    kr, kb = LUMA[matrix]
    red, green, blue = np.moveaxis(rgb / 255, 2, 0)
    luma = kr * red + (1 - kr - kb) * green + kb * blue
    chroma = [(blue - luma) / (2 - 2 * kb), (red - luma) / (2 - 2 * kr)]
    height, width = luma.shape
    chroma = [plane.reshape(height // 2, 2, width // 2, 2).mean(axis=(1, 3)) for plane in chroma]
    limited = color_range == 1
    planes = [
        16 + 219 * luma if limited else 255 * luma,
        *(128 + (224 if limited else 255) * plane for plane in chroma),
    ]
    values = np.concatenate([np.rint(plane).clip(0, 255).astype(np.uint8).reshape(-1, width) for plane in planes])
    return av.VideoFrame.from_ndarray(values, 'yuv420p')


def seen(frame) -> np.ndarray:
    """(H, W, 3) RGB of a frame of yuv420p by the equations of ITU-T H.273, as its tags say."""
    kr, kb = LUMA[frame.colorspace]
    luma, *chroma = (
        np.frombuffer(plane, np.uint8).reshape(plane.height, -1)[:, : plane.width] for plane in frame.planes
    )
    full = frame.color_range == 2
    luma = luma / 255 if full else (luma - 16.0) / 219
    chroma = [twice((plane - 128.0) / (255 if full else 224))[: luma.shape[0], : luma.shape[1]] for plane in chroma]
    red, blue = luma + (2 - 2 * kr) * chroma[1], luma + (2 - 2 * kb) * chroma[0]
    green = (luma - kr * red - kb * blue) / (1 - kr - kb)
    return np.rint(255 * np.stack([red, green, blue], axis=2)).clip(0, 255).astype(np.uint8)


def noise(frames: int) -> Iterator:
    rng = np.random.default_rng(0)
    for index in range(frames):
        samples = (0.1 * rng.standard_normal((2, 960))).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(samples, 'fltp', 'stereo')
        frame.sample_rate, frame.pts, frame.time_base = 48000, 960 * index, Fraction(1, 48000)
        yield frame


def frames_of(path: Path) -> list[tuple[Fraction, np.ndarray]]:
    """Time in seconds and (H, W, 3) RGB, as a player that heeds the tags shows it."""
    with av.open(str(path)) as container:
        return [(frame.pts * frame.time_base, seen(frame)) for frame in container.decode(video=0)]


def times_of(path: Path) -> list[Fraction]:
    return [time for time, _ in frames_of(path)]


def packets_of(path: Path, kind: str) -> list[tuple[Fraction, Fraction, bytes]]:
    """Time, duration and content of every packet of a kind, streams one after the other."""
    with av.open(str(path)) as container:
        chosen = [stream for stream in container.streams if stream.type == kind]
        every = [packet for packet in container.demux(*chosen) if packet.size]
        every.sort(key=lambda packet: packet.stream.index)
        return [(p.pts * p.time_base, p.duration * p.time_base, bytes(p)) for p in every]


def duration_of(path: Path) -> Fraction:
    """In seconds, as the header tells it."""
    content = path.read_bytes()
    if (place := content.find(b'mvhd')) >= 0:  # FFmpeg computes another from decoding times
        clock, ticks = struct.unpack('>2I', content[place + 16 : place + 24])
        return Fraction(ticks, clock)
    with av.open(str(path)) as container:
        return Fraction(container.duration, 1_000_000)


def near(one: np.ndarray, colour: tuple[int, ...], within: int = 2) -> bool:
    return bool((abs(one.astype(int) - np.array(colour)) <= within).all())


@pytest.mark.parametrize('times', [STEADY, VARIED, [time + 6400 for time in VARIED]], ids=['steady', 'varied', 'late'])
@pytest.mark.parametrize('ending', ['.mp4', '.mov', '.m4v'])
def test_every_frame_at_its_time_and_all_sound(tmp_path, times, ending):
    source, target = make(tmp_path / 'a.mp4', times), tmp_path / f'b{ending}'
    calls: list[tuple[int, int | None]] = []
    assert upscale_video(source, target, twice, progress=lambda *call: calls.append(call)) == []
    shown = frames_of(target)
    assert [time for time, _ in shown] == times_of(source)
    assert [number(frame) for _, frame in shown] == list(range(12))
    assert shown[0][1].shape == (96, 128, 3)
    assert packets_of(target, 'audio') == packets_of(source, 'audio')
    assert abs(duration_of(target) - duration_of(source)) < Fraction(1, 500)
    with av.open(str(target)) as container:
        assert container.streams.video[0].time_base == TICK
    assert calls == [(done, 12) for done in range(1, 13)]
    assert sorted(os.listdir(tmp_path)) == ['a.mp4', f'b{ending}']


@pytest.mark.parametrize(
    ('first', 'second'), [('.mkv', '.mkv'), ('.mkv', '.mp4'), ('.webm', '.webm'), ('.webm', '.mkv')]
)
def test_matroska(tmp_path, first, second):
    codec, sound = ('libvpx-vp9', 'libopus') if first == '.webm' else ('libx264', 'aac')
    source = make(tmp_path / f'a{first}', [13, 50, 90, 400, 440], codec=codec, sound=sound, tick=Fraction(1, 1000))
    target = tmp_path / f'b{second}'
    assert upscale_video(source, target, twice) == []
    assert times_of(target) == times_of(source)
    old, new = packets_of(source, 'audio'), packets_of(target, 'audio')
    assert [content for *_, content in new] == [content for *_, content in old]
    assert max(abs(one[0] - other[0]) for one, other in zip(old, new, strict=True)) <= Fraction(1, 24000)
    if second != '.mp4':
        assert abs(duration_of(target) - duration_of(source)) <= Fraction(1, 48)  # a packet of sound


def test_times_that_matroska_cannot_hold_are_rounded_with_a_note(tmp_path):
    source, target = make(tmp_path / 'a.mp4', VARIED), tmp_path / 'b.mkv'
    [note] = upscale_video(source, target, twice)
    assert 'milliseconds' in note
    assert [round(1000 * time) for time in times_of(source)] == [1000 * time for time in times_of(target)]


def test_packets_lie_in_order_of_time(tmp_path):
    source = make(tmp_path / 'a.mkv', [index * 200 for index in range(25)], tick=Fraction(1, 1000))
    upscale_video(source, tmp_path / 'b.mkv', twice)
    with av.open(str(tmp_path / 'b.mkv')) as container:
        times = [packet.dts * packet.time_base for packet in container.demux() if packet.dts is not None]
    assert all(later >= earlier - Fraction(1, 5) for earlier, later in pairwise(times))


def test_streams_tags_chapters_and_attachments_are_kept(tmp_path):
    line = av.Packet(b'What a line')
    chapters = [
        {'id': 1, 'start': 0, 'end': 200, 'time_base': Fraction(1, 1000), 'metadata': {'title': 'One'}},
        {'id': 2, 'start': 200, 'end': 480, 'time_base': Fraction(1, 1000), 'metadata': {'title': 'Two'}},
    ]

    def set_up(container, video) -> None:
        container.metadata.update(title='A title', artist='Nobody', MY_OWN='ä')
        container.set_chapters(chapters)
        video.metadata['title'] = 'the picture'
        for language in ('deu', 'fra'):
            container.add_stream('libopus', rate=48000).metadata['language'] = language
        subtitles = container.add_mux_stream('subrip', time_base=Fraction(1, 1000))
        subtitles.metadata['language'] = 'swe'
        subtitles.disposition = av.stream.Disposition.forced
        container.add_attachment('font.ttf', 'font/ttf', b'letters')

    def fill(container) -> None:
        for stream in container.streams.audio[1:]:
            for frame in noise(12):
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        line.stream, line.time_base = container.streams.subtitles[0], Fraction(1, 1000)
        line.pts = line.dts = 100
        line.duration = 150
        container.mux(line)

    source, target = make(tmp_path / 'a.mkv', set_up=set_up, fill=fill), tmp_path / 'b.mkv'
    assert upscale_video(source, target, twice) == []
    for kind in ('audio', 'subtitle'):
        assert packets_of(target, kind) == packets_of(source, kind)
    with av.open(str(source)) as old, av.open(str(target)) as new:
        assert [stream.type for stream in new.streams] == [stream.type for stream in old.streams]
        assert [stream.language for stream in new.streams] == [stream.language for stream in old.streams]
        assert [stream.disposition for stream in new.streams] == [stream.disposition for stream in old.streams]
        assert new.streams.video[0].metadata['title'] == 'the picture'
        assert new.metadata == old.metadata
        assert new.chapters() == old.chapters()
        assert new.streams.attachments[0].data == b'letters'
    notes = upscale_video(source, tmp_path / 'c.mp4', twice)
    assert any('subtitle (srt) is left out' in note for note in notes)
    assert any('attachment is left out' in note for note in notes)
    assert any('MY_OWN' in note for note in notes)
    with av.open(str(tmp_path / 'c.mp4')) as container:
        assert container.metadata['title'] == 'A title'
        assert [chapter['metadata']['title'] for chapter in container.chapters()] == ['One', 'Two']
        assert [stream.language for stream in container.streams.audio] == ['und', 'deu', 'fra']


@pytest.mark.parametrize(('first', 'second'), [('.mp4', '.mp4'), ('.mp4', '.mkv'), ('.mkv', '.mkv'), ('.mkv', '.mp4')])
def test_a_cover_picture_is_kept(tmp_path, first, second):
    encoder = av.CodecContext.create('png', 'w')
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = 16, 16, 'rgb24', Fraction(1, 25)
    [cover] = encoder.encode(av.VideoFrame.from_ndarray(np.full((16, 16, 3), 9, np.uint8), 'rgb24'))

    def set_up(container, video) -> None:
        if first == '.mkv':
            container.add_attachment('cover.png', 'image/png', bytes(cover))
        else:
            stream = container.add_stream('png', rate=25)
            stream.width, stream.height, stream.pix_fmt = 16, 16, 'rgb24'
            stream.disposition = av.stream.Disposition.attached_pic

    def fill(container) -> None:
        if first == '.mp4':
            cover.stream = container.streams.video[1]
            container.mux(cover)

    source = make(tmp_path / f'a{first}', set_up=set_up, fill=fill)
    assert upscale_video(source, tmp_path / f'b{second}', twice) == []
    with av.open(str(tmp_path / f'b{second}')) as container:
        [picture] = [s for s in container.streams.video if s.disposition & av.stream.Disposition.attached_pic]
        assert bytes(next(container.demux(picture))) == bytes(cover)
    assert len(frames_of(tmp_path / f'b{second}')) == 12


def test_of_several_videos_the_first(tmp_path):
    def set_up(container, video) -> None:
        container.add_stream('libx264', rate=25)

    def fill(container) -> None:
        second = container.streams.video[1]
        frame = av.VideoFrame(640, 480, 'yuv420p')
        frame.pts, frame.time_base = 0, Fraction(1, 25)
        container.mux([*second.encode(frame), *second.encode(None)])

    source = make(tmp_path / 'a.mkv', set_up=set_up, fill=fill)
    [note] = upscale_video(source, tmp_path / 'b.mkv', twice)
    assert 'only the first is enlarged' in note
    assert frames_of(tmp_path / 'b.mkv')[0][1].shape == (96, 128, 3)


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


def test_sound_that_the_target_cannot_hold_is_refused_at_once(tmp_path):
    source = make(tmp_path / 'a.mp4')
    with pytest.raises(UserError, match=r'webm cannot hold its sound as it is \(aac\); write .mkv'):
        upscale_video(source, tmp_path / 'b.webm', never)
    assert os.listdir(tmp_path) == ['a.mp4']


def never(frame: np.ndarray) -> np.ndarray:
    raise AssertionError('nothing should be enlarged')


@pytest.mark.parametrize('name', ['b.avi', 'b.gif', 'b', 'b.png'])
def test_other_endings_are_refused(tmp_path, name):
    with pytest.raises(UserError, match='none of the endings that can be written: .mp4, .m4v, .mov, .mkv, .webm'):
        upscale_video(make(tmp_path / 'a.mp4'), tmp_path / name, never)


@pytest.mark.parametrize(('crf', 'name'), [(-1, 'b.mp4'), (52, 'b.mp4'), (64, 'b.webm')])
def test_an_impossible_crf_is_refused(tmp_path, crf, name):
    with pytest.raises(UserError, match='crf must be from 0 to'):
        upscale_video(make(tmp_path / 'a.mp4'), tmp_path / name, never, crf=crf)


def test_the_source_is_not_written_over(tmp_path):
    source = make(tmp_path / 'a.mp4')
    (tmp_path / 'b.mp4').symlink_to(source)
    for target in (source, tmp_path / 'b.mp4'):
        with pytest.raises(UserError, match='it is the video that is to be enlarged'):
            upscale_video(source, target, never)


NO_VIDEOS = {
    'no such file': lambda path: None,
    'a folder': lambda path: path.mkdir(),
    'a device or pipe': lambda path: os.mkfifo(path),
    'it is empty': lambda path: path.write_bytes(b''),
    'it is a text file': lambda path: path.write_text('#EXTM3U\nfile:///etc/passwd\n'),
    'of another kind': lambda path: path.write_bytes(np.random.default_rng(0).bytes(5000)),
    'holds no video, only: audio': lambda path: only_sound(path),
}


def only_sound(path: Path) -> None:
    with av.open(str(path), 'w', format='mp4') as container:
        stream = container.add_stream('aac', rate=48000)
        for frame in noise(3):
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


@pytest.mark.parametrize('what', NO_VIDEOS)
@pytest.mark.parametrize('look', [probe, lambda path: upscale_video(path, path.with_name('b.mp4'), never)])
def test_what_is_no_video_is_refused_in_one_line(tmp_path, what, look):
    path = tmp_path / 'a.mp4'
    NO_VIDEOS[what](path)
    with pytest.raises(UserError, match=what) as caught:
        look(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert not (tmp_path / 'b.mp4').exists()


@pytest.mark.parametrize('ending', ['.mp4', '.mkv', '.avi'])
@pytest.mark.parametrize('share', [0.3, 0.7, 0.98])
def test_a_video_that_is_cut_off_is_refused_before_any_work(tmp_path, ending, share):
    codec = (
        {'sound': None, 'codec': 'mpeg4', 'times': list(range(12)), 'tick': Fraction(1, 25)} if ending == '.avi' else {}
    )
    content = make(tmp_path / f'a{ending}', **codec).read_bytes()
    (tmp_path / f'a{ending}').write_bytes(content[: int(share * len(content))])
    with pytest.raises(UserError, match=r'is cut off: its last [\d,]+ bytes are missing|cannot be read as a video'):
        upscale_video(tmp_path / f'a{ending}', tmp_path / 'b.mp4', never)
    assert os.listdir(tmp_path) == [f'a{ending}']


@pytest.mark.parametrize('share', [0.3, 0.5, 0.7])
def test_a_video_that_is_damaged_is_refused_and_the_old_target_stays(tmp_path, share):
    rng = np.random.default_rng(0)
    grain = (rng.integers(0, 256, (48, 64, 3), dtype=np.uint8) for _ in range(12))
    source, target = make(tmp_path / 'a.mp4', frames=grain, sound=None), tmp_path / 'b.mp4'
    content = bytearray(source.read_bytes())
    place = int(share * len(content))
    content[place : place + 2000] = rng.bytes(2000)
    source.write_bytes(content)
    target.write_bytes(b'old')
    with pytest.raises(UserError, match='damaged at about') as caught:
        upscale_video(source, target, twice)
    assert len(str(caught.value).splitlines()) == 1
    assert target.read_bytes() == b'old'
    assert sorted(os.listdir(tmp_path)) == ['a.mp4', 'b.mp4']


def test_a_video_that_ends_before_its_time_is_enlarged_with_a_note(tmp_path):
    source = make(tmp_path / 'a.mkv', sound=None)
    content = source.read_bytes()
    place = content.index(b'\x44\x89\x88') + 3  # the segment's duration, in milliseconds
    assert struct.unpack('>d', content[place : place + 8]) == (480,)
    source.write_bytes(content[:place] + struct.pack('>d', 9000) + content[place + 8 :])
    [note] = upscale_video(source, tmp_path / 'b.mkv', twice)
    assert 'its header tells of 9.0 s, but it ends after 0.5 s' in note
    assert len(frames_of(tmp_path / 'b.mkv')) == 12


@pytest.mark.parametrize('fault', [KeyboardInterrupt, RuntimeError, UserError])
def test_whatever_stops_it_leaves_nothing_behind(tmp_path, fault):
    source, target = make(tmp_path / 'a.mp4'), tmp_path / 'b.mp4'
    target.write_bytes(b'old')
    done: list[int] = []

    def stopping(frame: np.ndarray) -> np.ndarray:
        if len(done) == 5:
            raise fault('stop')
        return twice(frame)

    with pytest.raises(fault, match='stop'):
        upscale_video(source, target, stopping, progress=lambda count, total: done.append(count))
    assert target.read_bytes() == b'old'
    assert sorted(os.listdir(tmp_path)) == ['a.mp4', 'b.mp4']


def test_ctrl_c_leaves_nothing_behind_and_pyav_is_imported_late(tmp_path):
    source = make(tmp_path / 'a.mp4', [512 * index for index in range(25)])
    program = (
        'import sys, time\n'
        'from sst.inference.videos import upscale_video\n'
        'assert "av" not in sys.modules\n'
        'def slow(frame):\n'
        '    print("frame", flush=True)\n'
        '    time.sleep(0.2)\n'
        '    return frame\n'
        'upscale_video(sys.argv[1], sys.argv[2], slow)\n'
    )
    arguments = [sys.executable, '-c', program, str(source), str(tmp_path / 'b.mp4')]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == 'frame\n'
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert 'KeyboardInterrupt' in errors
    assert process.returncode != 0
    assert os.listdir(tmp_path) == ['a.mp4']


def test_folders_that_cannot_be_written_into_are_refused_before_any_work(tmp_path):
    source = make(tmp_path / 'a.mp4')
    with pytest.raises(UserError, match='cannot write .*No such file or directory'):
        upscale_video(source, tmp_path / 'none' / 'b.mp4', never)
    (tmp_path / 'b.mp4').mkdir()
    with pytest.raises(UserError, match='cannot write .*directory'):
        upscale_video(source, tmp_path / 'b.mp4', twice)
    assert sorted(os.listdir(tmp_path)) == ['a.mp4', 'b.mp4']


def test_a_full_disk(tmp_path):
    rng = np.random.default_rng(0)
    grain = (rng.integers(0, 256, (48, 64, 3), dtype=np.uint8) for _ in range(12))
    source, target = make(tmp_path / 'a.mp4', frames=grain), tmp_path / 'b.mp4'
    target.write_bytes(b'old')
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, limits[1]))
    try:
        with pytest.raises(UserError, match='cannot write .*File too large') as caught:
            upscale_video(source, target, twice)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert len(str(caught.value).splitlines()) == 1
    assert target.read_bytes() == b'old'
    assert sorted(os.listdir(tmp_path)) == ['a.mp4', 'b.mp4']


def test_frames_of_changing_size_are_a_mistake_of_the_caller(tmp_path):
    source = make(tmp_path / 'a.mp4')
    sizes = iter(range(2, 30))
    with pytest.raises(ValueError, match='enlarge gave a frame of shape'):
        upscale_video(source, tmp_path / 'b.mp4', lambda frame: frame.repeat(next(sizes), axis=0))


def test_probe_and_names(tmp_path):
    assert probe(make(tmp_path / 'a.mp4')) == VideoInfo(width=64, height=48, frames=12, duration=0.48, fps=25)
    assert probe(make(tmp_path / 'a.mkv', sound=None)) == VideoInfo(64, 48, 12, 0.48, 25)
    assert is_video('A.MP4')
    assert is_video(Path('x.y/b.webm'))
    assert not is_video('a.png')
    assert not is_video('mp4')
    assert {'.mp4', '.mkv', '.mov', '.webm', '.avi', '.m4v'} <= set(VIDEO_ENDINGS)


def test_names_that_ffmpeg_would_take_for_addresses(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make(tmp_path / 'a.mp4').rename(tmp_path / 'pipe:ä 1%d.mp4')
    assert upscale_video('pipe:ä 1%d.mp4', 'concat:b.mp4', twice) == []
    assert len(frames_of(tmp_path / 'concat:b.mp4')) == 12


def test_without_pyav_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'av', None)
    with pytest.raises(UserError, match=r"run: pip install 'sst-sr\[video\]'"):
        upscale_video(tmp_path / 'a.mp4', tmp_path / 'b.mp4', never)
