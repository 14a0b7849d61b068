"""The public face of the library: what `import steadyhand as sh` offers, thin over the recipes.

Its functions take and return objects: envs, experts, data sets, policies. Folders are optional: without one,
results are kept in a temporary folder that lives as long as the object that was returned.
"""
