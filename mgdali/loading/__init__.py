"""From a data set to batches: the order of an epoch, the source of clips, the DALI graph and the loop that runs it."""
