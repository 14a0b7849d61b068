"""The door of the library: what `import steadyhand as sh` offers, thin over the recipes.

Objects flow (envs, experts, data, policies), and folders are optional: what is given none is kept in a
temporary folder, as long as the object that came of it.
"""
