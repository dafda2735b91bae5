"""How an exit predicts: small modules from the tensor at a cut to logits.

To add one: a new file here with a class derived from `ExitHead` and decorated with `register`, and its import below.
Any other module that turns the tensor at the cut into `[n, classes]` is accepted by `attach(head=...)` too.
"""

from offramp.heads.build import Head, build_heads
from offramp.heads.head import HEADS, ExitHead, register
from offramp.heads.pooled_linear import PooledLinear
from offramp.heads.sdn_pool import SdnPool

__all__ = ["HEADS", "ExitHead", "Head", "PooledLinear", "SdnPool", "build_heads", "register"]
