"""Public checkpoints, a module for each family, named in the family's row of `networks.registry`.

A module of a layout has four functions, which see nothing but tensors:

    matches(keys)                    whether a state dict with these keys is of this family
    config(state)                    the config that its shapes tell; CheckpointError where they do not
    shapes(config)                   every key of the family with its shape, which the state dict is checked against
    convert(state, config)           the same numbers under our keys

and two more, where trainers leave more than a state dict:

    chosen(state, raw=…)             the running average of the weights, or the raw ones, without the trainer's prefix
    configured(settings)             the config that the trainer's settings tell; CheckpointError where they do not

and two where files say how their network was made, and where several may be one model:

    described(made, bag)             the config that `made` of all files tells, and the YAML of their bag
    joined(states)                   the state dicts of all files as one, instead of their mean
"""
