"""Trained policies as files that need no PyTorch, or no Holdfast: a plan as one graph, with its noise as an input.

graph       the graph: observation window, noise → composite action
noise       names and shapes of the noise inputs, from the draws of one plan
families    which policies can be exported, and why others cannot
onnx_file   ONNX, run by onnxruntime
program     a program of `torch.export`
comparison  graph and policy on the same windows and noise
manifest    what a controller needs to know besides the graph
folder      everything together, in a folder that is whole or absent
"""

from .families import FAMILY_TABLE, reason_against
from .folder import FORMATS, Exported, Format, export_policy
from .manifest import MANIFEST

__all__ = ["FAMILY_TABLE", "FORMATS", "MANIFEST", "Exported", "Format", "export_policy", "reason_against"]
