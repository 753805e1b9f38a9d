"""Damage done to files and values, at random."""

import random
from typing import Any

import torch

NASTY_TEXTS = [
    '', ' ', '\0', '/', '..', '../../etc/passwd', '~', '${x}', '${train}', '*a', '&a [*a]',
    '!!python/object:os.system',
    '1e999', '-1', '0', '1e-400', '9' * 40, '0x10', 'true', 'null', '[]', '{}', '[[[[[[', '{a: {a: {a: 1}}}', '- x',
    '#', '\ud7ff', '\u202e', 'a' * 5000, 'NaN', '.inf', "'", '"', ': :', '%', '@', '`', '\t', '<<: *a', '2**31',
    '1.5', 'C:\\x',
]  # fmt: skip
NASTY_VALUES: list[Any] = [
    None, True, 0, -1, 2**70, 1.5, float('nan'), float('inf'), '', 'text', '../..', [], [1], {}, {'a': 1}, (), [[[]]],
    b'bytes', torch.zeros(0), torch.full((2, 2), float('nan')), torch.zeros(3, dtype=torch.int64), [None] * 3,
]  # fmt: skip


def damaged(rng: random.Random, content: bytes) -> bytes:
    """Bytes with flipped bits, pieces cut out, doubled, overwritten or put elsewhere."""
    data = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 5])):
        if not data:
            break
        # headers are where most of the meaning lies
        place = rng.randrange(min(len(data), 256)) if rng.random() < 0.4 else rng.randrange(len(data))
        length = min(rng.choice([1, 4, 16, 200]), len(data) - place)
        match rng.randrange(8):
            case 0 | 1:
                data[place] ^= 1 << rng.randrange(8)
            case 2:
                del data[place:]
            case 3:
                del data[place : place + length]
            case 4:
                data[place:place] = data[place : place + length]
            case 5:
                data[place : place + length] = bytes([rng.choice([0, 255])]) * length
            case 6:
                data[place : place + length] = rng.randbytes(length)
            case 7:
                data[place:place] = rng.choice(NASTY_TEXTS).encode(errors='surrogatepass')
    return bytes(data)


def damaged_text(rng: random.Random, text: str) -> str:
    """Lines of YAML or of a list, some of them with other values, indents or places."""
    lines = text.splitlines()
    for _ in range(rng.choice([1, 1, 2, 4])):
        place = rng.randrange(len(lines))
        match rng.randrange(6):
            case 0 | 1:
                key, colon, _ = lines[place].partition(':')
                lines[place] = f'{key}{colon} {rng.choice(NASTY_TEXTS)}'
            case 2:
                lines.insert(place, lines[rng.randrange(len(lines))])
            case 3:
                lines[place] = ' ' * rng.randrange(8) + lines[place].strip()
            case 4:
                del lines[place]
            case 5:
                at = rng.randrange(len(lines[place]) + 1)
                lines[place] = lines[place][:at] + rng.choice(NASTY_TEXTS) + lines[place][at:]
        if not lines:
            return ''
    return '\n'.join(lines)


def damaged_value(rng: random.Random, value: Any) -> Any:
    """A copy of nested mappings and lists in which one entry is missing, too much or another."""
    if isinstance(value, dict) and value and rng.random() < 0.85:
        key = rng.choice(list(value))
        rest = dict(value)
        match rng.randrange(8):
            case 0:
                del rest[key]
            case 1:
                rest[rng.choice(['other', 7, ''])] = rest[key]
            case _:
                rest[key] = damaged_value(rng, value[key])
        return rest
    if isinstance(value, list) and value and rng.random() < 0.7:
        place = rng.randrange(len(value))
        return [damaged_value(rng, item) if index == place else item for index, item in enumerate(value)]
    if isinstance(value, torch.Tensor) and rng.random() < 0.6:
        return rng.choice(
            [value.double(), value.flatten()[:1], value * float('nan'), value[None], value.to(torch.int8)]
        )
    return rng.choice(NASTY_VALUES)
