"""Tokens needed for one second of actions at various control rates, and cloning with every tokenizer."""
