//! Raw records become observations: the only place that knows raw integers and kernel enum numbers.

mod names;

pub use names::KernelNames;
