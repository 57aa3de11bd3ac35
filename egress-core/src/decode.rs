//! Raw records become observations: the only place that knows raw integers and kernel enum numbers.

mod dns;
mod drops;
mod names;
mod observation;
mod packet;
mod record;
mod socket;
mod tls;

pub use dns::{DnsAnswer, DnsMessage, DnsType};
pub use drops::{DropSite, FilterKind, Hook};
pub use names::KernelNames;
pub use observation::{
    Aggregated, Application, ChainSeen, Conntrack, DropSeen, Loss, NoRouteSeen, Observation, PacketSeen,
    ReceiveHoleSeen, ResetSeen, RetransmitSeen, Seen, SockStateSeen, SocketProgress, Tap,
};
pub(crate) use packet::is_closing;
pub use packet::{IcmpError, Packet, Transport, Tuple};
pub use record::{DecodeError, decode};
pub use socket::TcpState;
pub use tls::{ClientHello, TlsMessage};
