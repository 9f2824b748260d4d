//! A lineage as a picture.

use serde_json::Value;

use crate::page::Page;

/// One link as the server shows it.
struct Node<'a>(&'a Value);

impl<'a> Node<'a> {
    fn text(&self, name: &str) -> &'a str {
        self.0.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    fn list(&self, name: &str) -> &'a [Value] {
        list(self.0, name)
    }

    fn live(&self) -> bool {
        self.text("state") == "live"
    }

    /// The user whom its tokens name.
    fn acts_as(&self) -> &'a str {
        let impersonates = self.0.get("impersonation") == Some(&Value::Bool(true));
        self.text(if impersonates { "trustor_user_id" } else { "trustee_user_id" })
    }

    /// When a living one ends, or why a dead one did.
    fn end(&self) -> &'a str {
        if self.live() { time(self.text("expires_at")) } else { self.text("reason") }
    }
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The time of day of a time.
pub(crate) fn time(iso: &str) -> &str {
    iso.get(11..19).unwrap_or("never")
}

/// The ids of roles.
pub(crate) fn ids(roles: &[Value]) -> impl Iterator<Item = &str> {
    roles.iter().filter_map(|r| r.get("id")?.as_str())
}

/// The lines of the tree below a trust, with a head.
pub(crate) fn draw(page: &Page, lineage: &Value) -> Vec<String> {
    let root = Node(&lineage["trust"]);
    let head = if root.live() { "until" } else { "why" };
    let project = page.named(root.text("project_id"));
    let mut lines = vec![
        columns("", "state", "depth", "acts as", head, "roles"),
        format!("{}, on {project}", page.named(root.text("trustor_user_id"))),
    ];
    let rest: Vec<Node<'_>> = list(lineage, "subtree").iter().map(Node).collect();
    node(page, &root, &rest, "", true, &mut lines);
    lines
}

fn columns(who: &str, state: &str, depth: &str, acts_as: &str, end: &str, roles: &str) -> String {
    format!("{who:<22}{state:<8}{depth:<6}{acts_as:<8}{end:<12}{roles}")
}

/// A link, its keypairs, and what is below it. Each link names one parent, so this comes to an end.
fn node(page: &Page, n: &Node<'_>, rest: &[Node<'_>], indent: &str, last: bool, lines: &mut Vec<String>) {
    let branch = |last: bool| if last { "└─ " } else { "├─ " };
    let depth = n.0.get("depth").map(Value::to_string).unwrap_or_default();
    lines.push(columns(
        &format!("{indent}{}{}", branch(last), page.named(n.text("trustee_user_id"))),
        n.text("state"),
        &depth,
        page.named(n.acts_as()),
        n.end(),
        &page.list(ids(n.list("roles"))),
    ));
    let indent = format!("{indent}{}", if last { "   " } else { "│  " });
    let mut below: Vec<&Node<'_>> =
        rest.iter().filter(|c| c.text("redelegated_trust_id") == n.text("id")).collect();
    below.sort_by_key(|c| page.named(c.text("trustee_user_id")));
    let keypairs = n.list("keypairs");
    for (i, k) in keypairs.iter().map(Node).enumerate() {
        let last = below.is_empty() && i + 1 == keypairs.len();
        let key = format!("{indent}{}key {}", branch(last), k.text("access"));
        lines.push(format!("{key:<56}{}", page.list(ids(k.list("roles")))));
    }
    for (i, child) in below.iter().enumerate() {
        node(page, child, rest, &indent, i + 1 == below.len(), lines);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn link(id: &str, parent: Value, trustee: &str) -> Value {
        json!({
            "id": id, "redelegated_trust_id": parent, "trustor_user_id": "alice", "trustee_user_id": trustee,
            "state": "live", "depth": 0, "impersonation": true, "project_id": "p", "roles": [{"id": "member"}],
            "expires_at": null, "keypairs": [],
        })
    }

    #[test]
    fn branches_are_drawn_where_they_hang() {
        let mut leaf = link("3", json!("2"), "carol");
        leaf["keypairs"] = json!([{"access": "abc", "roles": [{"id": "reader"}]}]);
        let lineage = json!({
            "trust": link("1", json!(null), "bob"),
            "subtree": [link("4", json!("1"), "dave"), leaf, link("2", json!("1"), "bert")],
        });
        let lines = draw(&Page::new(), &lineage);
        let shape: Vec<&str> = lines.iter().skip(1).map(|l| l.get(..22).unwrap_or(l).trim_end()).collect();
        assert_eq!(shape.first(), Some(&"alice, on p"));
        let drawn = lines.join("\n");
        for part in ["└─ bob ", "   ├─ bert ", "   │  └─ carol ", "   │     └─ key abc ", "   └─ dave "]
        {
            assert!(drawn.contains(&format!("\n{part}")), "{part}\n{drawn}");
        }
        assert!(drawn.contains("never"));
    }

    #[test]
    fn a_dead_link_says_why() {
        let mut dead = link("1", json!(null), "bob");
        dead["state"] = json!("deleted");
        dead["reason"] = json!("ended above");
        let lines = draw(&Page::new(), &json!({"trust": dead, "subtree": []}));
        assert!(lines[2].contains("deleted") && lines[2].contains("ended above"), "{lines:?}");
        assert!(lines[0].contains("why"));
    }
}
