"""The agents: one class of losses each."""
