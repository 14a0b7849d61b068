"""Controllers that know the task: scripted, trained, or any callable."""
