# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Export a model, verify it, and ask a server for images
#
# The model is a pretrained one that comes with the package. The server runs in this process, so
# this notebook needs no port. `zoo serve FOLDER` runs the same server for others.
# It needs `pip install 'vaegan-zoo[serving]' httpx`.

# %%
import json
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image
from rich import print as show
from starlette.testclient import TestClient

import zoo
from export.serving.server import app
from zoo.io.pictures import grid

folder = Path(tempfile.mkdtemp())
vae = zoo.load_pretrained("vae_fashion_mnist")

# %% [markdown]
# ## Export
#
# One ONNX file per function. Each file is compared with the model before the folder appears.

# %%
path = zoo.export_model(vae, folder / "vae", format="onnx")
for file in sorted(path.iterdir()):
    print(file.name, f"{file.stat().st_size:,} bytes")

# %% [markdown]
# ## Verify
#
# `verify` runs every function in every runtime that is installed, with batches of several sizes. It
# compares the results with the Keras model.

# %%
report = zoo.verify(path, vae)
show(report.table())
assert report.passed

# %% [markdown]
# ## Use it without this package
#
# ONNX Runtime needs only the file.

# %%
session = onnxruntime.InferenceSession(path / "sample.onnx")
print([(value.name, value.type, value.shape) for value in session.get_inputs()])
feeds = {"n": np.array(32, np.int32), "seed": np.array(0, np.int32)}
(drawn,) = session.run(["image"], feeds)
Image.fromarray(grid(drawn, columns=16)).resize((960, 120))

# %% [markdown]
# ## Serve it
#
# The server speaks the Open Inference Protocol. The same seed draws the same images as above.

# %%
with TestClient(app(path)) as client:
    print(json.dumps(client.get("/v2/models/sample").json(), indent=1))
    body = {
        "inputs": [
            {"name": "n", "shape": [], "datatype": "INT32", "data": [32]},
            {"name": "seed", "shape": [], "datatype": "INT32", "data": [0]},
        ]
    }
    answer = client.post("/v2/models/sample/infer", json=body).json()
(image,) = answer["outputs"]
served = np.array(image["data"], np.float32).reshape(image["shape"])
np.testing.assert_allclose(served, drawn, atol=1e-5)
