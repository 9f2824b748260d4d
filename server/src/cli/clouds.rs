//! `clouds.yaml` and `openrc` in the data directory: how a client logs in as the administrator. The server does not
//! read them. They are written by the first start, and follow when the address or the password changes; whatever
//! else somebody has put into them stays.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use saphyr_parser::{Event, Parser};

use super::failure::Failure;
use super::files;
use crate::bootstrap::Plan;

/// The names of the clouds that the first start writes.
const OWN: [&str; 2] = ["vicar", "vicar-system"];

/// What a first start writes into both files.
pub(super) struct Login<'a> {
    pub(super) plan: &'a Plan,
    /// With `/v3`.
    pub(super) auth_url: &'a str,
    /// The id of the administrator's domain.
    pub(super) domain: &'a str,
    /// The certificates of the authority that vouches for the server, if clients do not know it.
    pub(super) cacert: Option<&'a str>,
}

/// Writes both files.
///
/// # Errors
/// One cannot be written.
pub(super) fn write(dir: &Path, login: &Login<'_>) -> Result<(), Failure> {
    files::write_private(&dir.join("clouds.yaml"), &clouds_yaml(login))?;
    files::write_private(&dir.join("openrc"), &openrc(login))
}

/// A JSON string is a YAML string.
fn quoted(s: &str) -> String {
    serde_json::Value::from(s).to_string()
}

fn clouds_yaml(login: &Login<'_>) -> String {
    let plan = login.plan;
    let (url, user, password) = (
        quoted(login.auth_url),
        quoted(&plan.username),
        quoted(plan.password.as_deref().unwrap_or_default()),
    );
    let (project, domain) = (quoted(&plan.project), quoted(login.domain));
    let region = quoted(plan.region.as_deref().unwrap_or_default());
    let cacert = login.cacert.map(|file| format!("    cacert: {}\n", quoted(file))).unwrap_or_default();
    let cloud = |name: &str, scope: &str| {
        format!(
            "  {name}:
    auth:
      auth_url: {url}
      username: {user}
      password: {password}
      user_domain_id: {domain}
{scope}    region_name: {region}
    interface: public
    identity_api_version: 3
{cacert}"
        )
    };
    let [project_cloud, system_cloud] = OWN;
    format!(
        "# The administrator on their project, and on the whole system. Not read by the server.\nclouds:\n{}{}",
        cloud(project_cloud, &format!("      project_name: {project}\n      project_domain_id: {domain}\n")),
        cloud(system_cloud, "      system_scope: all\n"),
    )
}

fn openrc(login: &Login<'_>) -> String {
    let plan = login.plan;
    let variables = [
        ("OS_AUTH_URL", login.auth_url),
        ("OS_USERNAME", &plan.username),
        ("OS_PASSWORD", plan.password.as_deref().unwrap_or_default()),
        ("OS_USER_DOMAIN_ID", login.domain),
        ("OS_PROJECT_NAME", &plan.project),
        ("OS_PROJECT_DOMAIN_ID", login.domain),
        ("OS_REGION_NAME", plan.region.as_deref().unwrap_or_default()),
        ("OS_IDENTITY_API_VERSION", "3"),
        ("OS_INTERFACE", "public"),
    ];
    let cacert = login.cacert.map(|file| ("OS_CACERT", file));
    variables.into_iter().chain(cacert).map(|(name, value)| exported(name, value)).collect()
}

/// A line that sets a variable, whatever is in its value.
fn exported(name: &str, value: &str) -> String {
    format!("export {name}='{}'\n", value.replace('\'', r"'\''"))
}

/// What the files are to say from now on. What is `None` stays.
#[derive(Debug, Default)]
pub(super) struct Change<'a> {
    /// The public endpoint, and the region that it is in.
    pub(super) endpoint: Option<(&'a str, Option<&'a str>)>,
    /// All regions that have a public endpoint: a cloud in another one of them does not follow.
    pub(super) regions: &'a [Option<String>],
    /// A user's new password.
    pub(super) password: Option<(&'a str, &'a str)>,
    /// The authority's certificates.
    pub(super) cacert: Option<&'a str>,
}

impl Change<'_> {
    /// Whether a login in this region moves with the endpoint.
    fn concerns(&self, region: Option<&str>) -> bool {
        let region = region.filter(|r| !r.is_empty());
        self.endpoint.is_some_and(|(_, moved)| {
            region == moved || !self.regions.iter().any(|other| other.as_deref() == region)
        })
    }
}

/// What became of the files.
#[derive(Debug, Default)]
pub(super) struct Followed {
    /// Those that were changed.
    pub(super) changed: Vec<PathBuf>,
    /// Why the others were not, where they should have been.
    pub(super) complaints: Vec<Failure>,
}

