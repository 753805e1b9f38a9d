"""What cannot be enlarged is refused in one line, and nothing is left behind."""

import os
import resource
import signal
import struct
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from video_files import frames_of, make, noise, twice

from sst.upscaling.videos import probe, upscale_video
from sst.utils.errors import UserError

av = pytest.importorskip('av')


def test_sound_that_the_target_cannot_hold_is_refused_at_once(tmp_path):
    source = make(tmp_path / 'a.mp4')
    with pytest.raises(UserError, match=r'webm cannot hold its sound as it is \(aac\); write .mkv'):
        upscale_video(source, tmp_path / 'b.webm', never)
    assert os.listdir(tmp_path) == ['a.mp4']


def never(frame: np.ndarray) -> np.ndarray:
    raise AssertionError('nothing should be enlarged')


@pytest.mark.parametrize('name', ['b.avi', 'b.gif', 'b', 'b.png'])
def test_other_endings_are_refused(tmp_path, name):
    with pytest.raises(UserError, match=r'\.mp4, .*\.webm'):
        upscale_video(make(tmp_path / 'a.mp4'), tmp_path / name, never)
    assert os.listdir(tmp_path) == ['a.mp4']


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
        'from sst.upscaling.videos import upscale_video\n'
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


def test_without_pyav_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'av', None)
    with pytest.raises(UserError, match=r"run: pip install 'sst-sr\[video\]'"):
        upscale_video(tmp_path / 'a.mp4', tmp_path / 'b.mp4', never)
