"""A folder into the context, as often as one likes: what is there already stays, what is cut off goes on."""