/// Changes what is in the files of a data directory; those that are not there stay away.
pub(super) fn follow(dir: &Path, change: &Change<'_>) -> Followed {
    let mut followed = Followed::default();
    let edits: [(&str, Edit); 2] = [("clouds.yaml", in_clouds_yaml), ("openrc", in_openrc)];
    for (name, edit) in edits {
        let path = files::absolute(&dir.join(name));
        match follow_one(&path, change, edit) {
            Ok(true) => followed.changed.push(path),
            Ok(false) => {}
            Err(e) => followed.complaints.push(e),
        }
    }
    followed
}

fn follow_one(path: &Path, change: &Change<'_>, edit: Edit) -> Result<bool, Failure> {
    if !files::is_there(path)? {
        return Ok(false);
    }
    let text = std::fs::read_to_string(path).map_err(|e| Failure::Io(files::trouble(path, &e)))?;
    let new = edit(&text, change)
        .map_err(|e| Failure::Io(format!("{}: {e}; change it by hand", path.display())))?;
    if new == text {
        return Ok(false);
    }
    files::rewrite_private(path, &new)?;
    Ok(true)
}

type Edit = fn(&str, &Change<'_>) -> Result<String, String>;

/// A string in a YAML file.
struct Scalar {
    value: String,
    /// Where it is, quotes included. Nothing if something else refers to it.
    place: Option<Range<usize>>,
}

/// What is in one cloud of a `clouds.yaml`.
#[derive(Default)]
struct Cloud {
    /// By path below the cloud: `region_name`, `auth/auth_url`.
    scalars: BTreeMap<String, Scalar>,
    /// Where its first key begins, and what is to be between a new key and that one.
    first: Option<(usize, String)>,
}

impl Cloud {
    fn get(&self, path: &str) -> Option<&str> {
        self.scalars.get(path).map(|s| s.value.as_str())
    }
}

fn in_clouds_yaml(text: &str, change: &Change<'_>) -> Result<String, String> {
    let clouds = clouds(text)?;
    let ours: Vec<&str> = OWN.iter().filter_map(|name| clouds.get(*name)?.get("auth/auth_url")).collect();
    let mut edits: Vec<(Range<usize>, String)> = Vec::new();
    for (name, cloud) in &clouds {
        let url = cloud.get("auth/auth_url");
        // A cloud of somebody else's making that leads to the same place follows too.
        if !OWN.contains(&name.as_str()) && url.is_none_or(|url| !ours.contains(&url)) {
            continue;
        }
        let mut set = |path: &str, value: &str| match cloud.scalars.get(path) {
            None => Ok(()),
            Some(old) if old.value == value => Ok(()),
            Some(Scalar { place: Some(place), .. }) => {
                edits.push((place.clone(), quoted(value)));
                Ok(())
            }
            Some(_) => Err(format!("{path} of the cloud {name} is used elsewhere in the file too")),
        };
        if let Some((url, region)) = change.endpoint
            && change.concerns(cloud.get("region_name"))
        {
            set("auth/auth_url", url)?;
            set("region_name", region.unwrap_or_default())?;
        }
        if let Some((user, password)) = change.password
            && cloud.get("auth/username") == Some(user)
        {
            set("auth/password", password)?;
        }
        if let Some(file) = change.cacert {
            set("cacert", file)?;
            if let (None, Some((at, between))) = (cloud.get("cacert"), &cloud.first) {
                edits.push((*at..*at, format!("cacert: {}{between}", quoted(file))));
            }
        }
    }
    edits.sort_by_key(|(place, _)| std::cmp::Reverse(place.start));
    let mut new = text.to_owned();
    for (place, value) in edits {
        new.replace_range(place, &value);
    }
    Ok(new)
}

/// One level of what is open while a YAML file is read.
struct Open {
    /// Nothing in a sequence.
    key: Option<Option<String>>,
}

/// The clouds of a `clouds.yaml`, by name.
fn clouds(text: &str) -> Result<BTreeMap<String, Cloud>, String> {
    // Places are counted in characters.
    let bytes: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
    let byte = |index: usize| bytes.get(index).copied().unwrap_or(text.len());
    let mut clouds: BTreeMap<String, Cloud> = BTreeMap::new();
    let mut open: Vec<Open> = Vec::new();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|e| format!("line {}: {}", e.marker().line(), e.info()))?;
        let place = byte(span.start.index())..byte(span.end.index());
        let awaits_key = matches!(open.last(), Some(Open { key: Some(None) }));
        let path: Vec<&str> =
            open.iter().map(|o| o.key.as_ref().and_then(Option::as_deref).unwrap_or("-")).collect();
        match event {
            Event::Scalar(name, ..) if awaits_key => {
                if let ["clouds", cloud, "-"] = path.as_slice() {
                    let cloud = clouds.entry((*cloud).to_owned()).or_default();
                    let line = text.get(..place.start).unwrap_or_default();
                    let indent = line.rsplit('\n').next().unwrap_or_default();
                    // Within braces, something other than spaces is before it.
                    let is_block = indent.trim_start_matches(' ').is_empty();
                    let between = if is_block { format!("\n{indent}") } else { ", ".to_owned() };
                    cloud.first.get_or_insert((place.start, between));
                }
                if let Some(last) = open.last_mut() {
                    last.key = Some(Some(name.into_owned()));
                }
                continue;
            }
            Event::Scalar(value, _, anchor, _) => {
                if let ["clouds", cloud, below @ ..] = path.as_slice()
                    && !below.is_empty()
                {
                    let place = (anchor == 0).then_some(place);
                    let scalar = Scalar { value: value.into_owned(), place };
                    let below = below.join("/");
                    clouds.entry((*cloud).to_owned()).or_default().scalars.insert(below, scalar);
                }
            }
            Event::MappingStart(..) => {
                open.push(Open { key: Some(None) });
                continue;
            }
            Event::SequenceStart(..) => {
                open.push(Open { key: None });
                continue;
            }
            Event::MappingEnd | Event::SequenceEnd => drop(open.pop()),
            Event::Alias(_) if awaits_key => {
                return Err(format!("line {}: a key is expected", span.start.line()));
            }
            Event::Alias(_) => {}
            _ => continue,
        }
        // A value is complete.
        if let Some(Open { key: Some(key) }) = open.last_mut() {
            *key = None;
        }
    }
    Ok(clouds)
}

