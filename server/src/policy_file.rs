//! `[oslo_policy] policy_file`: `"name": "rule"` pairs as YAML (one a line) or JSON.

use std::path::Path;

use vicar_rules::policy::Policy;

/// Reads overrides and lays them over the shipped table. A file that is not there overrides nothing,
/// as with oslo.policy; a rule that cannot be read is an error, never a guess.
pub fn load(file: &Path) -> Result<Policy, String> {
    let text = match std::fs::read_to_string(file) {
        Ok(t) => t,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(e) => return Err(format!("{}: {e}", file.display())),
    };
    let pairs = parse(&text).map_err(|e| format!("{}: {e}", file.display()))?;
    Policy::with_overrides(pairs.iter().map(|(k, v)| (k.as_str(), v.as_str())))
        .map_err(|e| format!("{}: {e}", file.display()))
}

/// The names that a file overrides, when the whole of it is understood.
pub fn names(file: &Path) -> Result<Vec<String>, String> {
    load(file)?;
    let text = std::fs::read_to_string(file).map_err(|e| format!("{}: {e}", file.display()))?;
    Ok(parse(&text)?.into_iter().map(|(name, _)| name).collect())
}

fn parse(text: &str) -> Result<Vec<(String, String)>, String> {
    if text.trim_start().starts_with('{') {
        let map: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(text).map_err(|e| e.to_string())?;
        return map
            .into_iter()
            .map(|(k, v)| match v {
                serde_json::Value::String(s) => Ok((k, s)),
                _ => Err(format!("{k}: not a text")),
            })
            .collect();
    }
    let mut out = Vec::new();
    for (i, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') || line == "---" {
            continue;
        }
        let bad = || format!("line {}: expected \"name\": \"rule\"", i + 1);
        let (name, rest) = match line.strip_prefix(['"', '\'']) {
            Some(quoted) => {
                let end = quoted.find(['"', '\'']).ok_or_else(bad)?;
                (&quoted[..end], quoted[end + 1..].trim_start().strip_prefix(':').ok_or_else(bad)?)
            }
            None => line.rsplit_once(": ").ok_or_else(bad)?,
        };
        let rule = rest.trim();
        let rule = match rule.strip_prefix('"') {
            Some(q) => q.strip_suffix('"').ok_or_else(bad)?,
            None => rule,
        };
        out.push((name.to_owned(), rule.to_owned()));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yaml_and_json() {
        let yaml = "# c\n\"identity:get_user\": \"role:auditor or rule:admin_required\"\n\"identity:list_users\": \"!\"\n";
        let json =
            r#"{"identity:get_user": "role:auditor or rule:admin_required", "identity:list_users": "!"}"#;
        assert_eq!(parse(yaml), parse(json));
        assert!(parse("nonsense").is_err());
    }
}
