"""What every model shares: its base class, the step on replicas, and the names of models.

Nothing is imported here: `zoo list` needs the registry alone, without TensorFlow.
"""