fn in_openrc(text: &str, change: &Change<'_>) -> Result<String, String> {
    let mut new = text.to_owned();
    let is = |text: &str, name: &str, value: &str| {
        variable(text, name).is_some_and(|(_, found)| found == exported(name, value).trim_end())
    };
    let mut set = |name: &str, value: &str| {
        if let Some((place, _)) = variable(&new, name) {
            new.replace_range(place, exported(name, value).trim_end());
        }
    };
    if let Some((url, region)) = change.endpoint {
        let regions = change.regions.iter().flatten();
        let elsewhere = regions
            .filter(|r| change.endpoint.and_then(|e| e.1) != Some(r.as_str()))
            .any(|r| is(text, "OS_REGION_NAME", r));
        if !elsewhere {
            set("OS_AUTH_URL", url);
            set("OS_REGION_NAME", region.unwrap_or_default());
        }
    }
    if let Some((user, password)) = change.password
        && is(text, "OS_USERNAME", user)
    {
        set("OS_PASSWORD", password);
    }
    if let Some(file) = change.cacert {
        set("OS_CACERT", file);
        if variable(&new, "OS_CACERT").is_none() {
            if !new.is_empty() && !new.ends_with('\n') {
                new.push('\n');
            }
            new.push_str(&exported("OS_CACERT", file));
        }
    }
    Ok(new)
}

