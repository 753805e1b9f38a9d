"""SST for spandrel, which chaiNNer, ComfyUI and others load their models with.

    from sst.interop.spandrel import install
    install()
    model = spandrel.ModelLoader().load_from_file('SST-tiny-x2.safetensors')

spandrel hands over the weights alone. Windows leave no trace in them, so files written by `sst.save_pretrained` state
them in a small tensor; for files without, as released ones, they are asked for: `SSTArch(window_sizes=...)`.
"""

from collections.abc import Sequence

from torch import Tensor

from sst.archs import SST
from sst.checkpoints.facts import facts, plain
from sst.checkpoints.networks import build
from sst.checkpoints.pretrained import UntoldError, network_in
from sst.checkpoints.published import published_names
from sst.checkpoints.weights import weights_in
from sst.interop.official import is_released
from sst.utils.errors import UserError
from sst.utils.optional import require

try:
    require('spandrel', 'MAIN_REGISTRY', 'spandrel', 'sst.interop.spandrel')
except UserError as error:
    raise ImportError(str(error)) from error
import spandrel

THE_STATE_DICT = 'the weights'


class SSTArch(spandrel.Architecture[SST]):
    """The SST architecture.

    Args:
        window_sizes, num_heads, scale: of files that do not state them, as for `sst.from_pretrained`.
    """

    def __init__(
        self,
        *,
        window_sizes: Sequence[int] | None = None,
        num_heads: Sequence[int] | int | None = None,
        scale: int | None = None,
    ) -> None:
        super().__init__(id='SST', detect=is_sst)
        asked = {'window_sizes': window_sizes, 'num_heads': num_heads, 'scale': scale}
        self._asked = {key: value for key, value in asked.items() if value is not None}

    def load(self, state_dict: dict[str, Tensor]) -> spandrel.ImageModelDescriptor[SST]:
        """The network with these weights, ready to enlarge pictures of any size.

        Raises:
            UntoldError: where the windows (or, of ablations, the heads or the scale) are nowhere stated.
            UserError: weights that are no SST's or contradict what is stated.
        """
        weights = weights_in(dict(state_dict), THE_STATE_DICT)
        try:
            network = network_in(weights, THE_STATE_DICT, self._asked)
        except UntoldError as fault:
            raise UntoldError(
                f'{fault}, to sst.interop.spandrel.SSTArch(...).load(state_dict); or write them into the file once: '
                'sst.save_pretrained(sst.from_pretrained(FILE, window_sizes=...), NEW_FILE)'
            ) from fault
        net = build(network, weights, THE_STATE_DICT)
        names = published_names(network)
        tags = [*names[:1], f'{network["dim"]}dim', f'windows {plain(tuple(network["window_sizes"]))}']
        return spandrel.ImageModelDescriptor(
            net,
            net.state_dict(),
            architecture=self,
            purpose='SR',
            tags=tags,
            supports_half=True,
            supports_bfloat16=True,
            scale=network['scale'],
            input_channels=3,
            output_channels=3,
        )


def install(*, ignore_duplicates: bool = False) -> list[spandrel.ArchSupport]:
    """Teach spandrel's main registry, which every `ModelLoader` uses, to load SST.

    Args:
        ignore_duplicates (bool): leave it as it is where SST is known already; else that is spandrel's
            DuplicateArchitectureError.
    """
    support = spandrel.ArchSupport.from_architecture(SSTArch())
    return spandrel.MAIN_REGISTRY.add(support, ignore_duplicates=ignore_duplicates)


def is_sst(state_dict: dict[str, Tensor]) -> bool:
    """Whether these are the weights of an SST, under our names or the released ones."""
    ours = ('stem.weight', 'blocks.0.layers.0.attn.qkv.weight', 'blocks.0.layers.0.ffn.depthwise.weight')
    released = ('body.0.0.norm_attn.weight', 'body.0.0.attn.to_qkv.weight', 'body.0.0.ffn.dwc.weight')
    if all(name in state_dict for name in ours):
        return facts(state_dict) is not None
    return is_released(state_dict) and all(name in state_dict for name in released)
