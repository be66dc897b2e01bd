"""One run of several processes, its ranks: how they find each other, agree, stop and save."""