/// Where the shell sets a variable, and how. A quoted value may go on over several lines.
fn variable<'a>(text: &'a str, name: &str) -> Option<(Range<usize>, &'a str)> {
    let begin = format!("export {name}=");
    let start = if text.starts_with(&begin) { 0 } else { text.find(&format!("\n{begin}"))? + 1 };
    let rest = text.get(start..)?;
    let mut quote = None;
    let mut escaped = false;
    let end = rest.find(|c| {
        match (quote, c) {
            _ if escaped => escaped = false,
            (None | Some('"'), '\\') => escaped = true,
            (None, '\'' | '"') => quote = Some(c),
            (None, '\n') => return true,
            (Some(q), c) if q == c => quote = None,
            _ => {}
        }
        false
    });
    let length = end.unwrap_or(rest.len());
    Some((start..start + length, rest.get(..length)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login<'a>(plan: &'a Plan, cacert: Option<&'a str>) -> Login<'a> {
        Login { plan, auth_url: "http://h:1/v3", domain: "default", cacert }
    }

    #[test]
    fn quotes_cannot_break_out_of_the_client_files() {
        let plan = Plan::usual("it's \"q\" $HOME\\\nx".into(), "http://h:1");
        let rc = openrc(&login(&plan, Some("/a b")));
        assert!(rc.contains("OS_PASSWORD='it'\\''s \"q\" $HOME\\\nx'\n"), "{rc}");
        assert!(rc.contains("OS_CACERT='/a b'"));
        let yaml = clouds_yaml(&login(&plan, Some("/a b")));
        assert!(yaml.contains(r#"password: "it's \"q\" $HOME\\\nx""#), "{yaml}");
        // What was written can be changed, whatever is in it.
        let change = Change {
            endpoint: Some(("https://new/v3", Some("R2"))),
            password: Some(("admin", "it's\nanother")),
            ..Change::default()
        };
        let followed = in_openrc(&rc, &change).expect("understood");
        assert!(
            followed.contains("export OS_PASSWORD='it'\\''s\nanother'\nexport OS_USER_DOMAIN_ID="),
            "{followed}"
        );
        assert!(
            followed.contains("OS_AUTH_URL='https://new/v3'") && followed.contains("OS_REGION_NAME='R2'")
        );
        assert_eq!(in_openrc(&followed, &change).as_ref(), Ok(&followed), "once");
        let yaml = in_clouds_yaml(&yaml, &change).expect("understood");
        assert_eq!(yaml.matches(r#""it's\nanother""#).count(), 2, "{yaml}");
        assert_eq!(yaml.matches(r#"auth_url: "https://new/v3""#).count(), 2, "{yaml}");
        assert_eq!(in_clouds_yaml(&yaml, &change), Ok(yaml));
    }

    #[test]
    fn what_somebody_else_wrote_stays() {
        let yaml = "# é mine
clouds:
  vicar:   # ours
    auth: {auth_url: 'http://h:1/v3', username: admin, password: \"old\"} # in braces
    region_name: RegionOne
    verify: true
  alice:
    region_name: RegionOne
    auth:
      auth_url: http://h:1/v3
      username: alice
      password: hers
  far: {auth: {auth_url: http://far/v3}, region_name: RegionOne}
  west:
    auth: {auth_url: http://h:1/v3}
    region_name: West
  odd: [1, {a: b}]
";
        let regions = [Some("RegionOne".to_owned()), Some("West".to_owned())];
        let change = Change {
            endpoint: Some(("https://id/v3", Some("RegionOne"))),
            regions: &regions,
            password: Some(("admin", "new")),
            cacert: Some("/ca.pem"),
        };
        let new = in_clouds_yaml(yaml, &change).expect("understood");
        let expected = yaml
            .replacen("'http://h:1/v3'", "\"https://id/v3\"", 1)
            .replacen("auth_url: http://h:1/v3\n", "auth_url: \"https://id/v3\"\n", 1)
            .replace("\"old\"", "\"new\"")
            .replace("ours\n    auth", "ours\n    cacert: \"/ca.pem\"\n    auth")
            .replace("alice:\n    region", "alice:\n    cacert: \"/ca.pem\"\n    region")
            .replace("west:\n    auth", "west:\n    cacert: \"/ca.pem\"\n    auth");
        assert_eq!(new, expected);
        assert_eq!(in_clouds_yaml(&new, &change).as_ref(), Ok(&new), "once");
        // In braces as a whole.
        let braces = "clouds: {vicar: {auth: {auth_url: a}, region_name: RegionOne}}";
        let new = in_clouds_yaml(braces, &change).expect("understood");
        assert_eq!(
            new,
            r#"clouds: {vicar: {cacert: "/ca.pem", auth: {auth_url: "https://id/v3"}, region_name: RegionOne}}"#
        );
    }

    #[test]
    fn what_cannot_be_changed_is_said() {
        let change = Change { endpoint: Some(("https://id/v3", None)), ..Change::default() };
        let shared = "clouds:\n  vicar:\n    auth: {auth_url: &u http://h/v3}\n  b: {auth: {auth_url: *u}}\n";
        assert!(in_clouds_yaml(shared, &change).expect_err("an anchor").contains("used elsewhere"));
        assert!(in_clouds_yaml("clouds: [\n", &change).expect_err("broken").starts_with("line "));
        for other in ["", "# c\n", "clouds:\n", "a: b\n", "- a\n", "clouds: {vicar: x}"] {
            assert_eq!(in_clouds_yaml(other, &change).as_deref(), Ok(other));
            assert_eq!(in_openrc(other, &change).as_deref(), Ok(other));
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in "[a\"'!&*|>%:{}\\[\\], \n\t#~-]{0,60}|.{0,60}", tail in ".{0,20}") {
            let change = Change { endpoint: Some(("u", None)), cacert: Some("c"), ..Change::default() };
            let _ = in_clouds_yaml(&text, &change);
            let _ = in_clouds_yaml(&format!("clouds:\n  vicar:\n    auth:\n      auth_url: {tail}\n"), &change);
            let _ = in_openrc(&format!("export OS_AUTH_URL={text}"), &change);
        }
    }
}
