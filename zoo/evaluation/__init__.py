"""How good a model is: what is measured, and the report of it.

Nothing is imported here: a report needs no TensorFlow.
"""
