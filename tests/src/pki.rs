//! A certificate authority of the lab and a server certificate, made by the `openssl` program.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::tools;

/// Name in the server's certificate.
pub const SERVER_NAME: &str = "api.stripe.com";

/// Files of an authority, of a certificate signed by it, and of another authority that signed nothing.
#[derive(Clone, Debug)]
pub struct Pki {
    folder: PathBuf,
}

impl Pki {
    /// Makes it in a folder.
    pub fn create(folder: &Path) -> Result<Self> {
        let pki = Self { folder: folder.to_owned() };
        for name in ["ca", "other"] {
            let (key, cert) = (pki.path(&format!("{name}.key")), pki.path(&format!("{name}.pem")));
            let subject = format!("/CN=lab {name}");
            openssl(
                &[&["req", "-x509", "-subj", &subject, "-days", "30", "-out", &cert, "-keyout", &key], KEY]
                    .concat(),
            )?;
        }
        for (name, subject) in [("server", SERVER_NAME), ("client", "lab client")] {
            pki.sign(name, subject, &[])?;
        }
        Ok(pki)
    }

    /// Makes the certificate of an agent's interface: of version 3, which rustls asks for.
    pub fn agent(&self) -> Result<(String, String)> {
        self.sign("agent", "lab agent", &["-addext", "subjectAltName=DNS:agent.lab"])?;
        Ok(self.pair("agent"))
    }

    /// Makes a key and a certificate for it, signed by the authority.
    fn sign(&self, name: &str, subject: &str, extensions: &[&str]) -> Result<()> {
        let [cert, key, request] =
            ["pem", "key", "csr"].map(|extension| self.path(&format!("{name}.{extension}")));
        let subject = format!("/CN={subject}");
        let ask = ["req", "-subj", &subject, "-out", &request, "-keyout", &key];
        openssl(&[&ask, extensions, KEY].concat())?;
        let (ca, ca_key) = (self.ca(), self.path("ca.key"));
        openssl(&[
            "x509",
            "-req",
            "-in",
            &request,
            "-CA",
            &ca,
            "-CAkey",
            &ca_key,
            "-days",
            "30",
            "-out",
            &cert,
            "-copy_extensions",
            "copy",
        ])
    }

    fn path(&self, file: &str) -> String {
        self.folder.join(file).display().to_string()
    }

    /// The authority that signed the certificates.
    pub fn ca(&self) -> String {
        self.path("ca.pem")
    }

    /// An authority that did not.
    pub fn other_ca(&self) -> String {
        self.path("other.pem")
    }

    /// Certificate and key of the server or the client.
    pub fn pair(&self, who: &str) -> (String, String) {
        (self.path(&format!("{who}.pem")), self.path(&format!("{who}.key")))
    }
}

/// A fresh key, on a curve: quick to make.
const KEY: &[&str] = &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];

fn openssl(args: &[&str]) -> Result<()> {
    tools::run(&mut Command::new("openssl"), args)
}
