"""All kinds of parts: ours, those that are registered in BasicSR, and PyTorch's optimisers."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Literal, Self

from pydantic import AfterValidator, Field, ValidationError, model_validator

from sst.options.faults import Fault, fault, faults_of, not_one_of, refuse, shown
from sst.options.parts import FromSignature, Registry
from sst.utils.suggest import did_you_mean


class BasicSRRegistry(Registry):
    """A registry of BasicSR: `name` is ARCH, DATASET, LOSS, METRIC or MODEL.

    A part that is registered here, and not there, takes the place of BasicSR's part of the same name.
    """

    def __init__(self, name: str, kind: str, **how: Any) -> None:
        super().__init__(kind, **how)
        self.name = name

    def parts(self) -> Mapping[str, Any]:
        """Names and parts."""
        from basicsr.utils import registry  # its import takes seconds and registers BasicSR's own

        items = getattr(registry, f'{self.name}_REGISTRY')
        return {name.removesuffix('_basicsr'): item for name, item in items} | self._parts  # it finds both names


class TorchOptimisers(Registry):
    """The optimisers of torch.optim."""

    def parts(self) -> Mapping[str, Any]:
        """Names and classes."""
        import torch

        base = torch.optim.Optimizer
        items = {name: item for name, item in vars(torch.optim).items() if inspect.isclass(item) and item is not base}
        return {name: item for name, item in items.items() if issubclass(item, base)}


class OtherNetwork(FromSignature):
    """Any other network that is registered in BasicSR; the other keys are the parameters of its constructor."""

    type: str = Field(description='name of the network')


class OtherDataset(FromSignature):
    """Any other dataset that is registered in BasicSR; its own keys are not checked."""

    type: str = Field(description='name of the dataset')
    name: str = Field(description='name of the data, as in tables and folders')
    prepare: str | None = Field(default=None, description='what to type or do when the data is missing')


class Loss(FromSignature):
    """A loss that is registered in BasicSR; the other keys are the parameters of its constructor."""

    type: str = Field(description='name of the loss, such as L1Loss')

    @model_validator(mode='after')
    def _usable(self) -> Self:
        faults = _perceptual_faults(self) if self.type == 'PerceptualLoss' else []
        reduction = getattr(self, 'reduction', 'mean')
        if reduction not in ('mean', 'sum'):
            faults.append((('reduction',), not_one_of(reduction, ('mean', 'sum'))))
        refuse(faults)
        return self


# What BasicSR's metrics take where an image is an array (H, W, 3).
IMAGE_OPTIONS = {'input_order': ('HWC',), 'convert_to': ('y', 'gray')}


class Metric(FromSignature):
    """A metric that is registered in BasicSR; the other keys are the parameters of its function."""

    type: str = Field(description='name of the metric, such as calculate_psnr')
    better: Literal['higher', 'lower'] = Field(default='higher', description='which figures are the better ones')

    @model_validator(mode='after')
    def _usable(self) -> Self:
        faults: list[Fault] = []
        border = getattr(self, 'crop_border', 0)
        if isinstance(border, bool) or not isinstance(border, int) or border < 0:
            faults.append((('crop_border',), f'must be an integer of at least 0, not {shown(border)}'))
        given = {key: getattr(self, key) for key in IMAGE_OPTIONS.keys() & self.model_fields_set}
        faults += [
            ((key,), not_one_of(value, IMAGE_OPTIONS[key]))
            for key, value in given.items()
            if value not in IMAGE_OPTIONS[key]
        ]
        refuse(faults)
        return self


class Optimiser(FromSignature):
    """An optimiser of torch.optim and its parameters; fused where PyTorch can, unless `fused` or `foreach` is given.

    Muon trains the matrices. AdamW (betas 0.9 and 0.99) trains everything else at the same rate.
    """

    type: str = Field(description='name of a class of torch.optim, such as AdamW')
    lr: float = Field(gt=0, description='learning rate after the warm-up')

    @model_validator(mode='after')
    def _steps(self) -> Self:
        refuse(_optimiser_faults(self.model_dump()))
        return self


# What networks call the enlargement. `upsampling` and others name methods elsewhere, so those must be numbers.
SCALE_KEYS = ('scale', 'upscale', 'upscaling_factor', 'up_scale', 'upsampling')
BIASES = Registry('a positional bias', given=('window', 'num_heads', 'dim'))
GATES = Registry("a gate on the attention's output", given=('dim',))
UPSAMPLERS = Registry('an upsampler', given=('dim', 'scale'))
SCHEDULES = Registry('a schedule of the learning rate')
NETWORKS = BasicSRRegistry('ARCH', 'a network that is registered in BasicSR', base=OtherNetwork)
DATASETS = BasicSRRegistry('DATASET', 'a dataset that is registered in BasicSR', base=OtherDataset, unchecked=True)
MODELS = BasicSRRegistry('MODEL', 'a model that is registered in BasicSR')
LOSSES = BasicSRRegistry(
    'LOSS',
    'a loss that is registered in BasicSR',
    given=('signed',),
    base=Loss,
    unfit={
        'GANLoss': 'needs a discriminator',
        'MultiScaleGANLoss': 'needs a discriminator',
        'WeightedTVLoss': 'does not look at the HR picture',
    },
)
METRICS = BasicSRRegistry(
    'METRIC',
    'a metric that is registered in BasicSR',
    given=('img', 'img2'),
    base=Metric,
    unfit={
        'calculate_psnr_pt': 'takes tensors, not images',
        'calculate_ssim_pt': 'takes tensors, not images',
    },
)
OPTIMISERS = TorchOptimisers(
    'an optimiser of torch.optim',
    given=('params',),
    base=Optimiser,
    unfit={'LBFGS': 'computes the loss several times per step', 'SparseAdam': 'takes sparse gradients only'},
)


def network_faults(network: Mapping[str, Any]) -> list[Fault]:
    """What is wrong with the options of a registered network, with places relative to them."""
    section = NETWORKS.section(network['type'])
    try:
        section.model_validate(dict(network))
    except ValidationError as error:
        return faults_of(error, section)
    return []


def scale_in(network: Mapping[str, Any]) -> tuple[str, Any]:
    """The key by which a network's options give the enlargement, and its value; '' and None without one."""
    known = (key for key in SCALE_KEYS if key in network and (key in SCALE_KEYS[:2] or _is_number(network[key])))
    return next(((key, network[key]) for key in known), ('', None))


