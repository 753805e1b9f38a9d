"""Every frame at its time, and sound, subtitles and all else as they were."""

import os
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from video_files import STEADY, TICK, VARIED, duration_of, frames_of, make, noise, number, packets_of, times_of, twice

from sst.upscaling.videos import VIDEO_ENDINGS, VideoInfo, is_video, probe, upscale_video

av = pytest.importorskip('av')


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
