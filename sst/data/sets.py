"""Datasets from options, with faults that a user can mend."""

from copy import deepcopy
from typing import Any

import basicsr.data  # noqa: F401 - registers BasicSR's datasets

from sst.data import degraded_dataset, downsample_dataset, paired_dataset, real_dataset  # noqa: F401 - register ours
from sst.options.data import roots_of
from sst.options.registries import DATASETS
from sst.utils.errors import UserError


def build_dataset(options: dict[str, Any]) -> Any:
    """Build the dataset (a sized `torch.utils.data.Dataset`) of one `datasets` section of the options.

    Raises:
        UserError: unknown `type`, pictures without partner, unreadable lists, or no picture at all.
    """
    name, kind = options['name'], options['type']
    if kind not in DATASETS:
        there = ', '.join(sorted(DATASETS))
        raise UserError(f'dataset {name}: unknown type "{kind}"; there are: {there}')
    try:
        # not by BasicSR's build_dataset: it opens the log before the run's folder is there
        dataset = DATASETS[kind](deepcopy(options))
    except UserError as fault:
        raise UserError('\n'.join(f'dataset {name}: {line}' for line in str(fault).splitlines())) from fault
    except KeyError as fault:  # BasicSR's datasets look up what they need
        raise UserError(f'dataset {name}: {kind} needs the option {fault}') from fault
    except (OSError, ValueError, AssertionError, AttributeError) as fault:
        raise UserError(f'dataset {name}: {str(fault) or type(fault).__name__}') from fault
    if not len(dataset):
        roots = ', '.join(roots_of(options.get('dataroot_gt') or options.get('dataroot_lq') or []))
        advice = options.get('prepare') or 'put pictures there, or name another folder'
        raise UserError(f'dataset {name}: no pictures in {roots}; {advice}')
    return dataset