def network_scale(network: Mapping[str, Any]) -> Any:
    """A registered network's enlargement, its default included; None for one that has no such parameter."""
    fields = NETWORKS.section(network['type']).model_fields
    return scale_in({key: field.get_default() for key, field in fields.items()} | dict(network))[1]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def drivable_model() -> AfterValidator:
    """For fields that name a model: BasicSR's own lack what the driver needs (exact resume, CPU, any optimiser)."""

    def check(name: str) -> str:
        ours = [name for name, item in MODELS.items() if any(base.__name__ == 'SSTModel' for base in _bases(item))]
        if name not in ours:
            raise fault(not_one_of(name, ours, 'a model that is built on SSTModel'))
        return name

    return AfterValidator(check)


def _bases(item: Any) -> tuple[type, ...]:
    return item.__mro__ if inspect.isclass(item) else ()


def _optimiser_faults(section: Mapping[str, Any]) -> list[Fault]:
    """What an optimiser itself finds wrong when it is built and takes a step."""
    target = OPTIMISERS[section['type']]
    parameters = {key: value for key, value in section.items() if key != 'type'}
    reason = _step_fault(target, parameters)
    if not reason:
        return []
    # The culprit is the parameter without which a step succeeds; two of them may be at fault together.
    rests = {key: {other: parameters[other] for other in parameters if other != key} for key in parameters}
    key = next((key for key, rest in rests.items() if not _step_fault(target, rest)), None)
    place, value = ((key,), parameters[key]) if key else ((), parameters)
    return [(place, f'{section["type"]} refuses {shown(value)} ({reason})')]


def _step_fault(optimiser: Callable, parameters: Mapping[str, Any]) -> str:
    """Why an optimiser cannot be built or take a step on the CPU; '' where it can."""
    import torch

    # a matrix, which is all that Muon gets, or a convolution and a bias
    shapes = [(1, 1)] if optimiser.__name__ == 'Muon' else [(1, 1, 1, 1), (1,)]
    weights = [torch.nn.Parameter(torch.zeros(shape)) for shape in shapes]
    for weight in weights:
        weight.grad = torch.zeros_like(weight)
    try:
        optimiser(weights, **parameters).step()
    except Exception as error:  # optimisers index and compare what they are given
        return f'{type(error).__name__}: {error}'
    return ''


def _perceptual_faults(section: Any) -> list[Fault]:
    """Faults of a `PerceptualLoss`, whose constructor would look for, or download, VGG weights first."""
    from basicsr.archs.vgg_arch import NAMES, insert_bn

    networks = NAMES | {f'{name}_bn': insert_bn(layers) for name, layers in NAMES.items()}
    network, weights = section.vgg_type, section.layer_weights
    if network not in networks:
        return [(('vgg_type',), not_one_of(network, list(networks)))]
    if not isinstance(weights, Mapping) or not weights:
        text = f'must be a mapping of layers to weights, such as {{conv5_4: 1}}, not {shown(weights)}'
        return [(('layer_weights',), text)]
    faults: list[Fault] = []
    for layer, weight in weights.items():
        if layer not in networks[network]:
            faults.append((('layer_weights', layer), f'unknown layer{did_you_mean(layer, networks[network])}'))
        elif isinstance(weight, bool) or not isinstance(weight, (int, float)):
            faults.append((('layer_weights', layer), f'must be a number, not {shown(weight)}'))
    if section.criterion not in ('l1', 'fro'):  # its l2 names a class that PyTorch does not have
        faults.append((('criterion',), not_one_of(section.criterion, ('l1', 'fro'))))
    return faults
