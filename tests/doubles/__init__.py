"""Test doubles: a scripted language model, and a model server that misbehaves on purpose."""
