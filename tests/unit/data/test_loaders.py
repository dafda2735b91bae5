from __future__ import annotations

import pytest
import torch
from accelerate.data_loader import prepare_data_loader

from offramp.data import Augmentation, Normalisation, evaluation_loader, train_loader
from offramp.data.loaders import BatchedImages
from offramp.errors import DataError


@pytest.fixture
def normalisation(colour_images) -> Normalisation:
    return Normalisation.of(colour_images.images)


def everything(loader) -> tuple[torch.Tensor, torch.Tensor]:
    images, labels = zip(*loader, strict=True)
    return torch.cat(images), torch.cat(labels)


def after_seed(seed: int, loader) -> torch.Tensor:
    torch.manual_seed(seed)
    return everything(loader)[0]


def test_evaluation_keeps_order_and_never_augments(colour_images, normalisation):
    indices = torch.tensor([4, 2, 29, 0, 7])
    images, labels = everything(evaluation_loader(colour_images, indices, normalisation, batch_size=2))
    assert torch.equal(images, normalisation(colour_images.images[indices]))
    assert torch.equal(labels, colour_images.labels[indices])


def test_evaluation_does_not_depend_on_the_random_state(colour_images, normalisation):
    loader = evaluation_loader(colour_images, torch.arange(30), normalisation)
    assert torch.equal(after_seed(1, loader), after_seed(2, loader))


def test_the_same_random_state_gives_the_same_epoch_bit_for_bit(colour_images, normalisation):
    loaders = [train_loader(colour_images, torch.arange(30), normalisation, batch_size=8) for _ in range(2)]
    first = after_seed(3, loaders[0])
    assert not torch.equal(first, everything(loaders[0])[0])  # the next epoch is another
    assert torch.equal(first, after_seed(3, loaders[1]))
    assert not torch.equal(first, after_seed(4, loaders[1]))


def test_training_shows_each_image_once_in_another_order_with_its_label(colour_images, normalisation):
    torch.manual_seed(0)
    indices = torch.arange(5, 25)
    loader = train_loader(colour_images, indices, normalisation, batch_size=7, augmentation=None)
    images, labels = everything(loader)
    expected = normalisation(colour_images.images[indices])
    matches = (images[:, None] == expected[None]).flatten(2).all(-1)
    position = matches.int().argmax(dim=1)
    assert torch.equal(matches.sum(dim=1), torch.ones(20, dtype=torch.int64))
    assert torch.equal(position.sort().values, torch.arange(20))
    assert not torch.equal(position, torch.arange(20))
    assert torch.equal(labels, colour_images.labels[indices][position])


def test_training_augments_by_default(colour_images, normalisation):
    torch.manual_seed(0)
    images = everything(train_loader(colour_images, torch.arange(30), normalisation))[0]
    plain = normalisation(colour_images.images)
    unchanged = (images[:, None] == plain[None]).flatten(2).all(-1).any(dim=1)
    assert int(unchanged.sum()) < 10


def test_a_batch_is_prepared_as_a_whole(colour_images, normalisation):
    sizes = []

    class Counting(Augmentation):
        def __call__(self, images):
            sizes.append(len(images))
            return super().__call__(images)

    everything(train_loader(colour_images, torch.arange(30), normalisation, batch_size=8, augmentation=Counting()))
    assert sizes == [8, 8, 8, 6]


def test_one_image_can_be_had_too(colour_images, normalisation):
    image, label = BatchedImages(colour_images, torch.tensor([3, 9]), normalisation)[1]
    assert torch.equal(image, normalisation(colour_images.images[9:10])[0])
    assert int(label) == int(colour_images.labels[9])


def test_workers_give_the_same_images(colour_images, normalisation):
    arguments = (colour_images, torch.arange(30), normalisation)
    alone = everything(evaluation_loader(*arguments, batch_size=8))
    shared = everything(evaluation_loader(*arguments, batch_size=8, workers=1))
    assert torch.equal(alone[0], shared[0])


def test_accelerate_can_share_the_images_out(colour_images, normalisation):
    loader = evaluation_loader(colour_images, torch.arange(24), normalisation, batch_size=4)
    shares = [
        everything(prepare_data_loader(loader, num_processes=2, process_index=rank, put_on_device=False))[0]
        for rank in range(2)
    ]
    assert [len(share) for share in shares] == [12, 12]
    whole = everything(loader)[0]
    assert torch.equal(torch.cat(shares).flatten(1).sort(dim=0).values, whole.flatten(1).sort(dim=0).values)


@pytest.mark.parametrize("loader", [train_loader, evaluation_loader])
def test_an_empty_split_is_refused(loader, colour_images, normalisation):
    with pytest.raises(DataError, match="the split is empty"):
        loader(colour_images, torch.empty(0, dtype=torch.int64), normalisation)


@pytest.mark.parametrize("indices", [[0, 30], [-1, 2]])
def test_indices_of_another_set_are_refused(indices, colour_images, normalisation):
    with pytest.raises(DataError, match=rf"the images {indices[0]} to {indices[1]}; there are 0 to 29"):
        evaluation_loader(colour_images, torch.tensor(indices), normalisation)
