//! A web server that people run, with files of its own.

use std::fs;

use super::{Error, Host, Lab, Process};

/// Starts nginx on a host, in the foreground. `connections` is how many one worker has at once, `http` what stands in the block `http`.
///
/// # Errors
/// Its files could not be written, or it could not be started: usually it is not installed.
pub fn nginx(lab: &Lab, host: &Host, connections: u32, http: &str) -> Result<Process, Error> {
    let folder = lab.folder().join(host.name());
    fs::create_dir_all(&folder).map_err(|cause| Error::file(&folder, cause))?;
    let folder = folder.display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("{kind}_temp_path {folder}/{kind};\n"))
        .collect();
    let text = format!(
        "user root; daemon off; pid {folder}/pid; error_log stderr; worker_processes 1;\n\
         events {{ worker_connections {connections}; }}\n\
         http {{ access_log off; default_type text/plain;\n{temporary}{http}}}\n"
    );
    let config = lab.write(&format!("{}/nginx.conf", host.name()), &text)?;
    host.spawn(&["nginx", "-p", &folder.to_string(), "-c", &config.display().to_string()])
}
