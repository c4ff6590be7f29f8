"""Tokens per second of action at each control rate, and cloning with every tokenizer."""
