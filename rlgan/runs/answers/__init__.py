"""What the command line answers: to a word that was meant otherwise, and to a word that is not yet whole."""
