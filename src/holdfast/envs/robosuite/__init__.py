"""robosuite's tasks with robomimic's observations: one simulator, worker processes, the environment, recorded sets.

processes of simulators → the environment `Robosuite`; `recorded` compares a set's observations with its states
"""
