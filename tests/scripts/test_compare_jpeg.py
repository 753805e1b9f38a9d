"""The picture of what networks make of a JPEG."""

import pytest
from helpers import tiny_options
from PIL import Image

import sst
from compare_jpeg import main
from sst.archs import SST


def test_the_picture_shows_whatever_weights_ship_of_the_names(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr('sst.checkpoints.sources.FOLDER', tmp_path)
    target = tmp_path / 'jpeg.png'
    sst.save_pretrained(SST(**tiny_options(num_blocks=1)), tmp_path / 'SST-tiny-x2.safetensors')
    with pytest.raises(SystemExit, match='2'):
        main(['-o', str(target)])
    assert capsys.readouterr().err.startswith('error: SST-tiny-robust-x2: no such file')
    assert not target.exists()
    sst.save_pretrained(SST(**tiny_options(num_blocks=1)), tmp_path / 'SST-tiny-robust-x2.safetensors')
    main(['-o', str(target)])
    assert min(Image.open(target).size) > 500
