"""The layers a Network is made of: torch modules that know their quantisers and their hls4ml knobs."""

from hepprune.network.layers.activation import Activation, PReLU, ReLU
from hepprune.network.layers.arithmetic import Einsum, Merge
from hepprune.network.layers.base import LAYERS, MAX_VALUES, Input, Layer, Shape, Shared, Stepwise
from hepprune.network.layers.heads import Argmax, Softmax, TopK
from hepprune.network.layers.kernel import Kernel
from hepprune.network.layers.lookup import Lookup
from hepprune.network.layers.normalisation import BatchNorm, LayerNorm
from hepprune.network.layers.pooling import GlobalPool, Pool
from hepprune.network.layers.recurrent import Recurrent
from hepprune.network.layers.shaping import MOVING, Concatenate, Crop, Pad, Permute, Reshape, Slice, UpSample
from hepprune.network.layers.weighted import STRATEGIES, Conv, Dense, Weighted, same_padding

__all__ = ["LAYERS", "MAX_VALUES", "MOVING", "STRATEGIES", "Input", "Kernel", "Layer", "Shape", "Shared", "Stepwise"]
__all__ += ["Activation", "Argmax", "BatchNorm", "Concatenate", "Conv", "Crop", "Dense", "Einsum", "GlobalPool"]
__all__ += ["LayerNorm", "Lookup", "Merge", "PReLU", "Pad", "Permute", "Pool", "ReLU", "Recurrent", "Reshape", "Slice"]
__all__ += ["Softmax", "TopK", "UpSample", "Weighted", "same_padding"]
