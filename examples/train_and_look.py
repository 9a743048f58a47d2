# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Train a VAE and a GAN, and look at what they draw
#
# Everything here runs offline: the data are a sample of Fashion-MNIST that comes with the package.
# It takes about a minute on two cores. Open this file as a notebook with
# `pip install jupytext notebook`, then `jupytext --to ipynb train_and_look.py`.

# %%
from PIL import Image

import zoo
from zoo.io.pictures import grid, pairs

DATA = "fashion_mnist_sample"
SPLIT = "train[:30%]"  # enough to see something; take "train" for better images

# %% [markdown]
# ## The data
#
# Images are float32 in [0, 1], of shape [n, height, width, channels].

# %%
print(zoo.data.describe(DATA))
images = zoo.data.to_array(DATA, split=SPLIT)
Image.fromarray(grid(images[:32], columns=16)).resize((960, 120))

# %% [markdown]
# ## A VAE
#
# `compile()` without arguments takes the optimizer of the paper. The loss is in nats per image:
# `loss` = `distortion` + `rate`.

# %%
vae = zoo.create("vae", image_shape=(28, 28, 1), latent_dim=8, network="mlp", seed=0)
vae.compile()
history = vae.fit(images, batch_size=64, epochs=6, verbose=2)
assert history.history["loss"][-1] < history.history["loss"][0]

# %% [markdown]
# Test images, each followed by its reconstruction:

# %%
test = zoo.data.to_array(DATA, split="test")
Image.fromarray(grid(pairs(test[:16], vae.reconstruct(test[:16])), columns=16)).resize((960, 120))

# %% [markdown]
# Samples from the prior:

# %%
Image.fromarray(grid(vae.generate(32, seed=0), columns=16)).resize((960, 120))

# %% [markdown]
# ## A GAN
#
# `ema=0.99` samples from an average of the generator's weights. `conv-16` is DCGAN's network at a
# quarter of its width.

# %%
gan = zoo.create("dcgan", image_shape=(28, 28, 1), latent_dim=64, network="conv-16", ema=0.99)
gan.compile()
gan.fit(images, batch_size=32, epochs=4, verbose=2)
Image.fromarray(grid(gan.generate(32, seed=0), columns=16)).resize((960, 120))

# %% [markdown]
# ## Which one is better?
#
# `zoo.evaluate` measures both on the test images. The Fréchet distance is smaller where samples are
# closer to the data. Only a VAE has a likelihood.

# %%
for name, model in {"VAE": vae, "GAN": gan}.items():
    measured = zoo.evaluate(model, DATA, samples=1000, importance_samples=5)["metrics"]
    print(name, {key: round(value, 3) for key, value in measured.items()})
