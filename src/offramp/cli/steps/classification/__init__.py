"""The work of `offramp classify`: one module per thing that is asked for; see `running`."""
