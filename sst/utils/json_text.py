"""JSON that every reader takes."""

import json
import math
from typing import Any


def json_text(content: Any, **layout: Any) -> str:
    """`content` as JSON; `layout` as for `json.dumps`.

    JSON has no numbers that are not finite. They become the texts "inf", "-inf" and "nan", which `float` reads.
    """
    return json.dumps(_finite(content), allow_nan=False, **layout)


def _finite(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    return str(float(content)) if isinstance(content, float) and not math.isfinite(content) else content
