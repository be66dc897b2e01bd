"""Exploration: noise on the action, or on the actor's parameters, while experience is collected."""
