"""Tables of tests in the paper's layout, and of training runs."""

from collections.abc import Sequence
from pathlib import Path

from reporting.grid import Cell, Grid
from reporting.models import model_of
from reporting.runs import Tested, Training
from sst.checkpoints.networks import built
from sst.rivals.figures import published_figures
from sst.utils.errors import UserError

ORDER = ('Set5', 'Set14', 'BSD100', 'Urban100', 'Manga109', 'DIV2K-val', 'LSDIR-val')  # of the paper's tables


def quality(tests: Sequence[Tested]) -> list[Grid]:
    """A table for each scale: a row for each test, PSNR and SSIM of each set, published figures of its model beside."""
    grids = []
    for scale in sorted({test.options['scale'] for test in tests}):
        here = [test for test in tests if test.options['scale'] == scale]
        sets = {name for test in here for name in test.sets}
        shown = [*(name for name in ORDER if name in sets), *sorted(sets - set(ORDER))]
        metrics = list(dict.fromkeys(m for test in here for row in test.sets.values() for m in row if m != 'images'))
        columns = [(name, metric) for name in shown for metric in metrics]
        headings = ['run', 'model', 'parameters (M)', *(f'{name} {metric.upper()}' for name, metric in columns)]
        grid = Grid(f'x{scale}: tests', headings)
        for test in here:
            model = model_of(test.options)
            published = published_figures(model, scale)
            cells: list[Cell | str] = [test.name, model, _parameters(test, published.get('parameters'))]
            for name, metric in columns:
                theirs = published['sets'].get(name, {}).get(metric)
                cells.append(
                    Cell(_figure(metric, test.sets.get(name, {}).get(metric)), _figure(metric, theirs)),
                )
            grid.add(*cells)
        if any(cell.published for row in grid.rows for cell in row):
            grid.notes.append('Small or grey: published; trained on DF2K or DIV2K, or on DFLIP where nothing else was.')
        grids.append(grid)
    return grids


def training(runs: Sequence[Training]) -> Grid:
    """A row for each training run: how far it is, what a step takes, its last figures of validation."""
    grid = Grid('Training', ['run', 'model', 'iterations', 's/step', 'GB', 'loss', 'validation'])
    for run in runs:
        total = run.options.get('train', {}).get('total_iter', 0)
        loss = next((tag for tag in sorted(run.curves) if tag.startswith('losses/')), '')
        figures = [
            f'{tag.split("/")[1]} {values[-1]:.2f} dB'
            for tag, (_, values) in sorted(run.curves.items())
            if tag.startswith('metrics/') and tag.endswith('/psnr') and values
        ]
        last = run.curves[loss][1][-1] if loss else None
        grid.add(
            run.name,
            f'{model_of(run.options)} x{run.options.get("scale")}',
            f'{run.iteration:,} of {total:,}',
            _number(run.median('time')),
            _number(run.median('memory')),
            _number(last),
            ', '.join(figures),
        )
    return grid.without_empty_columns()


def found(root: Path, names: Sequence[str]) -> tuple[list[Tested], list[Training]]:
    """The tests and training runs below a folder, by name.

    Raises:
        UserError: a name is not there, or there is nothing at all.
    """
    tests = [test for folder in _folders(root / 'results') if (test := Tested(folder)).sets and test.options]
    runs = [run for folder in _folders(root / 'experiments') if (run := Training(folder)).options]
    if names:
        known = {test.name for test in tests} | {run.name for run in runs}
        if missing := [name for name in names if name not in known]:
            raise UserError(f'--runs {",".join(missing)}: not there; known are {", ".join(sorted(known)) or "none"}')
        tests, runs = [t for t in tests if t.name in names], [r for r in runs if r.name in names]
    if not tests and not runs:
        raise UserError(
            f'{root}: no run in experiments/ and no finished test in results/; train or test first, or name --root'
        )
    return tests, runs


def _folders(parent: Path) -> list[Path]:
    return sorted(path for path in parent.iterdir() if path.is_dir()) if parent.is_dir() else []


def _parameters(test: Tested, published: float | None) -> Cell:
    try:
        net = built(test.options['network_g'], 'meta')
        ours = f'{sum(weight.numel() for weight in net.parameters()) / 1e6:.3f}'
    except UserError:  # of a package that is not installed here
        ours = ''
    return Cell(ours, f'{published / 1e6:.3f}' if published else '')


def _figure(metric: str, value: float | None) -> str:
    if value is None:
        return ''
    return f'{value:.2f}' if metric in ('psnr', 'musiq') else f'{value:.4f}'


def _number(value: float | None) -> str:
    return '' if value is None else f'{value:.3g}'
