//! A headless Chromium, spoken to by its DevTools protocol.

use std::fmt::Display;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// How long something may take that happens soon.
const PATIENCE: Duration = Duration::from_secs(30);
/// No look at the network of its own, no sandbox (tests run as root), nothing that a machine without a screen lacks.
const ARGUMENTS: &[&str] = &[
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
];

/// Where Chromium is.
pub(crate) fn find() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let names = ["chromium", "chromium-browser", "google-chrome"];
    std::env::split_paths(&path)
        .flat_map(|folder| names.map(|name| folder.join(name)))
        .find(|file| file.is_file())
}

/// Ends the browser whatever happens.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One browser with one page.
pub(crate) struct Browser {
    socket: WebSocketStream<TcpStream>,
    session: Value,
    last: u64,
    /// What the page complained of.
    complaints: Vec<String>,
    child: Running,
    _profile: TempDir,
}

impl Browser {
    pub(crate) async fn start(program: &Path) -> Result<Self> {
        let profile = tempfile::tempdir()?;
        let mut child = Command::new(program)
            .args(ARGUMENTS)
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let errors = child.stderr.take().ok_or("no standard error")?;
        let child = Running(child);
        let (told, url) = oneshot::channel();
        std::thread::spawn(move || {
            let mut told = Some(told);
            // To its end: whoever writes into a pipe that nobody reads stops one day.
            for line in BufReader::new(errors).lines().map_while(std::io::Result::ok) {
                if let Some(url) = line.strip_prefix("DevTools listening on ")
                    && let Some(told) = told.take()
                {
                    // Who asked may have run out of patience.
                    let _ = told.send(url.to_owned());
                }
            }
        });
        let url =
            tokio::time::timeout(PATIENCE, url).await?.map_err(|_| "Chromium ended before it listened")?;
        let address = url.trim_start_matches("ws://").split('/').next().unwrap_or_default().to_owned();
        let stream = TcpStream::connect(&address).await?;
        let (socket, _) = tokio_tungstenite::client_async(url, stream).await?;
        let (session, complaints) = (Value::Null, Vec::new());
        let mut browser = Self { socket, session, last: 0, complaints, child, _profile: profile };
        let target = browser.call("Target.createTarget", json!({"url": "about:blank"})).await?;
        let attached = json!({"targetId": target["targetId"], "flatten": true});
        browser.session = browser.call("Target.attachToTarget", attached).await?["sessionId"].clone();
        for domain in ["Page.enable", "Runtime.enable", "Log.enable"] {
            browser.call(domain, json!({})).await?;
        }
        browser.width(1280).await?;
        Ok(browser)
    }

    async fn call(&mut self, method: &str, params: Value) -> Result<Value> {
        self.last += 1;
        let mut request = json!({"id": self.last, "method": method, "params": params});
        if !self.session.is_null() {
            request["sessionId"] = self.session.clone();
        }
        self.socket.send(Message::text(request.to_string())).await?;
        loop {
            let answer = self.next().await?;
            if answer["id"] == self.last {
                return match answer.get("error") {
                    Some(error) => Err(format!("{method}: {error}").into()),
                    None => Ok(answer["result"].clone()),
                };
            }
        }
    }

    /// The next message; what is a complaint of the page is kept.
    async fn next(&mut self) -> Result<Value> {
        loop {
            let message =
                tokio::time::timeout(PATIENCE, self.socket.next()).await?.ok_or("Chromium is gone")??;
            let Message::Text(text) = message else { continue };
            let message: Value = serde_json::from_str(&text)?;
            let params = &message["params"];
            match message["method"].as_str() {
                Some("Runtime.exceptionThrown") => self.complaints.push(params.to_string()),
                Some("Log.entryAdded") if params["entry"]["level"] == "error" => {
                    self.complaints.push(params["entry"].to_string());
                }
                _ => {}
            }
            return Ok(message);
        }
    }

