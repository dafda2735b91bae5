"""Small networks of every kind that is known to be awkward to cut, with random weights and nothing to download.

timm and Hugging Face build them from configurations; widths, depths and images are small. `MIXED` are models of our
own, for what those libraries do not show.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

import torchvision_operators

CLASSES = 5
TOKENS, WORDS = 7, 50


@dataclass(frozen=True)
class Kind:
    """A kind of model.

    Attributes:
        name: for tables.
        build: makes one.
        inputs: so many rows for it.
        cuts: the outputs behind which it gets exits.
        engine: what is expected to cut it.
    """

    name: str
    build: Callable[[], nn.Module]
    inputs: Callable[[int, torch.Generator], Any]
    cuts: tuple[str, ...]
    engine: str

    def make(self) -> nn.Module:
        """A fresh one in evaluation mode, the same each time; its norms have seen data."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(7)
            model = self.build()
            for module in model.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.running_mean.normal_(std=0.1)
                    module.running_var.uniform_(0.5, 2.0)
        return model.eval()

    def batch(self, rows: int, seed: int = 0) -> Any:
        """Inputs with so many rows."""
        return self.inputs(rows, torch.Generator().manual_seed(seed))


def images(size: int) -> Callable[[int, torch.Generator], Tensor]:
    """Of three channels."""
    return lambda rows, generator: torch.randn(rows, 3, size, size, generator=generator)


def pixels(size: int) -> Callable[[int, torch.Generator], dict[str, Tensor]]:
    """The same under the name that Hugging Face gives them."""
    return lambda rows, generator: {"pixel_values": images(size)(rows, generator)}


def sentences(rows: int, generator: torch.Generator) -> dict[str, Tensor]:
    """Tokens and a mask of which rows are padded behind different lengths."""
    ids = torch.randint(1, WORDS, (rows, TOKENS), generator=generator)
    lengths = torch.randint(2, TOKENS + 1, (rows, 1), generator=generator)
    mask = (torch.arange(TOKENS) < lengths).long()
    return {"input_ids": ids * mask, "attention_mask": mask}


def sequences(rows: int, generator: torch.Generator) -> Tensor:
    """Vectors in time."""
    return torch.randn(rows, TOKENS, 8, generator=generator)


def vectors(rows: int, generator: torch.Generator) -> Tensor:
    """Without any structure."""
    return torch.randn(rows, 8, generator=generator)


def timm(name: str, **options: Any) -> Callable[[], nn.Module]:
    """A network of timm with random weights."""

    def build() -> nn.Module:
        torchvision_operators.declare()
        import timm

        model: nn.Module = timm.create_model(name, num_classes=CLASSES, **options)
        return model

    return build


def hugging_face(name: str, **sizes: Any) -> Callable[[], nn.Module]:
    """A classifier of transformers with random weights."""

    def build() -> nn.Module:
        torchvision_operators.declare()
        import transformers

        config = transformers.AutoConfig.for_model(name, num_labels=CLASSES, pad_token_id=0, **sizes)
        images = "image_size" in sizes
        kind = "AutoModelForImageClassification" if images else "AutoModelForSequenceClassification"
        model: nn.Module = getattr(transformers, kind).from_config(config)
        return model

    return build


TEXT = {
    "vocab_size": WORDS,
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "max_position_embeddings": 16,
}


class Encoder(nn.Module):
    """torch's own encoder, its output pooled over the tokens that are no padding."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(WORDS, 16)
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
        self.out = nn.Linear(16, CLASSES)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Logits."""
        x = self.encoder(self.embed(input_ids), src_key_padding_mask=attention_mask == 0)
        kept = attention_mask.unsqueeze(-1)
        return self.out((x * kept).sum(1) / kept.sum(1))


