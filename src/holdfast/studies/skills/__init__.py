"""Forces, way-points or skills: at which level a policy should act, on a task of three skills."""
