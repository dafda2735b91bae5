"""Runs an exported network that takes exits, with nothing but onnxruntime and numpy.

python run_onnx.py EXPORT/model.onnx [INPUTS.npz]

INPUTS.npz holds an array per input, named as the graph names them; without it the inputs are noise.
"""

import json
import sys

import numpy as np
import onnxruntime


def noise(session, rows=8):
    shapes = {value.name: (rows, *value.shape[1:]) for value in session.get_inputs()}
    generator = np.random.default_rng(0)
    return {name: generator.standard_normal(shape, dtype=np.float32) for name, shape in shapes.items()}


def main(model, inputs=None):
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    about = session.get_modelmeta().custom_metadata_map
    macs, plain = json.loads(about["offramp.macs"]), json.loads(about["offramp.plain_macs"])
    names = json.loads(about["offramp.class_names"]) or list(map(str, range(json.loads(about["offramp.classes"]))))
    feed = dict(np.load(inputs)) if inputs else noise(session)
    logits, exits = session.run(["logits", "exits"], feed)
    for row, (best, exit) in enumerate(zip(logits.argmax(1), exits, strict=True)):
        print(f"row {row}: {names[best]}, exit {exit}")
    print(f"saved: {1 - np.mean([macs[exit] for exit in exits]) / plain:.1%} of the multiply-accumulates")


main(*sys.argv[1:])
