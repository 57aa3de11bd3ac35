//! The page for people in a real browser: it renews itself without disturbing who reads it, can be used by keyboard,
//! says its news to screen readers, fits every width, is readable in both schemes, and works without script.
//!
//! Needs Chromium, and for the rules of accessibility axe-core, whose script `EGRESS_AXE` names (`cargo xtask test`
//! installs both); says so and is skipped where there is none. Screenshots are left in `target/screenshots`.

#[path = "browser/agent.rs"]
mod agent;
#[path = "browser/chromium.rs"]
mod chromium;
#[path = "browser/probes.rs"]
mod probes;

use std::process::ExitCode;

use agent::Agent;
use chromium::{Browser, Result};

fn main() -> ExitCode {
    if std::env::args().any(|argument| argument == "--list") {
        println!("page: test");
        return ExitCode::SUCCESS;
    }
    let Some(program) = chromium::find() else {
        println!("skipped browser: there is no Chromium (package chromium)");
        println!("0 passed, 0 failed, 1 skipped");
        return ExitCode::SUCCESS;
    };
    let Some(axe) = std::env::var_os("EGRESS_AXE") else {
        println!("skipped browser: EGRESS_AXE names no script of axe-core: cargo xtask test unit");
        println!("0 passed, 0 failed, 1 skipped");
        return ExitCode::SUCCESS;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let result = runtime
        .map_err(Into::into)
        .and_then(|runtime| runtime.block_on(all(&program, &std::fs::read_to_string(axe)?)));
    match result {
        Ok(()) => {
            println!("1 passed, 0 failed, 0 skipped");
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("browser: {error}");
            println!("0 passed, 1 failed, 0 skipped");
            ExitCode::FAILURE
        }
    }
}

async fn all(program: &std::path::Path, axe: &str) -> Result<()> {
    let agent = Agent::start().await?;
    let mut page = Browser::start(program).await?;
    page.open(&agent.url("/")).await?;
    page.expect("document.title", "(6) worker-1 · egress-agent").await?;
    looks(&mut page, "first", axe).await?;
    keyboard(&mut page).await?;
    renewal(&mut page, &agent).await?;
    page.open(&agent.url("/pods/default/api-client")).await?;
    page.expect("document.querySelector('h1').textContent", "default/api-client").await?;
    page.expect("[...document.querySelectorAll('details[id^=d-]')].every(one => one.open)", true).await?;
    looks(&mut page, "pod", axe).await?;
    without_script(&mut page, &agent).await?;
    page.expect_no_complaints()?;
    lost(&mut page, agent).await
}

/// Every width holds the page, every text stands out from its ground, and axe-core has nothing against it, by day and by
/// night.
async fn looks(page: &mut Browser, name: &str, axe: &str) -> Result<()> {
    page.eval(&format!("{axe};true")).await?;
    for scheme in ["light", "dark"] {
        page.scheme(scheme).await?;
        for width in [320, 480, 768, 1280, 1920] {
            page.width(width).await?;
            page.expect("document.documentElement.scrollWidth <= innerWidth", true).await?;
            page.expect(probes::VIOLATIONS, "").await?;
            page.screenshot(&format!("{name}-{width}-{scheme}")).await?;
        }
        page.expect(probes::FAINT, "").await?;
    }
    page.scheme("light").await?;
    page.width(1280).await?;
    page.expect(probes::NAMELESS, "").await?;
    page.expect(probes::HEADINGS, "").await
}

/// The first key leads past the head of the page; every control is reached, in the order of the page.
async fn keyboard(page: &mut Browser) -> Result<()> {
    page.key("Tab").await?;
    page.expect("document.activeElement.className", "skip").await?;
    page.key("Enter").await?;
    page.expect("document.activeElement.id", "main").await?;
    page.expect(probes::UNREACHABLE, "").await?;
    page.eval("document.getElementById('s-v-1').focus()").await?;
    page.key("Enter").await?;
    page.until("document.getElementById('d-v-1').open").await
}

/// What is opened and focused stays so while the page renews itself; news is said, counts are not.
async fn renewal(page: &mut Browser, agent: &Agent) -> Result<()> {
    agent.revise("v-1", |verdict| verdict.count = 777);
    page.until("document.getElementById('card-v-1').textContent.includes('777 SYNs')").await?;
    page.expect("document.getElementById('d-v-1').open", true).await?;
    page.expect("document.activeElement.id", "s-v-1").await?;
    page.expect("document.getElementById('say').textContent", "").await?;

    agent.revise("v-1", |verdict| {
        verdict.id = "v-new".to_owned();
        verdict.pod.name = "newcomer".to_owned();
    });
    page.until("document.getElementById('say').textContent.includes('default/newcomer')").await?;
    page.expect("document.title", "(7) worker-1 · egress-agent").await?;
    page.expect("document.activeElement.id", "s-v-1").await?;
    agent.revise("v-new", |verdict| verdict.state = egress_core::verdict::State::Cleared);
    page.until("document.querySelector('#cleared #card-v-new') !== null").await?;
    page.until("document.getElementById('say').textContent.includes('newcomer → api.stripe.com (203.0.113.4):443/TCP: works again')")
        .await?;

    page.eval("document.getElementById('pause').click()").await?;
    page.expect("document.getElementById('pause').getAttribute('aria-pressed')", "true").await?;
    agent.revise("v-1", |verdict| verdict.count = 888);
    page.eval("document.getElementById('pause').click()").await?;
    page.until("document.getElementById('card-v-1').textContent.includes('888 SYNs')").await
}

/// The server makes the page; the script only renews it.
async fn without_script(page: &mut Browser, agent: &Agent) -> Result<()> {
    page.scripts(false).await?;
    page.open(&agent.url("/")).await?;
    let page_source = page.source().await?;
    for part in ["card-v-1", "Failing now", "reload to renew"] {
        if !page_source.contains(part) {
            return Err(format!("without script there is no {part:?}").into());
        }
    }
    page.screenshot("first-1280-no-script").await?;
    page.scripts(true).await
}

/// A page that is old says so.
async fn lost(page: &mut Browser, agent: Agent) -> Result<()> {
    page.open(&agent.url("/")).await?;
    agent.stop().await;
    page.until("document.body.classList.contains('lost')").await?;
    page.expect(
        "document.getElementById('when').textContent",
        "The agent does not answer; this page is old.",
    )
    .await?;
    page.screenshot("lost").await?;
    page.quit().await
}
