//! `local-resource`: a queue or buffer of this machine was full.

mod silent;

use super::place;
use crate::decode::{DropSeen, DropSite};
use crate::flow::{DropRole, Outcome};
use crate::node::{Answer, Queue};
use crate::protocol::Protocol;
use crate::verdict::case::Case;
use crate::verdict::judge::Judgement;
use crate::verdict::questions::{self, FullQueue};
use crate::verdict::{Cause, Confidence, Direction, Stage};

pub(in crate::verdict) fn judge(case: &Case<'_>) -> Option<Judgement> {
    match &case.event.outcome {
        Outcome::Dropped { drop, role, .. } if drop.site == DropSite::Resource => {
            Some(place::facts(dropped(case, drop, *role), case, drop))
        }
        Outcome::Unanswered | Outcome::Dns(_) => silent::judge(case),
        _ => None,
    }
}

fn dropped(case: &Case<'_>, drop: &DropSeen, role: DropRole) -> Judgement {
    let what = match role {
        DropRole::Opening => format!("the {} to {}", case.packet_word(), case.target()),
        DropRole::Reply => format!("the {} of {}", case.answer_words(), case.target()),
        DropRole::Data => format!("segments of the connection to {}", case.target()),
    };
    let stage = place::stage(case, drop);
    let new = |summary: String| Judgement::new(Cause::LocalResource, Confidence::Certain, stage, summary);
    let setting = |name: &str| {
        let asked = questions::queue(drop);
        match asked.first().and_then(|question| case.readings.get(question)) {
            Some(Answer::Setting { value }) => (name.to_owned(), Some(value.clone())),
            _ => (name.to_owned(), None),
        }
    };
    match questions::full_queue(drop) {
        FullQueue::Qdisc => qdisc(case, drop, &what, &new),
        FullQueue::Ring => ring(case, drop, &what, &new),
        FullQueue::Listener => {
            let queue = socket(case, drop);
            listener(new(listener_summary(case, stage, &what, queue)), queue)
        }
        FullQueue::ReceiveBuffer => {
            let queue = socket(case, drop);
            buffer(new(buffer_summary(case, stage, &what, queue)), queue)
        }
        FullQueue::Stream => {
            let (limit, value) = setting(questions::stream_setting());
            told(new(format!("The TCP socket's receive buffer or backlog {} was full: it dropped {what}.", at(case, stage))), "socket-backlog", &limit, value).advise(
                "The program does not read fast enough for what comes in: give it more CPU, or raise SO_RCVBUF, or \
                 the last value of net.ipv4.tcp_rmem.",
            )
        }
        FullQueue::ProtocolMemory => {
            let (limit, value) = setting(questions::memory_setting(drop));
            let now = value.as_deref().map(|value| format!(" ({limit} = {value} pages)")).unwrap_or_default();
            told(
                new(format!("The memory of all {} sockets was used up{now}: the kernel dropped {what}.", case.protocol())),
                "protocol-memory",
                &limit,
                value,
            )
            .advise(format!("Find the sockets that hold it (ss -mn; /proc/net/sockstat), or raise the last value of {limit}."))
        }
        FullQueue::CpuBacklog => {
            let (limit, value) = setting(questions::BACKLOG);
            let now = value.as_deref().map(|value| format!(" ({limit}={value} packets)")).unwrap_or_default();
            told(
                new(format!("A CPU's queue of received packets was full{now}: it dropped {what}.")),
                "cpu-backlog",
                &limit,
                value,
            )
            .advise(format!(
                "Spread the load over CPUs (RPS, more receive queues), or raise it: sysctl -w {limit}=4000; \
                 /proc/net/softnet_stat counts these drops in its second column."
            ))
        }
        FullQueue::Memory => told(
            new(format!("The kernel had no memory for it: it dropped {what}.")),
            "memory",
            "memory",
            None,
        )
        .advise("The node is out of memory: see free -m, dmesg and the pods' memory limits; vm.min_free_kbytes keeps some for the network."),
    }
}

fn told(judgement: Judgement, queue: &str, limit: &str, current: Option<String>) -> Judgement {
    let judgement = judgement.with("queue", queue).with("limit", limit);
    match current {
        Some(current) => judgement.with("current", current),
        None => judgement.hint(format!("the value of {limit} could not be read")),
    }
}

