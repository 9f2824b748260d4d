//! Whom the story logs in as, and where: from the options, or from a cloud in `clouds.yaml`.

use std::path::{Path, PathBuf};

use saphyr::{LoadableYamlNode, Scalar, Yaml};
use serde_json::{Value, json};

use crate::Stop;

/// A secret that `Debug` does not show.
#[derive(Clone)]
pub(crate) struct Password(pub(crate) String);

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// Which servers are believed to be who they say, over HTTPS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Trust {
    /// Those with a certificate that the system trusts.
    System,
    /// Those with a certificate of an authority in this file.
    Authority(PathBuf),
    /// All (`verify: false`).
    Anybody,
}

/// An administrator of a cloud.
#[derive(Debug, Clone)]
pub(crate) struct Login {
    pub(crate) url: String,
    pub(crate) trust: Trust,
    pub(crate) username: String,
    /// The domain of the user, as a login names it.
    pub(crate) user_domain: Value,
    pub(crate) password: Password,
    /// The project to act on, as a login names it.
    pub(crate) project: Value,
}

impl Login {
    /// The user `admin` on the project `admin`, both in the default domain.
    pub(crate) fn admin(url: &str, password: &Password) -> Self {
        let domain = json!({"id": "default"});
        Self {
            url: url.to_owned(),
            trust: Trust::System,
            username: "admin".to_owned(),
            user_domain: domain.clone(),
            password: password.clone(),
            project: json!({"name": "admin", "domain": domain}),
        }
    }

    /// A cloud of the first `clouds.yaml` that exists, in the places where other clients look.
    ///
    /// # Errors
    /// When there is no such file, or no such cloud in it, or the cloud lacks something.
    pub(crate) fn of_cloud(name: &str) -> Result<Self, Stop> {
        let places = places();
        let Some(file) = places.iter().find(|p| p.is_file()) else {
            let list: Vec<String> = places.iter().map(|p| p.display().to_string()).collect();
            return Err(Stop(format!("no clouds.yaml; looked for {}", list.join(", "))));
        };
        Self::of_file(file, name)
    }

    /// A cloud of one file.
    ///
    /// # Errors
    /// As [`Login::of_cloud`].
    pub(crate) fn of_file(file: &Path, name: &str) -> Result<Self, Stop> {
        let wrong = |what: String| Stop(format!("{}: {what}", file.display()));
        let text = std::fs::read_to_string(file).map_err(|e| wrong(e.to_string()))?;
        parse(&text, name).map_err(wrong)
    }
}

fn places() -> Vec<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let home = variable("HOME").map(|h| h.join(".config"));
    let config = variable("XDG_CONFIG_HOME").or(home).map(|c| c.join("openstack/clouds.yaml"));
    variable("OS_CLIENT_CONFIG_FILE")
        .into_iter()
        .chain([PathBuf::from("clouds.yaml")])
        .chain(config)
        .chain([PathBuf::from("/etc/openstack/clouds.yaml")])
        .collect()
}

fn parse(text: &str, name: &str) -> Result<Login, String> {
    let documents = Yaml::load_from_str(text).map_err(|e| format!("not YAML: {e}"))?;
    let clouds = documents.first().and_then(|d| d.as_mapping_get("clouds"));
    let cloud =
        clouds.and_then(|c| c.as_mapping_get(name)).ok_or_else(|| format!("there is no cloud `{name}`"))?;
    let auth = cloud.as_mapping_get("auth");
    let find = |option: &str| auth.and_then(|a| a.as_mapping_get(option)).and_then(scalar);
    let need = |option: &str| {
        find(option).ok_or_else(|| {
            format!("the cloud `{name}` has no auth.{option}; this program reads password logins of one file")
        })
    };
    let domain = |of: &str| match (find(&format!("{of}_domain_id")), find(&format!("{of}_domain_name"))) {
        (Some(id), _) => json!({"id": id}),
        (None, Some(name)) => json!({"name": name}),
        (None, None) => json!({"id": "default"}),
    };
    let project = match find("project_id") {
        Some(id) => json!({"id": id}),
        None => json!({"name": need("project_name")?, "domain": domain("project")}),
    };
    let trust = match (cloud.as_mapping_get("verify"), cloud.as_mapping_get("cacert").and_then(scalar)) {
        (Some(Yaml::Value(Scalar::Boolean(false))), _) => Trust::Anybody,
        (_, Some(file)) => Trust::Authority(PathBuf::from(file)),
        _ => Trust::System,
    };
    Ok(Login {
        url: need("auth_url")?,
        trust,
        username: need("username")?,
        user_domain: domain("user"),
        password: Password(need("password")?),
        project,
    })
}

/// A string, or a number as it would be written in one: passwords are often not quoted.
fn scalar(node: &Yaml<'_>) -> Option<String> {
    match node {
        Yaml::Value(Scalar::String(s)) => Some(s.to_string()),
        Yaml::Value(Scalar::Integer(n)) => Some(n.to_string()),
        Yaml::Representation(text, ..) => Some(text.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLOUDS: &str = "
clouds:
  one:
    auth:
      auth_url: \"https://id.example/v3\"
      username: boss
      password: 12345
      user_domain_name: Users
      project_name: ops
      project_domain_id: p1
    cacert: /etc/ca.pem
  two:
    auth: {auth_url: 'http://h', username: a, password: \"it's \\\"x\\\"\", project_id: pid}
    verify: false
  three:
    auth: {auth_url: 'http://h', username: a, project_name: p}
";

    #[test]
    fn a_cloud_says_everything_about_a_login() {
        let one = parse(CLOUDS, "one").expect("read");
        assert_eq!((one.url.as_str(), one.username.as_str()), ("https://id.example/v3", "boss"));
        assert_eq!(one.password.0, "12345");
        assert_eq!(one.user_domain, json!({"name": "Users"}));
        assert_eq!(one.project, json!({"name": "ops", "domain": {"id": "p1"}}));
        assert_eq!(one.trust, Trust::Authority("/etc/ca.pem".into()));
        let two = parse(CLOUDS, "two").expect("read");
        assert_eq!(two.password.0, "it's \"x\"");
        assert_eq!((two.user_domain, two.project), (json!({"id": "default"}), json!({"id": "pid"})));
        assert_eq!(two.trust, Trust::Anybody);
        assert!(!format!("{one:?}").contains("12345"));
    }

    #[test]
    fn what_is_missing_is_named() {
        assert!(parse(CLOUDS, "three").expect_err("no password").contains("auth.password"));
        assert!(parse(CLOUDS, "four").expect_err("no cloud").contains("no cloud `four`"));
        assert!(parse("- 1", "x").expect_err("a list").contains("no cloud"));
        assert!(parse("a: [", "x").expect_err("broken").contains("not YAML"));
    }
}
