"""The main job, end to end: one demonstration, cloned in two ways."""
