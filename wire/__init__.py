"""What every conversation with the world goes through: HTTP under one deadline, frames of a socket."""
