//! `[oslo_policy]`, and what else decides over rules.

use std::path::PathBuf;
use std::time::Duration;

/// Where the rules are, and how they are meant.
#[derive(Debug, Clone)]
pub struct PolicyOptions {
    /// Whether a file that is named may be missing: an operator has said so.
    pub may_be_absent: bool,
    /// `policy_file`, if it is set.
    pub file: Option<String>,
    /// `policy_dirs`, which may be set several times.
    pub dirs: Vec<String>,
    /// Whether they are set.
    pub dirs_named: bool,
    /// The configuration files: relative names are looked for beside them.
    pub config_files: Vec<PathBuf>,
    /// `policy_default_rule`
    pub default_rule: String,
    /// `[resource] admin_project_name` and `admin_project_domain_name`, if both are set.
    pub admin_project: Option<(String, String)>,
    /// `remote_…`
    pub remote: RemoteOptions,
}

/// How other servers are asked for their decision.
#[derive(Debug, Clone)]
pub struct RemoteOptions {
    /// `remote_timeout`
    pub timeout: Duration,
    /// `remote_content_type`: JSON, or otherwise a form.
    pub is_json: bool,
    /// `remote_ssl_ca_crt_file`
    pub ca: Option<PathBuf>,
    /// `remote_ssl_client_crt_file`
    pub certificate: Option<PathBuf>,
    /// `remote_ssl_client_key_file`
    pub key: Option<PathBuf>,
}
