"""Likelihoods, divergences, adversarial losses and gradient penalties: pure functions to [batch].

Everything is float32 (half precision is cast up) and unreduced; likelihoods and divergences are in
nats per example.
"""

from zoo.losses.adversarial import (
    ADVERSARIAL,
    AdversarialLoss,
    hinge_discriminator_loss,
    hinge_generator_loss,
    least_squares_discriminator_loss,
    least_squares_generator_loss,
    minimax_discriminator_loss,
    non_saturating_generator_loss,
    relativistic_discriminator_loss,
    relativistic_generator_loss,
    wasserstein_critic_loss,
    wasserstein_generator_loss,
)
from zoo.losses.divergences import (
    gaussian_kernel,
    inverse_multiquadratic_kernel,
    kl_normals,
    kl_standard_normal,
    maximum_mean_discrepancy,
    normal_log_density,
    total_correlation_terms,
)
from zoo.losses.likelihoods import (
    bernoulli_nll,
    continuous_bernoulli_mean,
    continuous_bernoulli_nll,
    discretized_logistic_mixture_mean,
    discretized_logistic_mixture_nll,
    discretized_logistic_nll,
    gaussian_nll,
    laplace_nll,
)
from zoo.losses.penalties import (
    gradient_norm_penalty,
    orthogonal_regularization,
    path_lengths,
    squared_gradient_norm,
    unit_gradient_penalty,
)
from zoo.losses.per_example import full_precision, sum_per_example

__all__ = [
    "ADVERSARIAL",
    "AdversarialLoss",
    "bernoulli_nll",
    "continuous_bernoulli_mean",
    "continuous_bernoulli_nll",
    "discretized_logistic_mixture_mean",
    "discretized_logistic_mixture_nll",
    "discretized_logistic_nll",
    "full_precision",
    "gaussian_kernel",
    "gaussian_nll",
    "gradient_norm_penalty",
    "hinge_discriminator_loss",
    "hinge_generator_loss",
    "inverse_multiquadratic_kernel",
    "kl_normals",
    "kl_standard_normal",
    "laplace_nll",
    "least_squares_discriminator_loss",
    "least_squares_generator_loss",
    "maximum_mean_discrepancy",
    "minimax_discriminator_loss",
    "non_saturating_generator_loss",
    "normal_log_density",
    "orthogonal_regularization",
    "path_lengths",
    "relativistic_discriminator_loss",
    "relativistic_generator_loss",
    "squared_gradient_norm",
    "sum_per_example",
    "total_correlation_terms",
    "unit_gradient_penalty",
    "wasserstein_critic_loss",
    "wasserstein_generator_loss",
]
