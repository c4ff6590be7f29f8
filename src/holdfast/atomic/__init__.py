"""Output that is either whole or not there, also after a kill, and that only one process writes at a time.

files         one file, replaced by a rename
transaction   a folder or file that is prepared beside its place and exchanged with what was there
carrying      what belongs to someone else in a replaced folder
links         symbolic links, which are not followed out of a folder
locks         one writer at a time, and who it is
names         what the other modules put beside a place, recognised after a kill
space         room on the disk, before large writes
swap          two paths exchanged in one step
"""

from .carrying import leaves
from .files import write_atomically
from .links import followed, refuse_links, resolved
from .locks import check_parent, refuse_others
from .names import is_leftover
from .space import check_space
from .transaction import check_movable, claimed, clear_unfinished, put_back, replacing, updating

__all__ = [
    "check_movable",
    "check_parent",
    "check_space",
    "claimed",
    "clear_unfinished",
    "followed",
    "is_leftover",
    "leaves",
    "put_back",
    "refuse_links",
    "refuse_others",
    "replacing",
    "resolved",
    "updating",
    "write_atomically",
]
