"""Bad arguments are refused by name."""

from __future__ import annotations

import pytest

import zoo
from tests.cases import IMAGE_SHAPE, LATENT_DIM, Case


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"image_shape": (8, 8)}, r"image_shape=\(8, 8\)"),
        ({"image_shape": (0, 8, 1)}, "image_shape"),
        ({"latent_dim": 0}, "latent_dim=0"),
        ({"image_shape": (30, 30, 1)}, "30 × 30.*divisible by 4.*32 × 32"),
        ({"image_shape": (6, 6, 1)}, "at least 8"),
        ({"network": "cnov"}, "'cnov'.*(conv|expected '(vdvae|autoencoder_kl)')"),
    ],
)
def test_bad_arguments(case: Case, arguments: dict, message: str) -> None:
    if case.any_even_size and arguments.get("image_shape") in ((30, 30, 1), (6, 6, 1)):
        pytest.skip("its networks take these sizes")
    options = {**case.options, "image_shape": IMAGE_SHAPE, "latent_dim": LATENT_DIM, **arguments}
    if "image_shape" in arguments and options.get("network") == "mlp" and "conv" not in message:
        options["network"] = "conv"
    with pytest.raises(ValueError, match=message):
        zoo.create(case.name, **options)


def test_unknown_option(case: Case) -> None:
    with pytest.raises(ValueError, match="has no option 'no_such_option'"):
        case.create(no_such_option=1)