fn qdisc(case: &Case<'_>, drop: &DropSeen, what: &str, new: &dyn Fn(String) -> Judgement) -> Judgement {
    let known = questions::device_name(drop, case.node);
    let Some(Answer::Device { name, qdisc, limit, drops, backlog, .. }) =
        case.readings.get(&questions::device(drop))
    else {
        let name = known.unwrap_or_else(|| "the device".to_owned());
        return told(
            new(format!("The queueing discipline of {name} was full: it dropped {what}.")),
            "qdisc",
            &format!("queueing discipline of {name}"),
            None,
        )
        .advise(format!("Look at its limit and drops: tc -s qdisc show dev {name}"));
    };
    let limits = limit.as_deref().map(|limit| format!(" {limit}")).unwrap_or_default();
    let summary = format!(
        "The queueing discipline of {name} ({qdisc}{limits}) dropped {what}: it lets no more through ({drops} packets \
         dropped by it so far)."
    );
    told(new(summary), "qdisc", &format!("{qdisc} of {name}"), limit.clone())
        .with("device", name.as_str())
        .with("qdisc", qdisc.as_str())
        .with("drops", *drops)
        .with("queued", format!("{backlog} bytes"))
        .advise(format!(
            "Raise its rate or limit, or send less: tc -s qdisc show dev {name} shows both; a bandwidth annotation of \
             the pod (kubernetes.io/egress-bandwidth) or the node's own shaping sets them."
        ))
}

fn ring(case: &Case<'_>, drop: &DropSeen, what: &str, new: &dyn Fn(String) -> Judgement) -> Judgement {
    let known = questions::device_name(drop, case.node).unwrap_or_else(|| "the device".to_owned());
    let (name, length) = match case.readings.get(&questions::device(drop)) {
        Some(Answer::Device { name, txqueuelen, .. }) => (name.clone(), Some(txqueuelen.to_string())),
        _ => (known, None),
    };
    told(
        new(format!("The queue of device {name} was full: it dropped {what}.")),
        "device-queue",
        &format!("txqueuelen of {name}"),
        length,
    )
    .advise(format!(
        "Whoever reads from {name} is too slow (a VPN or virtual machine process, a CPU that is busy); a longer queue \
         helps over bursts: ip link set {name} txqueuelen 5000"
    ))
}

fn socket(case: &Case<'_>, drop: &DropSeen) -> Option<Queue> {
    match questions::queue(drop).first().and_then(|question| case.readings.get(question)) {
        Some(Answer::Socket(queue)) => Some(*queue),
        _ => None,
    }
}

/// `in pod default/db`, `in this pod`, `on this node`.
fn at(case: &Case<'_>, stage: Stage) -> String {
    match (stage, case.peer.pod_ref()) {
        (Stage::Pod, _) => "in this pod".to_owned(),
        (Stage::Upstream, Some(pod)) if case.direction == Direction::Egress => {
            format!("in pod {}/{}", pod.namespace, pod.name)
        }
        (Stage::Upstream, _) => "in the destination pod".to_owned(),
        _ => "on this node".to_owned(),
    }
}

fn listener_summary(case: &Case<'_>, stage: Stage, what: &str, queue: Option<Queue>) -> String {
    let full = queue.map_or_else(String::new, |queue| {
        format!(" ({} connections wait, its backlog is {})", queue.queued, queue.limit)
    });
    format!(
        "The listener {} has a full queue of connections that its program does not accept{full}: the kernel dropped {what}.",
        at(case, stage)
    )
}

fn listener(judgement: Judgement, queue: Option<Queue>) -> Judgement {
    let judgement =
        told(judgement, "listen-queue", "listen backlog", queue.map(|queue| queue.limit.to_string()));
    let wanted = queue.map_or(1024, |queue| (queue.limit.saturating_mul(4)).max(128));
    let judgement = match queue {
        Some(queue) => judgement.with("queued", queue.queued),
        None => judgement,
    };
    judgement.advise(format!(
        "Find why the program does not accept (stuck, out of threads or file descriptors, too little CPU: ss -ltn in the \
         pod shows Recv-Q above Send-Q); for bursts raise the backlog it passes to listen() and net.core.somaxconn, to \
         {wanted} for example."
    ))
}

fn buffer_summary(case: &Case<'_>, stage: Stage, what: &str, queue: Option<Queue>) -> String {
    let full = queue.map_or_else(String::new, |queue| {
        format!(" ({} of {} bytes used, {} packets dropped so far)", queue.queued, queue.limit, queue.drops)
    });
    format!(
        "The receive buffer of the {} socket {} was full{full}: the kernel dropped {what}.",
        if case.protocol() == Protocol::Udp { "UDP" } else { "receiving" },
        at(case, stage)
    )
}

fn buffer(judgement: Judgement, queue: Option<Queue>) -> Judgement {
    let judgement =
        told(judgement, "receive-buffer", "SO_RCVBUF", queue.map(|queue| queue.limit.to_string()));
    let wanted = queue.map_or(4_194_304, |queue| queue.limit.saturating_mul(4).max(425_984));
    let judgement = match queue {
        Some(queue) => judgement.with("queued", queue.queued).with("drops", queue.drops),
        None => judgement,
    };
    judgement.advise(format!(
        "The program does not read fast enough, or not at all: give it CPU, more readers, or a larger buffer (SO_RCVBUF, \
         within net.core.rmem_max; its default is net.core.rmem_default), {wanted} for example."
    ))
}
