"""The page: its parts and what they do. It is imported only if gradio is installed."""

import html
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import gradio as gr
from fastapi import FastAPI
from gradio import processing_utils
from starlette.types import ASGIApp

from sst.api import Upscaler
from sst.archs.sstreal_start import checked_seed
from sst.upscaling.web.enlarging import SCALES, Result, enlarge_upload, preview_upload
from sst.upscaling.web.examples import write_examples
from sst.upscaling.web.gate import Gate
from sst.upscaling.web.models import device_name
from sst.upscaling.web.storage import Storage
from sst.utils.errors import UserError

_STYLE = Path(__file__).with_name('page.css')
_OTHER = 'other'
_KEPT = 3600  # seconds that uploads and results are kept
_MOST = 2 * 10**9  # bytes that uploads and results take together, where pictures are not very large
_FONTS = ('system-ui', '-apple-system', 'Segoe UI', 'Roboto', 'Helvetica', 'Arial', 'sans-serif')
_INTRODUCTION = """
<h1>Enlarge a picture</h1>
<p>SST is a super-resolution Transformer: it makes photographs larger and keeps their edges and textures sharp, where
ordinary enlarging blurs them.</p>
"""
_PRIVACY = """
<p>Pictures are computed on the computer that runs this page. Nothing is sent to the internet; files are deleted after
an hour, and all of them when the program ends.</p>
"""
_HINT = '<p></p><p>Left of the line you will see ordinary enlarging, right of it the network.</p>'


