"""How an exit predicts: small modules from the tensor at a cut to logits.

To add one: a new file here with a class derived from `ExitHead` and decorated with `register`, and its import below.
Any other module that turns the tensor at the cut into `[n, classes]` is accepted by `attach(head=...)` too.
"""

from offramp.heads.avg_pool_linear import AvgPoolLinear
from offramp.heads.branch_conv import BranchConv
from offramp.heads.build import Head, build_heads
from offramp.heads.head import HEADS, ExitHead, register
from offramp.heads.pooled_linear import PooledLinear
from offramp.heads.sdn_pool import SdnPool
from offramp.heads.strided_conv import StridedConv

__all__ = [
    "HEADS",
    "AvgPoolLinear",
    "BranchConv",
    "ExitHead",
    "Head",
    "PooledLinear",
    "SdnPool",
    "StridedConv",
    "build_heads",
    "register",
]
