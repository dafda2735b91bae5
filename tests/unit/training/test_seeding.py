from __future__ import annotations

import random

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_problem import train_loader

from offramp.training.seeding import caller_randomness_kept, owned_generators, seed_epoch


def drawn(seed: int, epoch: int, process: int = 0) -> tuple[float, float, float]:
    with caller_randomness_kept(()):
        seed_epoch(seed, epoch, process, ())
        return random.random(), float(np.random.rand()), float(torch.rand(()))


@given(st.integers(0, 2**63), st.integers(1, 10**6))
def test_randomness_is_a_function_of_seed_and_epoch(seed: int, epoch: int):
    assert drawn(seed, epoch) == drawn(seed, epoch)
    assert len({drawn(seed, epoch), drawn(seed, epoch + 1), drawn(seed + 1, epoch), drawn(seed, epoch, 1)}) == 4


def order(process: int, seed: int = 0, epoch: int = 1) -> list[int]:
    loader = train_loader(generator=torch.Generator())
    with caller_randomness_kept(()):
        seed_epoch(seed, epoch, process, (loader,))
        return list(loader.sampler)


def test_processes_agree_on_the_order_and_not_on_the_noise():
    assert order(process=0) == order(process=1)
    assert order(process=0) != order(process=0, epoch=2)


def test_a_generator_shared_by_loader_and_sampler_is_found_once():
    generator = torch.Generator()
    loader = train_loader(generator=generator)
    assert loader.sampler.generator is loader.generator
    assert owned_generators((loader, None, loader)) == [generator]


def test_samplers_are_told_the_epoch():
    class Sampler:
        epoch = 0

        def set_epoch(self, epoch: int) -> None:
            self.epoch = epoch

    class Loader:
        sampler = Sampler()

    with caller_randomness_kept(()):
        seed_epoch(0, 5, 0, (Loader(),))
    assert Loader.sampler.epoch == 5