class Page:
    """The page for some networks.

    Args:
        models (Mapping[str, Upscaler]): what it offers, by name.
        folder (Path): where everything that is uploaded or made lies.
        max_megapixels (float): of a dropped picture.
        max_disk (float | None): GB of all that is uploaded or made; None for what suits the pictures.
    """

    def __init__(
        self, models: Mapping[str, Upscaler], folder: Path, max_megapixels: float, max_disk: float | None
    ) -> None:
        self.models = dict(models)
        self.folder = folder
        self.max_pixels = max_megapixels * 1e6
        needed = int(64e6 + 16 * self.max_pixels)  # bytes of a file; 16 a pixel are more than any picture takes
        most = max(_MOST, 4 * needed) if max_disk is None else int(max_disk * 1e9)
        self.largest_file = min(needed, most // 4)
        self.examples = write_examples(Path(tempfile.mkdtemp(dir=folder)))
        self.blocks = self._build()
        self.storage = Storage(folder, most)

    def look(self, upload: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
        """What is shown of a file that was dropped: a small picture and its size, or what is wrong with it."""
        if upload is None:
            return gr.update(value=None, visible=False), gr.update(visible=False)
        try:
            preview, (width, height) = preview_upload(Path(upload), self._new_folder(), self.max_pixels)
        except UserError as error:
            wrong = f'<p class="wrong">{html.escape(str(error))}</p>'
            return gr.update(value=None, visible=False), gr.update(value=wrong, visible=True)
        size = f'<p>{width} × {height} pixels</p>'
        return gr.update(value=str(preview), visible=True), gr.update(value=size, visible=True)

    def enlarge(
        self, upload: str | None, model: str, choice: str, other: float | None, seed: float | None = None
    ) -> tuple[Any, str, Any]:
        """The two pictures to compare, what is said about them, and the file to download."""
        upscaler = self.models[model]
        try:
            if upscaler.starts_from_noise:
                upscaler = upscaler.with_noise(seed=_checked_seed(seed))
            result = self._enlarged(upload, choice, other, upscaler)
        except UserError as error:
            raise gr.Error(html.escape(str(error)), duration=None, print_exception=False) from error
        facts = _facts(result, model, device_name(upscaler.device))
        return (str(result.before), str(result.after)), facts, gr.update(value=str(result.file), interactive=True)

    def _enlarged(self, upload: str | None, choice: str, other: float | None, upscaler: Upscaler) -> Result:
        if upload is None:
            raise UserError('there is no picture yet; drop one, or choose an example')
        scale = other if choice == _OTHER else float(choice)
        if scale is None:
            raise UserError(f'no scale is given; type a number from {SCALES[0]} to {SCALES[1]}')
        return enlarge_upload(Path(upload), upscaler, scale, self._new_folder(), self.max_pixels)

    def _new_folder(self) -> Path:
        with self.storage.room_for(0):
            return Path(tempfile.mkdtemp(dir=self.folder))

    def _build(self) -> gr.Blocks:
        with gr.Blocks(title='SST', fill_width=True, analytics_enabled=False, delete_cache=(300, _KEPT)) as blocks:
            gr.HTML(_INTRODUCTION, elem_id='introduction')
            with gr.Row(equal_height=False):
                with gr.Column(scale=4, min_width=300):
                    upload = self._upload()
                    model, choice, other, seed = self._choices()
                    button = gr.Button('Enlarge', variant='primary', elem_id='enlarge')
                with gr.Column(scale=8, min_width=300):
                    comparison = gr.ImageSlider(
                        label='Result',
                        show_label=False,
                        interactive=False,
                        max_height=600,
                        buttons=['fullscreen'],
                        elem_id='comparison',
                    )
                    with gr.Row(elem_id='outcome'):
                        with gr.Column(scale=5, min_width=280):
                            facts = gr.HTML(_HINT, elem_id='facts')
                        download = gr.DownloadButton(
                            'Download', interactive=False, scale=2, min_width=150, elem_id='download'
                        )
            gr.HTML(_PRIVACY, elem_id='privacy')
            button.click(
                self.enlarge,
                [upload, model, choice, other, seed],
                [comparison, facts, download],
                concurrency_limit=1,  # one picture at a time on the device; the others see their place
                show_progress_on=comparison,
                api_visibility='private',
            )
        return blocks

    def _upload(self) -> gr.File:
        """The place to drop a picture, its preview, and the examples."""
        with gr.Column(elem_id='picture'):
            upload = gr.File(label='Picture', file_types=['image'], height=150, elem_id='upload')
            preview = gr.Image(
                visible=False, interactive=False, show_label=False, buttons=[], height=170, elem_id='preview'
            )
            size = gr.HTML(visible=False, elem_id='size')
        upload.change(
            self.look, upload, [preview, size], concurrency_limit=4, show_progress='hidden', api_visibility='private'
        )
        if self.examples:
            examples = gr.Dataset(
                components=[gr.Image(render=False)],
                samples=[[str(example)] for example in self.examples],
                type='index',
                label='Examples',
                elem_id='examples',
            )
            examples.click(
                lambda index: str(self.examples[index]),
                examples,
                upload,
                show_progress='hidden',
                api_visibility='private',
            )
        return upload

    def _choices(self) -> tuple[gr.Dropdown, gr.Radio, gr.Number, gr.Number]:
        """Network, scale, and the seed of networks that start from noise."""
        names = list(self.models)
        first = str(self.models[names[0]].scale)
        choice = gr.Radio(
            [(f'×{scale}', str(scale)) for scale in (2, 3, 4)] + [('other', _OTHER)],
            value=first if first in ('2', '3', '4') else '2',
            label='Scale',
            elem_id='scale',
        )
        other = gr.Number(
            1.5, label='Other scale', minimum=SCALES[0], maximum=SCALES[1], step=0.1, visible=False, elem_id='other'
        )
        model = gr.Dropdown(names, value=names[0], label='Network', elem_id='model')
        noisy = self.models[names[0]].starts_from_noise
        seed = gr.Number(0, label='Seed of the noise', minimum=0, precision=0, visible=noisy, elem_id='seed')
        choice.change(
            lambda chosen: gr.update(visible=chosen == _OTHER),
            choice,
            other,
            show_progress='hidden',
            api_visibility='private',
        )
        model.change(
            lambda name: (
                gr.update(value=str(self.models[name].scale)),
                gr.update(visible=self.models[name].starts_from_noise),
            ),
            model,
            [choice, seed],
            show_progress='hidden',
            api_visibility='private',
        )
        return model, choice, other, seed


def application(
    models: Mapping[str, Upscaler],
    folder: Path,
    host: str,
    names: Iterable[str],
    max_megapixels: float,
    max_disk: float | None,
) -> ASGIApp:
    """The page as a web application; `host` and `names` as for `Gate`, the others as for `Page`."""
    page = Page(models, folder, max_megapixels, max_disk)
    # As its own `launch` would: only then it checks that a request's file is one that was uploaded. Else whoever passes
    # the page by could have any picture of this computer.
    page.blocks.has_launched = True
    # Any value of a request may be an address, which gradio would fetch.
    processing_utils.async_ssrf_protected_download = _fetch_nothing
    app = gr.mount_gradio_app(
        FastAPI(openapi_url=None),
        page.blocks.queue(),
        path='/',
        theme=_theme(),
        css=_STYLE.read_text(encoding='utf-8'),
        footer_links=[],
        show_error=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        max_file_size=page.largest_file,
    )
    return Gate(app, host, names, page.storage, page.largest_file + 4096)  # and what surrounds it in a request


async def _fetch_nothing(url: str, cache_dir: str) -> str:
    raise gr.Error('no address is fetched', print_exception=False)


def _theme() -> gr.themes.Base:
    """The theme: calm colours, the system's fonts, and text that is easy to read in light and dark mode."""
    theme = gr.themes.Default(primary_hue='teal', neutral_hue='stone', font=_FONTS, font_mono=('monospace',))
    return theme.set(
        body_text_color_subdued='*neutral_500',
        body_text_color_subdued_dark='*neutral_400',
        button_primary_background_fill='*primary_700',
        button_primary_background_fill_hover='*primary_800',
    )


def _checked_seed(seed: float | None) -> int:
    try:
        return checked_seed(int(seed or 0))
    except ValueError as error:
        raise UserError(str(error)) from error


def _facts(result: Result, model: str, device: str) -> str:
    (width, height), (wide, high) = result.size_before, result.size_after
    facts = [
        f'<strong>{width} × {height}</strong> to <strong>{wide} × {high}</strong> pixels',
        html.escape(model),
        f'{result.seconds:.1f} s on {html.escape(device)}',
        f'{html.escape(result.file.suffix[1:].upper())}, {_bytes(result.file.stat().st_size)}',
    ]
    line = ' · '.join(f'<span>{fact}</span>' for fact in facts)
    notes = ''.join(f'<p>{html.escape(note)}</p>' for note in result.notes)
    return f'<p>{line}</p>{notes}'


def _bytes(count: int) -> str:
    return f'{count / 1e6:.1f} MB' if count >= 1e5 else f'{count / 1e3:.1f} kB'