    pub(crate) async fn open(&mut self, url: &str) -> Result<()> {
        self.call("Page.navigate", json!({"url": url})).await?;
        let loaded = async {
            while self.next().await?["method"] != "Page.loadEventFired" {}
            Ok(())
        };
        tokio::time::timeout(PATIENCE, loaded).await?
    }

    /// What an expression comes to; a promise is waited for.
    pub(crate) async fn eval(&mut self, expression: &str) -> Result<Value> {
        let params = json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let answer = self.call("Runtime.evaluate", params).await?;
        match answer.get("exceptionDetails") {
            Some(details) => Err(format!("{expression}: {details}").into()),
            None => Ok(answer["result"]["value"].clone()),
        }
    }

    pub(crate) async fn expect(
        &mut self,
        expression: &str,
        wanted: impl Into<Value> + Display,
    ) -> Result<()> {
        let wanted = wanted.into();
        let found = self.eval(expression).await?;
        if found == wanted { Ok(()) } else { Err(format!("{expression}\nis {found}, not {wanted}").into()) }
    }

    /// Until an expression is true.
    pub(crate) async fn until(&mut self, expression: &str) -> Result<()> {
        let promise = format!(
            "new Promise((done) => {{ const look = () => ({expression}) ? done(true) : setTimeout(look, 20); look(); }})"
        );
        match tokio::time::timeout(PATIENCE, self.eval(&promise)).await {
            Ok(result) => result.map(drop),
            Err(_) => Err(format!("never: {expression}").into()),
        }
    }

    pub(crate) async fn key(&mut self, key: &str) -> Result<()> {
        let (code, text) = if key == "Enter" { (13, "\r") } else { (9, "") };
        for kind in ["keyDown", "keyUp"] {
            let mut params = json!({"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code});
            if kind == "keyDown" && !text.is_empty() {
                params["text"] = text.into();
            }
            self.call("Input.dispatchKeyEvent", params).await?;
        }
        Ok(())
    }

    pub(crate) async fn width(&mut self, width: u32) -> Result<()> {
        let params = json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false});
        self.call("Emulation.setDeviceMetricsOverride", params).await.map(drop)
    }

    pub(crate) async fn scheme(&mut self, scheme: &str) -> Result<()> {
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.call("Emulation.setEmulatedMedia", features).await.map(drop)
    }

    pub(crate) async fn scripts(&mut self, run: bool) -> Result<()> {
        self.call("Emulation.setScriptExecutionDisabled", json!({"value": !run})).await.map(drop)
    }

    /// The document as it stands.
    pub(crate) async fn source(&mut self) -> Result<String> {
        let root = self.call("DOM.getDocument", json!({})).await?["root"]["nodeId"].clone();
        let html = self.call("DOM.getOuterHTML", json!({"nodeId": root})).await?;
        Ok(html["outerHTML"].as_str().unwrap_or_default().to_owned())
    }

    /// Leaves a picture of the whole page in `target/screenshots`.
    pub(crate) async fn screenshot(&mut self, name: &str) -> Result<()> {
        use base64::Engine as _;
        let params = json!({"format": "png", "captureBeyondViewport": true});
        let answer = self.call("Page.captureScreenshot", params).await?;
        let png =
            base64::engine::general_purpose::STANDARD.decode(answer["data"].as_str().unwrap_or_default())?;
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../screenshots");
        std::fs::create_dir_all(&folder)?;
        Ok(std::fs::write(folder.join(format!("{name}.png")), png)?)
    }

    /// Neither script nor policy of content had anything to complain of.
    pub(crate) fn expect_no_complaints(&self) -> Result<()> {
        if self.complaints.is_empty() { Ok(()) } else { Err(self.complaints.join("\n").into()) }
    }

    pub(crate) async fn quit(&mut self) -> Result<()> {
        self.session = Value::Null;
        self.call("Browser.close", json!({})).await?;
        self.child.0.wait()?;
        Ok(())
    }
}
