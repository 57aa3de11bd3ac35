//! What one slot may cause: a noisy pod must not cost its neighbours an event.

use egress_common::PodSlotState;

use crate::maps::config;

/// Takes one drop record from the slot's budget; false if it is used up.
#[inline(always)]
pub fn take_drop(state: *mut PodSlotState, now: u64) -> bool {
    // SAFETY: a value of a per-CPU map. A program that interrupts another here may miscount a budget, no total.
    let state = unsafe { &mut *state };
    if now.wrapping_sub(state.drop_window) >= config!(budget_window_jiffies) {
        state.drop_window = now;
        state.drops = 0;
    }
    if state.drops >= config!(drop_budget) {
        return false;
    }
    state.drops += 1;
    true
}

/// The budgets of TC records.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum PacketBudget {
    /// Handshakes, resets, closes.
    Control,
    /// DNS.
    Dns,
    /// The rest.
    Other,
}

/// Takes one TC record from the slot's budget; false if it is used up.
#[inline(always)]
pub fn take_packet(state: *mut PodSlotState, budget: PacketBudget, now: u64) -> bool {
    // SAFETY: as in `take_drop`.
    let state = unsafe { &mut *state };
    if now.wrapping_sub(state.packet_window) >= config!(budget_window_jiffies) {
        state.packet_window = now;
        let [control, dns, other] = &mut state.packets;
        (*control, *dns, *other) = (0, 0, 0);
    }
    let (used, limit) = match budget {
        PacketBudget::Control => (&mut state.packets[0], config!(control_budget)),
        PacketBudget::Dns => (&mut state.packets[1], config!(dns_budget)),
        PacketBudget::Other => (&mut state.packets[2], config!(other_budget)),
    };
    if *used >= limit {
        return false;
    }
    *used += 1;
    true
}
