"""Small clips made for tests, and what a player shows of a clip."""

import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

av = pytest.importorskip('av')

LUMA = {1: (0.2126, 0.0722), 2: (0.299, 0.114), 5: (0.299, 0.114), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}  # Kr, Kb
TICK = Fraction(1, 12800)
STEADY = [512 * index for index in range(12)]
VARIED = [0, 100, 612, 900, 2000, 2008, 9000, 9512, 10024, 10536, 11048, 12000]
RED, GREY = (200, 40, 30), (120, 120, 120)


def twice(frame: np.ndarray) -> np.ndarray:
    return frame.repeat(2, axis=0).repeat(2, axis=1)


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


def planes_of(path: Path) -> list[np.ndarray]:
    """Of every frame of yuv420p its planes, one above the other, (3 H / 2, W) uint8."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray() for frame in container.decode(video=0)]


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
