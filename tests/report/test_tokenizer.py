"""The picture of a tokenizer."""

import numpy as np
from PIL import Image

from holdfast.report.tokenizer import draw_tokenizer


def test_it_is_drawn(tmp_path):
    def draw(name, original, errors, moves):
        path = tmp_path / name
        drawn = draw_tokenizer(
            path, name="fast", original=original, decoded=original + 0.1, tokens=3, error_at_step=errors,
            sensitivity_at=moves, dt=0.1,
        )  # fmt: skip
        assert drawn == path
        with Image.open(path) as picture:
            return np.asarray(picture.convert("RGB")).astype(int)

    wave = np.sin(np.arange(16.0))[:, None] * np.ones(8)
    whole = draw("a.png", wave, [0.1] * 16, [0.5, float("nan"), 0.25])
    assert whole.shape[1] > whole.shape[0] > 400
    # each part of the picture follows its numbers
    halves = np.split(np.arange(whole.shape[1]), [int(0.56 * whole.shape[1])])
    middle = whole.shape[0] // 2
    changes = {
        "chunk": draw("b.png", wave[::-1].copy(), [0.1] * 16, [0.5, float("nan"), 0.25]) != whole,
        "errors": draw("c.png", wave, [0.1, *[0.01] * 15], [0.5, float("nan"), 0.25]) != whole,
        "moves": draw("d.png", wave, [0.1] * 16, [0.5, 0.1, 0.25]) != whole,
    }
    assert changes["chunk"][:, halves[0]].any()
    assert not changes["chunk"][:, halves[1]].any()
    assert changes["errors"][:middle, halves[1]].any()
    assert not changes["errors"][middle:].any()
    assert changes["moves"][middle:, halves[1]].any()
    assert not changes["moves"][:middle].any()
