"""What the comparison of loaders needs beside them: workloads, the expected results, ratios with targets, tables."""
