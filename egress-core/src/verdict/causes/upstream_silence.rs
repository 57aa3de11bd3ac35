//! `upstream-timeout`, kind `established`: the connection was up, and then nothing came back any more.

use crate::decode::Tap;
use crate::flow::{End, Outcome, SilenceFailure};
use crate::verdict::case::Case;
use crate::verdict::judge::Judgement;
use crate::verdict::{Cause, Confidence, Stage};

/// A segment of so many bytes fits any path (RFC 8200: 1280 bytes, less headers and options).
const FITS_ANYWHERE: u32 = 1200;
/// Full-size segments have passed where so many of them were acknowledged.
const PASSED: u32 = 16;

pub(in crate::verdict) fn judge(case: &Case<'_>) -> Option<Judgement> {
    let Outcome::Silence(silence) = &case.event.outcome else { return None };
    let whose = match silence.of {
        End::Client => "the pod's",
        End::Server => "the server's",
    };
    let what = if silence.times == 0 {
        "its keep-alive probes got no answer and the socket gave up".to_owned()
    } else {
        let end = if silence.gave_up { ", and the socket gave up" } else { "" };
        format!("{whose} data was sent again {} times without an acknowledgement{end}", silence.times)
    };
    let nothing = if silence.nothing_came {
        format!("nothing has come back for {} s", silence.silence.as_secs())
    } else {
        format!("no acknowledgement for {} s", silence.silence.as_secs())
    };
    let acknowledged = silence
        .acknowledged
        .map_or_else(String::new, |bytes| format!(" after {bytes} bytes were acknowledged"));
    let summary = format!(
        "{} was established for {} s, then went silent{acknowledged}: {what}; {nothing}.",
        case.target(),
        silence.lived.as_secs(),
    );
    let large = may_be_too_large(silence);
    let confidence = match (silence.gave_up, large || !silence.nothing_came || case.lost > 0) {
        (_, true) => Confidence::Possible,
        (true, false) => Confidence::Certain,
        (false, false) => Confidence::Likely,
    };
    let source = case
        .translation
        .source
        .map_or_else(|| case.event.client.source.ip.to_string(), |source| source.ip.to_string());
    let left = case.event.journey.request(Tap::UplinkOut);
    let device = left.and_then(|left| case.node.device_name(left.ifindex));
    let mut judgement = Judgement::new(Cause::UpstreamTimeout, confidence, Stage::Upstream, summary)
        .with("kind", "established")
        .with("source", source.clone())
        .with("retransmits", silence.times)
        .with("silent_ms", u64::try_from(silence.silence.as_millis()).unwrap_or(u64::MAX))
        .with("of", silence.of.as_str())
        .with("gave_up", silence.gave_up);
    if let Some(device) = device {
        judgement = judgement.with("device", device);
    }
    if let Some(bytes) = silence.acknowledged {
        judgement = judgement.with("acknowledged_bytes", bytes);
    }
    if silence.length > 0 {
        judgement = judgement.with("segment_bytes", silence.length);
    }
    if let Some(hello) = &silence.hello {
        judgement = judgement.with("sni", hello.sni.as_deref());
    }
    if large {
        judgement = judgement.hint(format!(
            "the segment that is lost has {} bytes: a path that drops large packets without saying so (MTU black hole) \
             looks the same. Whether small data passes on the same connection decides",
            silence.length,
        ));
    }
    Some(judgement.advise(format!(
        "The connection was good and the other side, or the way to it, is gone: check whether the remote is up, whether a \
         firewall or NAT gateway on the way lost its state (restart, failover, idle timeout shorter than the connection's \
         pauses), and the route back to {source}. New connections succeed if only the state was lost: lower the client's \
         TCP_USER_TIMEOUT or keep-alive interval so that it notices sooner."
    )))
}

/// The lost segment is so large that its size alone may explain the loss.
fn may_be_too_large(silence: &SilenceFailure) -> bool {
    let fits = silence.length <= FITS_ANYWHERE;
    let passed = silence.acknowledged.is_some_and(|bytes| bytes >= silence.mss.saturating_mul(PASSED));
    !fits && !passed
}
