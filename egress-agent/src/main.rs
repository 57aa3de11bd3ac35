//! egress-agent: why can this pod not reach that endpoint?

fn main() {}
