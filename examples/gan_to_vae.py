# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # From a GAN to a VAE, with the same images
#
# A GAN draws good images but cannot say where an image lies in its latent space. A VAE can. This
# notebook makes the generator of a GAN the decoder of a VAE, checks that it still draws the same
# images, and trains the encoder. It takes about a minute on two cores.

# %%
import numpy as np
from PIL import Image
from rich import print as show

import zoo
from zoo.io.pictures import grid, pairs

DATA = "fashion_mnist_sample"
images = zoo.data.to_array(DATA, split="train[:30%]")
test = zoo.data.to_array(DATA, split="test[:200]")

# %%
gan = zoo.create("dcgan", image_shape=(28, 28, 1), latent_dim=32, network="conv-16", ema=0.99)
gan.compile()
gan.fit(images, batch_size=32, epochs=4, verbose=2)

# %% [markdown]
# ## Convert
#
# The conversion rewrites the generator by rules, each of which keeps its function: BatchNorm is
# folded, tanh becomes a sigmoid, and so on. It compares the images of both networks before it
# returns. The report accounts for every tensor.

# %%
vae, report = zoo.convert.gan_to_vae(gan)
print(report.summary())
show(report.table())

# %%
latents = gan.sample_latents(16, seed=0)
before, after = gan.generate_from(latents), vae.generate_from(latents)
print("largest difference:", np.abs(before - after).max())
np.testing.assert_allclose(after, before, atol=5e-5)

# %% [markdown]
# ## Train the encoder
#
# The recipe has three phases. *Sleep*: the encoder learns from images that the decoder draws.
# *Wake*: it learns from real images. *Joint*: the decoder learns too, held near the images that it
# drew before.

# %%
vae.compile()
epochs, batch = 4, 64
recipe = zoo.convert.SleepWakeJoint(steps=epochs * (len(images) // batch))
vae.fit(images[: len(images) // batch * batch], batch_size=batch, epochs=epochs, verbose=2,
        callbacks=[recipe])  # fmt: skip

# %% [markdown]
# Now images can be reconstructed, and edited: this walks from one test image to another.

# %%
Image.fromarray(grid(pairs(test[:16], vae.reconstruct(test[:16])), columns=16)).resize((960, 120))

# %%
mean, _ = vae.encode(test[:2])
weights = np.linspace(0.0, 1.0, 16, dtype=np.float32)[:, None]
walk = vae.generate_from((1 - weights) * np.asarray(mean[:1]) + weights * np.asarray(mean[1:2]))
Image.fromarray(grid(walk, columns=16)).resize((960, 60))

# %% [markdown]
# ## And back
#
# `vae_to_gan` makes the decoder a generator again. It folds the moments of the posteriors into the
# first layer, so that latents from N(0, I) arrive where the decoder was trained.

# %%
back, _ = zoo.convert.vae_to_gan(vae, images=images, discriminator_init="random")
Image.fromarray(grid(back.generate(32, seed=0), columns=16)).resize((960, 120))
