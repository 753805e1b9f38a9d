"""Every key of an option file, with its type, its default and what it means."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, PlainValidator, WithJsonSchema, model_validator

from sst.options.consistency import Consistency
from sst.options.data import MOST_WORKERS, Datasets, FolderName, NamePart
from sst.options.faults import Fault, fault, refuse, shown
from sst.options.parts import part_of
from sst.options.registries import METRICS, MODELS, NETWORKS, drivable_model, scale_in
from sst.options.section import OpenSection, Section
from sst.options.training import Train
from sst.utils.pixels import MEGAPIXELS, MOST_MEGAPIXELS

COLUMNS = ('set', 'image', 'images')  # of metrics.csv and metrics.json


def _gpus(value: Any) -> Any:
    if value == 'auto' or (type(value) is int and value >= 0):
        return value
    raise fault(f'must be auto, 0 (the CPU) or the number of GPUs, not {shown(value)}')


GPUs = Annotated[
    Literal['auto'] | int,
    PlainValidator(_gpus),
    WithJsonSchema({'anyOf': [{'const': 'auto'}, {'type': 'integer', 'minimum': 0}]}),
]


class WeightsNetwork(OpenSection):
    """The network of the weights in `path.pretrain_network_g`; other keys of the section win over what these tell.

    Without a key `scale` in the file, the run's scale is theirs too.
    """

    type: Literal['from_weights'] = Field(description='the network of the weights')


Network = Annotated[Any, part_of(NETWORKS, special={'from_weights': WeightsNetwork})]


class Dist(Section):
    """How several processes find each other."""

    backend: Literal['auto', 'nccl', 'gloo'] = Field(default='auto', description='nccl for GPUs, gloo for CPUs')
    port: int = Field(default=29500, ge=1, le=65535, description='port of the first process; for SLURM only')


class Paths(Section):
    """Weights and states to start from."""

    pretrain_network_g: str | None = Field(
        default=None,
        min_length=1,
        description='weights, also released files as they are; a file, hf://owner/repo/file or a name of sst/weights',
    )
    param_key_g: str | None = Field(
        default=None,
        description='entry of the file, as state_dict.generator; null is the moving average, else the weights',
    )
    strict_load_g: bool = Field(default=True, description='whether every weight must be in the file')
    resume_state: str | None = Field(
        default=None, min_length=1, description='training state to go on from: a file, or the folder of a run'
    )


class Val(Section):
    """Validation and testing."""

    val_freq: int = Field(default=5000, ge=1, description='iterations between validations')
    save_img: bool = Field(default=False, description='whether to write the pictures')
    save_comparison: bool = Field(
        default=False, description='whether to write pictures of bicubic, the result and HR, if there is one, in a row'
    )
    suffix: NamePart | None = Field(default=None, description="end of the pictures' names; null is the name of the run")
    pbar: bool = Field(default=True, description='whether to show a progress bar')
    use_ema: bool = Field(default=True, description='whether to take the averaged weights')
    dtype: Literal['float32', 'float16', 'bfloat16'] | None = Field(
        default=None, description='number format of a network of ours; null is that of its weights'
    )
    fused: bool | None = Field(
        default=None,
        description='whether Triton kernels compute ConvFFN and gate; null: a check decides, if dtype is set',
    )
    graphs: int = Field(
        default=0,
        ge=0,
        description='LR pixels of the largest input whose passes by networks of ours are CUDA graphs; 0 for none',
    )
    self_ensemble: bool = Field(default=False, description='whether to average over the eight flips and turns')
    tile: int | None = Field(
        default=None,
        ge=1,
        description="LR pixels of a tile's side, rounded up to the windows; null for no tiles",
    )
    tile_overlap: int = Field(
        default=32, ge=0, description='LR pixels that a tile reads beyond each side, rounded up to the windows'
    )
    tile_grid: int | None = Field(
        default=None,
        ge=16,
        description='tiles as MambaIR, MambaIRv2 and ART are tested with (200), in place of `tile`; null for none',
    )
    num_workers: int = Field(default=1, ge=0, le=MOST_WORKERS, description='loading processes')
    metrics: dict[str, Annotated[Any, part_of(METRICS)]] | None = Field(
        default=None, description='metrics under the names of their columns'
    )

    @model_validator(mode='after')
    def _one_kind_of_tiles(self) -> Self:
        if self.tile and self.tile_grid:
            refuse([(('tile_grid',), 'must be null where `tile` is given')])
        return self

    @model_validator(mode='after')
    def _columns(self) -> Self:
        text = f'must have another name, because the columns {", ".join(COLUMNS)} are taken'
        refuse([(('metrics', name), text) for name in self.metrics or {} if name in COLUMNS])
        return self


class Wandb(Section):
    """Weights & Biases."""

    project: str | None = Field(default=None, description='project to report to; null for no report')
    resume_id: str | None = Field(default=None, description='run to go on with')


class Logger(Section):
    """What a training run reports and keeps."""

    print_freq: int = Field(default=100, ge=1, description='iterations between lines of the log')
    save_checkpoint_freq: int = Field(default=5000, ge=1, description='iterations between checkpoints')
    keep_last: int | None = Field(
        default=None,
        ge=2,
        description='checkpoints that are kept, the newest; at least 2, because one may be damaged; null keeps all',
    )
    keep_best: bool = Field(
        default=False, description='whether to keep the best weights of each set and metric, as net_g_best_SET_METRIC'
    )
    write_retry: float = Field(
        default=300,
        ge=0,
        le=500,
        description='seconds for which a checkpoint is tried again when the disk is full or read-only',
    )
    digest_freq: int = Field(
        default=1000, ge=0, description='iterations between SHA-256 sums of the weights in digests.csv; 0 for none'
    )
    use_tb_logger: bool = Field(default=True, description='whether to write for TensorBoard')
    wandb: Wandb | None = Field(default=Wandb(), description='Weights & Biases')


class Options(Section):
    """A run. A file with the section `train` is for sst/train.py, one without it for sst/test.py."""

    name: FolderName = Field(description='name of the run and of its folder in experiments/ or results/')
    model_type: Annotated[str, drivable_model()] = Field(
        default='SSTModel',
        description='SSTModel (also called ESRModel), SSTRealModel for SSTReal, or a registered model built on one',
    )
    scale: int = Field(ge=1, description='enlargement')
    imports: list[str] = Field(
        default=[],
        description='Python files and modules with parts of your own; relative to this file or the current folder',
    )
    num_gpu: GPUs = Field(
        default='auto',
        description='auto takes a GPU where there is one; 0 computes on the CPU; else the number of GPUs and processes',
    )
    manual_seed: int | None = Field(default=0, ge=0, lt=2**32, description='seed of everything random; null draws one')
    max_megapixels: float = Field(
        default=MEGAPIXELS,
        gt=0,
        le=MOST_MEGAPIXELS,
        description='million pixels of the largest picture that is read; one that claims more is refused',
    )
    tf32: bool = Field(
        default=True,
        description='on CUDA, products in float32 use TensorFloat-32; attention and its biases choose for themselves',
    )
    find_unused_parameters: bool = Field(default=False, description='for networks that do not use all their weights')
    dist_params: Dist = Field(default=Dist(), description='how several processes find each other')
    datasets: Datasets = Field(description='data to train with, to validate and to test on')
    network_g: Network = Field(description='the network')
    path: Paths = Field(default=Paths(), description='weights and states to start from')
    train: Train | None = Field(default=None, description='how the network is trained')
    val: Val = Field(default=Val(), description='validation and testing')
    logger: Logger | None = Field(default=None, description='what a training run reports and keeps')

    def plain(self) -> dict[str, Any]:
        """Lists, mappings and single values, in the order of the schema.

        `train`, `logger` and `datasets.train` are there only where the file trains.
        """
        data = self.model_dump(mode='json')
        if self.train is None:
            del data['train'], data['logger']
        if self.datasets.train is None:
            del data['datasets']['train']
        return data

    @model_validator(mode='after')
    def _sections_agree(self) -> Self:
        refuse([*self._scale_faults(), *self._training_faults(), *self._inference_faults()])
        return self

    def _inference_faults(self) -> list[Fault]:
        network: Any = NETWORKS.get(self.network_g.type)
        without: dict[str, Any] = {}
        if not hasattr(network, 'optimize_for_inference'):
            without = {'dtype': None, 'fused': None, 'graphs': 0}
        elif network.starts_from_noise:
            without = {'graphs': 0, 'tile_grid': None}
        return [
            (('val', key), f'must be {shown(unused)} for a network {self.network_g.type}, not {shown(given)}')
            for key, unused in without.items()
            if (given := getattr(self.val, key)) != unused
        ]

    def _scale_faults(self) -> list[Fault]:
        key, scale = scale_in(dict(self.network_g))
        if not key or scale == self.scale:
            return []
        return [(('network_g', key), f"must be the run's scale {self.scale}, not {shown(scale)}; write ${{scale}}")]

    def _training_faults(self) -> list[Fault]:
        data = self.datasets.train
        if self.train is not None and self.logger is None:
            self.logger = Logger()
        if self.train is None:
            return [(('datasets', 'train'), 'needs a section train')] if data else []
        if data is None:
            return [(('datasets', 'train'), 'missing: the section train needs it')]
        faults: list[Fault] = []
        if data.batch_size % self.train.accumulate:
            text = f'must be a multiple of train.accumulate {self.train.accumulate}, not {data.batch_size}'
            faults.append((('datasets', 'train', 'batch_size'), text))
        if data.gt_size % self.scale:
            near = max(data.gt_size // self.scale, 1) * self.scale
            text = f'must be a multiple of scale {self.scale}, such as {near}, not {data.gt_size}'
            faults.append((('datasets', 'train', 'gt_size'), text))
        faults += self._noise_faults(self.train)
        for key, method in (('recompute', 'recompute_activations'), ('fused_layers', 'fuse_training')):
            if getattr(self.train, key) and not hasattr(NETWORKS.get(self.network_g.type), method):
                faults.append((('train', key), f'must be false for a network {self.network_g.type}'))
        return faults

    def _noise_faults(self, train: Train) -> list[Fault]:
        """A network that starts from noise needs a model that trains it so; no other network does."""
        network = self.network_g.type
        from_noise = getattr(NETWORKS.get(network), 'starts_from_noise', False)
        if from_noise == MODELS[self.model_type].trains_from_noise:
            if from_noise and train.consistency is None:
                train.consistency = Consistency()
            return [] if from_noise or train.consistency is None else [_no_consistency(network)]
        if from_noise:
            how = 'see options/train_SSTReal_x4.yml'
            text = f'must be SSTRealModel to train a network {network}, not {self.model_type}; {how}'
        else:
            text = f'must be SSTModel to train a network {network}, which does not start from noise'
        return [(('model_type',), text)]


def _no_consistency(network: str) -> Fault:
    return ('train', 'consistency'), f'must be null for a network {network}, which does not start from noise'