class Recurrent(nn.Module):
    """Layers that return a tuple, with their state."""

    def __init__(self) -> None:
        super().__init__()
        self.lower = nn.LSTM(8, 12, batch_first=True)
        self.middle = nn.LSTM(12, 12, batch_first=True)
        self.upper = nn.LSTM(12, 12, batch_first=True)
        self.out = nn.Linear(12, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        x, _ = self.lower(x)
        x, _ = self.middle(x)
        x, (state, _) = self.upper(x)
        return self.out(x[:, -1] + state[0])


class BatchSize(nn.Module):
    """Takes the number of rows off its input and uses it in views behind every cut."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(8, 12)
        self.second = nn.Linear(12, 12)
        self.out = nn.Linear(12, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        B = x.shape[0]  # noqa: N806 - as it is written in many models
        x = self.first(x).view(B * 2, 6).softmax(-1)
        x = self.second(x.view(B, 12)).view(B * 3, 4).softmax(-1)
        return self.out(x.view(B, 12))


class DataDependent(nn.Module):
    """Its path depends on values, row by row in effect: empty work is skipped."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(8, 12)
        self.second = nn.Linear(12, 12)
        self.rare = nn.Linear(12, 12)
        self.out = nn.Linear(12, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        x = torch.tanh(self.first(x))
        x = torch.tanh(self.second(x))
        bright = x[:, :1] > 0.2
        if bright.any():
            x = torch.where(bright, self.rare(x), x)
        return self.out(x)


KINDS = [
    Kind("ResNet-18", timm("resnet18"), images(32), ("layer1", "layer2", "layer3"), "spine"),
    Kind("ResNet-50", timm("resnet50"), images(32), ("layer1", "layer3"), "spine"),
    Kind(
        "ResNet-18, inside blocks",
        timm("resnet18"),
        images(32),
        ("layer1.0.bn1", "layer3.1.conv1"),
        "spine",
    ),
    Kind("EfficientNet-B0", timm("efficientnet_b0"), images(32), ("blocks.1", "blocks.3"), "spine"),
    Kind("MobileNetV3", timm("mobilenetv3_small_050"), images(32), ("blocks.1", "blocks.3"), "spine"),
    Kind("ViT-Tiny", timm("vit_tiny_patch16_224", img_size=32, depth=4), images(32), ("blocks.0", "blocks.2"), "spine"),
    Kind("ConvNeXt-Atto", timm("convnext_atto"), images(32), ("stages.0", "stages.2"), "spine"),
    Kind(
        "Swin-Tiny",
        timm("swin_tiny_patch4_window7_224", img_size=56, embed_dim=24, depths=(2, 2, 2)),
        images(56),
        ("layers.0", "layers.1"),
        "spine",
    ),
    Kind("DenseNet-121", timm("densenet121"), images(32), ("features.denseblock1", "features.denseblock3"), "spine"),
    Kind(
        "BERT (Hugging Face)",
        hugging_face("bert", intermediate_size=32, **TEXT),
        sentences,
        ("bert.encoder.layer.0", "bert.encoder.layer.1"),
        "export",
    ),
    Kind(
        "DistilBERT (Hugging Face)",
        hugging_face("distilbert", hidden_dim=32, **TEXT),
        sentences,
        ("distilbert.transformer.layer.0", "distilbert.transformer.layer.1"),
        "export",
    ),
    Kind(
        "Llama (Hugging Face)",
        hugging_face("llama", intermediate_size=32, num_key_value_heads=1, head_dim=8, **TEXT),
        sentences,
        ("model.layers.0", "model.layers.1"),
        "export",
    ),
    Kind(
        "GPT-2 (Hugging Face)",
        hugging_face("gpt2", **TEXT),
        sentences,
        ("transformer.h.0", "transformer.h.1"),
        "export",
    ),
    Kind(
        "ViT (Hugging Face)",
        hugging_face(
            "vit",
            image_size=32,
            patch_size=8,
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=3,
            num_attention_heads=2,
        ),
        pixels(32),
        ("vit.layers.0", "vit.layers.1"),
        "export",
    ),
    Kind("nn.TransformerEncoder", Encoder, sentences, ("encoder.layers.0", "encoder.layers.1"), "export"),
    Kind("nn.LSTM", Recurrent, sequences, ("lower", "middle"), "spine"),
    Kind("a model that uses its batch size", BatchSize, vectors, ("first", "second"), "spine"),
    Kind("control flow that depends on data", DataDependent, vectors, ("first", "second"), "hooks"),
]
