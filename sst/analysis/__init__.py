"""What a network looks at, and where it errs: attribution maps, biases, attention, gates, spectra, comparisons."""

from sst.analysis.attribution import Attribution, diffusion_index, gini, gradient_strength, local_attribution
from sst.analysis.layers import Capture, attention_distance, bias_map, bias_spectrum, captured, gate_maps
from sst.analysis.receptive_field import ReceptiveField, effective_receptive_field
from sst.analysis.regions import Region, largest_disagreement, largest_error
from sst.analysis.spectrum import error_spectrum

__all__ = [
    'Attribution',
    'Capture',
    'ReceptiveField',
    'Region',
    'attention_distance',
    'bias_map',
    'bias_spectrum',
    'captured',
    'diffusion_index',
    'effective_receptive_field',
    'error_spectrum',
    'gate_maps',
    'gini',
    'gradient_strength',
    'largest_disagreement',
    'largest_error',
    'local_attribution',
]
