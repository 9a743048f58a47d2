"""Trains the classifier whose features judge Fashion-MNIST samples, and ships it in the package.

    python benchmarks/train_classifier.py --data fashion_mnist --epochs 15

About ten minutes on 2 CPU cores. The test images choose nothing: the last epoch is kept.
"""

from __future__ import annotations

import argparse

from zoo import data  # before TensorFlow: it turns on oneDNN

# isort: split
import keras
import numpy as np
import tensorflow as tf

from zoo.io.files import replacing, sha256
from zoo.io.records import write_json
from zoo.metrics.features import CLASSIFIERS, classifier

BATCH = 128


def main() -> None:
    """Trains, measures, writes `model.weights.h5` and `config.json`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", default="fashion_mnist")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", default=str(CLASSIFIERS / "fashion_mnist"))
    args = parser.parse_args()

    keras.utils.set_random_seed(args.seed)
    train = data.read(args.data, split="train")
    stream, steps = data.training_stream(train, batch_size=BATCH, labels=True, seed=args.seed)
    network = classifier(train.pixels.shape[1:], classes=10)
    model = keras.Model(network.inputs, network.outputs[1])
    schedule = keras.optimizers.schedules.CosineDecay(2e-3, args.epochs * steps)
    model.compile(
        keras.optimizers.AdamW(schedule, weight_decay=1e-3),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    model.fit(
        stream.map(lambda images, labels: (augment(images), labels)),
        steps_per_epoch=steps,
        epochs=args.epochs,
        verbose=2,
    )
    images, labels = data.to_array(args.data, split="test", labels=True)
    predicted = np.argmax(model.predict(images, batch_size=500, verbose=0), axis=1)
    accuracy = float(np.mean(predicted == labels))
    with replacing(f"{args.out}/model.weights.h5") as path:
        network.save_weights(path)
        digest = sha256(path)
    card = {
        "image_shape": train.pixels.shape[1:],
        "classes": 10,
        "test_accuracy": accuracy,
        "data": args.data,
        "command": f"python benchmarks/train_classifier.py --data {args.data} "
        f"--epochs {args.epochs} --seed {args.seed}",
        "sha256": digest,
    }
    write_json(f"{args.out}/config.json", card)
    print(f"test accuracy {accuracy:.4f}")


def augment(images: tf.Tensor) -> tf.Tensor:
    """Flips half the batch left to right, and shifts all of it by up to 2 pixels."""
    images = tf.image.random_flip_left_right(images, seed=0)
    padded = tf.pad(images, [[0, 0], [2, 2], [2, 2], [0, 0]])
    return tf.image.random_crop(padded, tf.shape(images), seed=0)


if __name__ == "__main__":
    main()
